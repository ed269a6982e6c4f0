# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""One type for each column of several datasets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
from datasets import Dataset, IterableDataset

from .visual_genome import object_names, predicate_names, scene_graph_features


def with_common_features(
    sources: Mapping[str, Dataset | IterableDataset], columns: Collection[str]
) -> dict[str, Dataset | IterableDataset]:
    """Gives columns that differ in their types, for example in the size of integers, those of `scene_graph_features`.

    Args:
        sources: Scene graph datasets with one vocabulary, by name.
        columns: The columns that have to agree; all sources have them.

    Returns:
        The datasets by name; those that need no other type are returned as they are.

    Raises:
        ValueError: A column that is none of a scene graph has several types, or values do not fit the type.
    """
    first = next(iter(sources.values()))
    expected = scene_graph_features(object_names(first), predicate_names(first))
    common = dict(sources)
    for column in sorted(columns):
        types = {name: dataset.features[column] for name, dataset in sources.items()}
        if all(type == first.features[column] for type in types.values()):
            continue
        if column not in expected:
            raise ValueError(
                f"column '{column}' has other types in other sources: {types}; cast it with cast_column, or remove it"
            )
        for name, dataset in common.items():
            common[name] = _cast(dataset, column, expected[column], name)
    return common


def _cast(dataset: Dataset | IterableDataset, column: str, type: Any, source: str) -> Dataset | IterableDataset:
    if dataset.features[column] == type:
        return dataset
    try:
        return dataset.cast_column(column, type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"column '{column}' of source '{source}' is {dataset.features[column]}, which does not fit {type} ({error})"
        ) from error
