# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Training on several sources at once, for example real and synthetic images, in fixed proportions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, IterableDataset, Value, concatenate_datasets, interleave_datasets

from .common_features import with_common_features
from .ratio_sampler import check_numbers, exact_ratios
from .source_transform import SourceTransform, source_transforms
from .vocabulary import share_vocabulary


_ADDED = {"source": Value("string"), "loss_weight": Value("float32")}
_LARGEST_WEIGHT = float(np.finfo(np.float32).max)  # what is larger becomes infinite in its column


def mix_datasets(
    sources: Mapping[str, Dataset | IterableDataset],
    ratios: Mapping[str, float],
    loss_weights: Mapping[str, float] | None = None,
    seed: int = 0,
    mode: Literal["batch", "interleave"] = "batch",
) -> Dataset | IterableDataset:
    """Joins datasets into one, with the columns `source` and `loss_weight` added.

    The first source's vocabulary is the result's; the classes of the others are renumbered by name. Transforms set on the
    sources with `with_transform` go on to work on their rows, which then bring `source` and `loss_weight` along.

    Args:
        sources: Datasets by name; the name goes to the column `source`. All map-style, or all streams, whose first row is
            read at once.
        ratios: Share of each source among the drawn examples; they sum to 1.
        loss_weights: Weight of each source's images in the loss, finite in float32 and at least 0. None: 1 for all.
        seed: Of the drawing in mode "interleave".
        mode: "batch": the sources' rows one after the other; `RatioBatchSampler` then draws every batch in the exact
            ratio. "interleave": rows in a fixed random order that has the ratio in expectation, until every row of every
            source occurred (smaller sources repeat); for streams, and for tools that take no batch sampler.

    Returns:
        The joined dataset, with the columns that all sources have.

    Raises:
        TypeError: `sources`, `ratios` or `loss_weights` is no mapping, a source is no dataset, a name no text, or a ratio
            or weight no number.
        ValueError: A source is empty or has classes that the first lacks, ratios do not sum to 1, a weight is negative or
            not finite, only some sources are streams or have a transform, a transform is for some columns only or a
                mixture's, or streams are mixed in mode "batch".
    """
    if mode not in ("batch", "interleave"):
        raise ValueError(f"mode must be 'batch' or 'interleave', got {mode!r}")
    if not isinstance(sources, Mapping):
        raise TypeError(
            'sources must be a mapping of names to datasets, {"real": dataset, "synthetic": other}, got '
            f"{type(sources).__name__}"
        )
    _check_types(sources)
    names = list(sources)
    loss_weights = dict.fromkeys(names, 1.0) if loss_weights is None else loss_weights
    exact = exact_ratios(ratios, names)
    _check_loss_weights(loss_weights, names)
    _check_sources(sources, mode)
    transforms = source_transforms(sources)
    shared = set.intersection(*(set(dataset.column_names) for dataset in sources.values())) - _ADDED.keys()
    common = with_common_features(share_vocabulary(sources), shared)
    parts = [_labelled(dataset, shared, name, float(loss_weights[name])) for name, dataset in common.items()]
    if mode == "batch":
        mixed = concatenate_datasets(parts)
    else:
        probabilities = [float(ratio) for ratio in exact.values()]
        mixed = interleave_datasets(parts, probabilities, seed=seed, stopping_strategy="all_exhausted")
    return mixed.with_transform(SourceTransform(transforms)) if transforms else mixed


def _check_types(sources: Mapping[str, Dataset | IterableDataset]) -> None:
    for name, dataset in sources.items():
        if not isinstance(name, str):
            raise TypeError(f"the names of sources must be texts, got {name!r}")
        if isinstance(dataset, Mapping):
            raise TypeError(f"source '{name}' must be one dataset, got the splits {list(dataset)}; choose one of them")
        if not isinstance(dataset, (Dataset, IterableDataset)):
            raise TypeError(
                f"source '{name}' must be a Dataset or IterableDataset of the library datasets, got "
                f"{type(dataset).__name__}"
            )


def _check_loss_weights(loss_weights: Mapping[str, float], names: list[str]) -> None:
    if not isinstance(loss_weights, Mapping):
        raise TypeError(
            f'loss_weights must be a mapping such as {{"real": 1.0, "synthetic": 0.5}}, got {loss_weights!r}'
        )
    if set(loss_weights) != set(names):
        raise ValueError(f"loss_weights must name the sources {names}, got {sorted(loss_weights)}")
    check_numbers(loss_weights, "loss weights")
    bad = {name: weight for name, weight in loss_weights.items() if not 0 <= weight <= _LARGEST_WEIGHT}
    if bad:
        raise ValueError(f"loss weights must be finite and at least 0, and are float32, got {bad}")


def _check_sources(sources: Mapping[str, Dataset | IterableDataset], mode: str) -> None:
    streams = [name for name, dataset in sources.items() if isinstance(dataset, IterableDataset)]
    if streams and len(streams) < len(sources):
        raise ValueError(f"sources {streams} are streams and the others are not; load all of them in the same way")
    if streams and mode == "batch":
        raise ValueError(f"sources {streams} are streams, which have no rows to choose from: use mode='interleave'")
    nameless = [name for name in streams if sources[name].features is None]
    if nameless:
        raise ValueError(f"streams {nameless} do not know their features; cast them to scene_graph_features(...)")
    empty = [name for name, dataset in sources.items() if _is_empty(dataset)]
    if empty:
        raise ValueError(f"sources {empty} hold no image; leave them out or check their split")


def _is_empty(dataset: Dataset | IterableDataset) -> bool:
    """Whether there is no row; of a stream the first is read, as interleaving would pass over a source without any."""
    if isinstance(dataset, IterableDataset):
        return next(iter(dataset.with_format("arrow")), None) is None
    return not len(dataset)


def _labelled(
    dataset: Dataset | IterableDataset, columns: set[str], source: str, loss_weight: float
) -> Dataset | IterableDataset:
    """The given columns of `dataset`, with `source` and `loss_weight` set to constants."""
    kept = [name for name in dataset.column_names if name in columns]
    dataset = dataset.with_format(None).select_columns(kept)
    values = {"source": source, "loss_weight": loss_weight}
    if isinstance(dataset, IterableDataset):
        features = Features(dict(dataset.features) | _ADDED)
        label = partial(_label_table, values=values, features=features)
        # With features given to `map`, what follows would take images for decoded already; a cast makes it decode them.
        return dataset.with_format("arrow").map(label, batched=True).with_format(None).cast(features)
    for name, feature in _ADDED.items():
        dataset = dataset.add_column(name, [values[name]] * len(dataset), feature=feature)
    return dataset


def _label_table(table: pa.Table, values: Mapping[str, Any], features: Features) -> pa.Table:
    for name, value in values.items():
        table = table.append_column(name, pa.array([value] * len(table)))
    return table.cast(features.arrow_schema)
