# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""One vocabulary for several datasets: classes are renumbered by name, and renamed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, IterableDataset, concatenate_datasets

from .visual_genome import object_names, predicate_names, scene_graph_features


_GRAPH_COLUMNS = ("objects", "relations", "predicates")
_NAMES_SHOWN = 10


def share_vocabulary(sources: Mapping[str, Dataset | IterableDataset]) -> dict[str, Dataset | IterableDataset]:
    """Renumber the classes of datasets so that all use the vocabulary of the first.

    Args:
        sources: Scene graph datasets by name. The others may lack names of the first or have them in another order.

    Returns:
        The datasets by name; those whose vocabulary is the first one's already are returned as they are.

    Raises:
        ValueError: A dataset has a name that the first lacks; the message gives such names and similar ones of the first.
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
                raise ValueError(_unknown_classes_message(name, reference, kind, unknown, known))
    return {name: renumber_classes(dataset, objects, predicates) for name, dataset in sources.items()}


def rename_classes(
    dataset: Dataset | IterableDataset,
    objects: Mapping[str, str] | None = None,
    predicates: Mapping[str, str] | None = None,
) -> Dataset | IterableDataset:
    """Give classes other names, for example `objects={"man": "person", "woman": "person"}`.

    Classes that get one name become one class. Images are neither decoded nor copied. Classes keep their order; one
    that joins another takes the place of the first.

    Args:
        dataset: A scene graph dataset; a format or transform set on it is lost.
        objects: New names by old name; classes that are not named keep theirs.
        predicates: Likewise.

    Returns:
        The dataset with the new vocabulary.

    Raises:
        ValueError: An old name is not in the vocabulary, or a new one is empty.
    """
    old = object_names(dataset), predicate_names(dataset)
    new = [
        _renamed(kind, names, changes or {})
        for kind, names, changes in zip(("objects", "predicates"), old, (objects, predicates), strict=True)
    ]
    return _with_vocabulary(dataset, *(list(dict.fromkeys(names)) for names in new), *new)


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
    return _with_vocabulary(dataset, objects, predicates, old_objects, old_predicates)


def _with_vocabulary(
    dataset: Dataset | IterableDataset,
    objects: Sequence[str],
    predicates: Sequence[str],
    object_of: Sequence[str],
    predicate_of: Sequence[str],
) -> Dataset | IterableDataset:
    """The dataset with a new vocabulary; `object_of` and `predicate_of` name what each old class becomes."""
    object_numbers = np.array([objects.index(name) for name in object_of], np.int64)
    predicate_numbers = np.array([predicates.index(name) for name in predicate_of], np.int64)
    dataset = dataset.with_format("arrow")
    names = list(dataset.column_names)
    # `map` writes what it is given: of rows in memory or files only the graphs, not the images.
    part = dataset if isinstance(dataset, IterableDataset) else dataset.select_columns(list(_GRAPH_COLUMNS))
    features = Features(dict(part.features) | _class_features(objects, predicates))

    def renumber(table: pa.Table) -> pa.Table:
        return _renumber(table.combine_chunks(), object_numbers, predicate_numbers).cast(features.arrow_schema)

    part = part.map(renumber, batched=True, features=features).with_format(None)
    if isinstance(part, IterableDataset):
        return part
    others = dataset.with_format(None).remove_columns(list(_GRAPH_COLUMNS))
    # Datasets without columns have no rows to join to.
    return concatenate_datasets([others, part], axis=1).select_columns(names) if others.column_names else part


def _renamed(kind: str, names: Sequence[str], changes: Mapping[str, str]) -> list[str]:
    """New name of every class."""
    for old, new in changes.items():
        if old not in names:
            raise ValueError(f"{kind}: there is no class {with_similar_names(old, names)}")
        if not isinstance(new, str) or not new:
            raise ValueError(f"{kind}: the new name of '{old}' must be a text that is not empty, got {new!r}")
    return [changes.get(name, name) for name in names]


def with_similar_names(name: str, names: Sequence[str]) -> str:
    """A name in quotation marks, and the one of `names` that it may have been meant to be."""
    similar = difflib.get_close_matches(name, names, n=1)
    return f"'{name}' (similar: '{similar[0]}')" if similar else f"'{name}'"


def _unknown_classes_message(
    name: str, reference: str, kind: str, unknown: Sequence[str], known: Sequence[str]
) -> str:
    shown = ", ".join(with_similar_names(word, known) for word in unknown[:_NAMES_SHOWN])
    more = f" and {len(unknown) - _NAMES_SHOWN} more" if len(unknown) > _NAMES_SHOWN else ""
    new = next(iter(difflib.get_close_matches(unknown[0], known, n=1)), known[0])
    return (
        f"'{name}' has {len(unknown)} {kind} classes that '{reference}' lacks: {shown}{more}; sources must share one "
        f'vocabulary: rename them, rename_classes(dataset, {kind}s={{"{unknown[0]}": "{new}"}}), remove them, or name the '
        "source with the larger vocabulary first"
    )


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
