# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""One vocabulary for several datasets: classes are renumbered by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, IterableDataset

from .visual_genome import object_names, predicate_names, scene_graph_features


def share_vocabulary(sources: Mapping[str, Dataset | IterableDataset]) -> dict[str, Dataset | IterableDataset]:
    """Renumber the classes of datasets so that all use the vocabulary of the first.

    Args:
        sources: Scene graph datasets by name. The others may lack names of the first or have them in another order.

    Returns:
        The datasets by name; those whose vocabulary is the first one's already are returned as they are.

    Raises:
        ValueError: A dataset has a name that the first lacks; the message lists all such names.
    """
    reference, first = next(iter(sources.items()))
    objects, predicates = object_names(first), predicate_names(first)
    for name, dataset in sources.items():
        for kind, known, found in (
            ("object", objects, object_names(dataset)),
            ("predicate", predicates, predicate_names(dataset)),
        ):
            unknown = [word for word in found if word not in set(known)]
            if unknown:
                raise ValueError(
                    f"'{name}' has {kind} classes that '{reference}' lacks: {unknown}; sources must share one "
                    "vocabulary: rename or remove these classes, or name the source with the larger vocabulary first"
                )
    return {name: renumber_classes(dataset, objects, predicates) for name, dataset in sources.items()}


def renumber_classes(
    dataset: Dataset | IterableDataset, objects: Sequence[str], predicates: Sequence[str]
) -> Dataset | IterableDataset:
    """Use other numbers for the same class names.

    Args:
        dataset: A scene graph dataset; a format or transform set on it is lost if anything changes.
        objects: Object names in their new order; all of the dataset's must be among them.
        predicates: Predicate names in their new order, likewise.

    Returns:
        The dataset itself if nothing changes.
    """
    old_objects, old_predicates = object_names(dataset), predicate_names(dataset)
    if old_objects == list(objects) and old_predicates == list(predicates):
        return dataset
    object_numbers = np.array([objects.index(name) for name in old_objects], np.int64)
    predicate_numbers = np.array([predicates.index(name) for name in old_predicates], np.int64)
    features = Features(dict(dataset.features) | _class_features(objects, predicates))

    def renumber(table: pa.Table) -> pa.Table:
        return _renumber(table.combine_chunks(), object_numbers, predicate_numbers).cast(features.arrow_schema)

    return dataset.with_format("arrow").map(renumber, batched=True, features=features).with_format(None)


def _class_features(objects: Sequence[str], predicates: Sequence[str]) -> dict[str, object]:
    features = scene_graph_features(objects, predicates)
    return {name: features[name] for name in ("objects", "predicates")}


def _renumber(table: pa.Table, object_numbers: np.ndarray, predicate_numbers: np.ndarray) -> pa.Table:
    objects = table["objects"].combine_chunks()
    categories = _take(pc.struct_field(objects, "category"), object_numbers)
    boxes = pc.struct_field(objects, "bbox")
    relations = np.array(pc.list_flatten(pc.list_flatten(table["relations"])), np.int64).reshape(-1, 3)
    relations[:, 2] = predicate_numbers[relations[:, 2]]
    triplets = pa.FixedSizeListArray.from_arrays(pa.array(relations.reshape(-1)), 3)
    columns = {
        "objects": pa.StructArray.from_arrays([boxes, categories], ["bbox", "category"]),
        "relations": pa.ListArray.from_arrays(_offsets(table["relations"]), triplets),
        "predicates": _take(table["predicates"], predicate_numbers),
    }
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def _take(lists: pa.ChunkedArray | pa.Array, numbers: np.ndarray) -> pa.ListArray:
    """Lists of class numbers with every number replaced."""
    return pa.ListArray.from_arrays(_offsets(lists), pa.array(numbers[np.asarray(pc.list_flatten(lists))]))


def _offsets(lists: pa.ChunkedArray | pa.Array) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(np.asarray(pc.list_value_length(lists)))]).astype(np.int32))
