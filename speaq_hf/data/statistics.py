# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""How often predicates and triplets are annotated: for class weights, zero-shot recall and frequency baselines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, IterableDataset

from .visual_genome import object_names, predicate_names


@dataclass(frozen=True)
class TripletCounts:
    """The non-zero entries of a count tensor (subject class, object class, predicate), in lexicographic order.

    Args:
        indices: Rows (subject class, object class, predicate) (k, 3), 0-based, each once.
        counts: How often each row was annotated (k,), at least 1.
    """

    indices: np.ndarray
    counts: np.ndarray

    @classmethod
    def from_rows(cls, rows: np.ndarray, weights: np.ndarray | None = None) -> TripletCounts:
        """Counts rows (m, 3) that may repeat; `weights` (m,) count a row several times."""
        rows = rows.reshape(-1, 3)
        shape = rows.max(axis=0, initial=0) + 1
        # Sorting one number per row is many times faster than sorting rows.
        codes, inverse = np.unique(np.ravel_multi_index(tuple(rows.T), shape), return_inverse=True)
        counts = np.bincount(inverse, weights, minlength=len(codes)).astype(np.int64)
        return cls(np.column_stack(np.unravel_index(codes, shape)), counts)

    def to_dense(self, num_objects: int, num_predicates: int) -> np.ndarray:
        """The whole tensor (num_objects, num_objects, num_predicates)."""
        dense = np.zeros((num_objects, num_objects, num_predicates), np.int64)
        dense[tuple(self.indices.T)] = self.counts
        return dense

    def total_of(self, rows: np.ndarray) -> int:
        """How often any of the triplets `rows` (k, 3) was annotated."""
        wanted = set(map(tuple, rows.tolist()))
        return int(
            sum(count for row, count in zip(self.indices.tolist(), self.counts, strict=True) if tuple(row) in wanted)
        )

    def __add__(self, other: TripletCounts) -> TripletCounts:
        rows = np.concatenate([self.indices, other.indices])
        return TripletCounts.from_rows(rows, np.concatenate([self.counts, other.counts]))


@dataclass(frozen=True)
class PredicateStatistics:
    """Counts over the annotated relations of a dataset; statistics of several datasets add up with `+`.

    Args:
        counts: Relations of each predicate (P,) int64.
        triplet_counts: The same relations by (subject class, object class, predicate).
    """

    counts: np.ndarray
    triplet_counts: TripletCounts

    @property
    def num_relations(self) -> int:
        """Number of annotated relations."""
        return int(self.counts.sum())

    def __add__(self, other: PredicateStatistics) -> PredicateStatistics:
        if len(self.counts) != len(other.counts):
            raise ValueError(
                f"cannot add statistics over {len(self.counts)} and {len(other.counts)} predicates; "
                "both datasets must use the same vocabulary"
            )
        return PredicateStatistics(self.counts + other.counts, self.triplet_counts + other.triplet_counts)


def predicate_statistics(dataset: Dataset) -> PredicateStatistics:
    """Counts predicates and triplets of a scene graph dataset.

    Every annotated row counts, also repeated ones: the published program derives its class weights from that.

    Args:
        dataset: A dataset as `load_visual_genome` returns it; a transform or format set on it does not matter.

    Returns:
        The counts.

    Raises:
        TypeError: It is a stream, or no dataset.
        ValueError: The dataset's features hold no vocabularies.
    """
    _check_map_style(dataset)
    num_predicates, num_objects = len(predicate_names(dataset)), len(object_names(dataset))
    table = dataset.select_columns(["objects", "relations"]).with_format("arrow")[:]
    triplets = _triplets(table)
    if (triplets >= [num_objects, num_objects, num_predicates]).any() or (triplets < 0).any():
        raise ValueError(
            f"the dataset's classes exceed its vocabularies of {num_objects} objects and {num_predicates} predicates; "
            "its features must name every class"
        )
    return PredicateStatistics(
        np.bincount(triplets[:, 2], minlength=num_predicates), TripletCounts.from_rows(triplets)
    )


def object_counts(dataset: Dataset) -> np.ndarray:
    """How often each object class is annotated, (C,) int64, in a scene graph dataset.

    Raises:
        TypeError: It is a stream, or no dataset.
        ValueError: The dataset's features hold no vocabulary.
    """
    _check_map_style(dataset)
    num_objects = len(object_names(dataset))
    objects = dataset.select_columns("objects").with_format("arrow")[:]["objects"].combine_chunks()
    labels = np.asarray(pc.list_flatten(pc.struct_field(objects, "category")))
    return np.bincount(labels, minlength=num_objects)


def zero_shot_triplets(train: PredicateStatistics, test: PredicateStatistics) -> np.ndarray:
    """Triplets that occur in `test` but never in `train`: rows (subject class, object class, predicate) (k, 3)."""
    triplets, known = test.triplet_counts.indices, train.triplet_counts.indices
    shape = np.maximum(triplets.max(axis=0, initial=0), known.max(axis=0, initial=0)) + 1
    codes, known_codes = (np.ravel_multi_index(tuple(rows.T), shape) for rows in (triplets, known))
    return triplets[~np.isin(codes, known_codes)]


def _check_map_style(dataset: Dataset) -> None:
    if not isinstance(dataset, Dataset):
        hint = (
            "count the same set loaded without streaming" if isinstance(dataset, IterableDataset) else "pass one split"
        )
        raise TypeError(f"expected a Dataset, whose rows are counted at once, got {type(dataset).__name__}; {hint}")


def _triplets(table: pa.Table) -> np.ndarray:
    """Rows (subject class, object class, predicate) (r, 3) of all relations in the table."""
    table = table.combine_chunks()
    categories = pc.struct_field(table["objects"], "category")
    relations = np.asarray(pc.list_flatten(pc.list_flatten(table["relations"]))).astype(np.int64).reshape(-1, 3)
    num_objects = np.asarray(pc.list_value_length(categories))
    num_relations = np.asarray(pc.list_value_length(table["relations"]))
    first_object = np.repeat(np.cumsum(num_objects) - num_objects, num_relations)
    classes = np.asarray(pc.list_flatten(categories))
    pair = classes[first_object[:, None] + relations[:, :2]].reshape(-1, 2)
    return np.column_stack([pair, relations[:, 2]])
