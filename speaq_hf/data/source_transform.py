# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The transforms of the sources of a mixture: each works on the rows of its own source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from datasets import Dataset, IterableDataset


Rows = dict[str, list[Any]]
Transform = Callable[[Rows], Mapping[str, Any]]


class SourceTransform:
    """Applies to each row the transform of its source.

    Args:
        transforms: Callables from columns to columns by source, as `Dataset.with_transform` takes them. All give the same
            columns, and a row for every row.
    """

    def __init__(self, transforms: Mapping[str, Transform]) -> None:
        self.transforms = dict(transforms)

    def __call__(self, batch: Rows) -> Rows:
        """Transforms B rows given as columns, one of them `source`; the rows keep their order.

        Raises:
            TypeError: A transform gives no columns.
            ValueError: A transform gives fewer or more rows than it got, or other columns than that of another source.
        """
        sources = batch["source"]
        rows: list[dict[str, Any]] = [{} for _ in sources]
        columns: dict[str, list[str]] = {}
        # Without rows any transform tells which columns there would be.
        for source in dict.fromkeys(sources) or list(self.transforms)[:1]:
            indices = [index for index, name in enumerate(sources) if name == source]
            part = self._transformed(source, {name: [values[i] for i in indices] for name, values in batch.items()})
            columns[source] = list(part)
            for place, index in enumerate(indices):
                rows[index] = {name: values[place] for name, values in part.items()}
        _check_same_columns(columns)
        return {name: [row[name] for row in rows] for name in next(iter(columns.values()))}

    def _transformed(self, source: str, batch: Rows) -> Mapping[str, Any]:
        part = self.transforms[source](batch)
        if not isinstance(part, Mapping):
            raise TypeError(
                f"the transform of source '{source}' must return a dict of columns, got {type(part).__name__}"
            )
        num_rows = len(batch["source"])
        for name, values in part.items():
            if len(values) != num_rows:
                raise ValueError(
                    f"the transform of source '{source}' gave {len(values)} values of '{name}' for {num_rows} rows; a "
                    "transform gives a value for every row, to leave rows out use filter before mixing"
                )
        return part


def source_transforms(sources: Mapping[str, Dataset | IterableDataset]) -> dict[str, Transform]:
    """The transform set on each source, none if no source has one. Streams are transformed by `map`, which needs no care.

    Args:
        sources: Datasets by name.

    Raises:
        ValueError: Only some sources have a transform, one is for some columns only, or it is that of a mixture.
    """
    formats = {name: dataset.format for name, dataset in sources.items() if isinstance(dataset, Dataset)}
    found = {name: format for name, format in formats.items() if format["type"] == "custom"}
    transforms = {name: format["format_kwargs"]["transform"] for name, format in found.items()}
    if found and len(found) < len(sources):
        without = sorted(set(sources) - set(found))
        raise ValueError(
            f"sources {sorted(found)} have a transform, {without} have none; set one on every source, or on the result"
        )
    for name, format in found.items():
        if set(format["columns"]) != set(sources[name].column_names):
            raise ValueError(
                f"the transform of source '{name}' is for the columns {format['columns']} only, but rows of a mixture have "
                "others too; set it without columns, or on the result"
            )
        if isinstance(transforms[name], SourceTransform):
            raise ValueError(
                f"source '{name}' is a mixture of sources with transforms, {list(transforms[name].transforms)}; mix all "
                "sources at once, with the ratios multiplied"
            )
    return transforms


def _check_same_columns(columns: Mapping[str, list[str]]) -> None:
    (first, expected), *others = columns.items()
    for source, names in others:
        if set(names) != set(expected):
            raise ValueError(
                f"the transforms of the sources must give the same columns, got {expected} for '{first}' and {names} for "
                f"'{source}'"
            )
