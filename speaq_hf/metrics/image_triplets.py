# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The checked arrays of one image's scene graph, predicted or annotated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .repetitions import first_occurrence, pair_numbers


_COUNT_OF = {
    "labels": "boxes",
    "scores": "boxes",
    "predicate_probabilities": "relations",
    "relation_scores": "relations",
}


@dataclass(frozen=True)
class ImageTriplets:
    """One image's scene graph. Boxes are float64, so that whole pixels and their overlaps are exact; scores float32.

    Args:
        boxes: `(n, 4)` (x1, y1, x2, y2) in pixels.
        labels: `(n,)` object classes.
        relations: `(k, 3)` rows (subject, object, predicate), best first.
        scores: `(n,)` object scores; None for annotations.
        predicate_probabilities: `(k, P+1)`, last column background; None if unknown, and for annotations.
        relation_scores: `(k,)`; None if unknown, and for annotations.
        unconstrained_relations: `(q, 3)` rows that compete without graph constraint, best first. None: they follow from
            `predicate_probabilities`, or are `relations` where there are none.
    """

    boxes: np.ndarray
    labels: np.ndarray
    relations: np.ndarray
    scores: np.ndarray | None = None
    predicate_probabilities: np.ndarray | None = None
    relation_scores: np.ndarray | None = None
    unconstrained_relations: np.ndarray | None = None

    @classmethod
    def from_prediction(cls, graph: Any, num_predicates: int, where: str) -> ImageTriplets:
        """Reads a `SceneGraph` or a mapping with the same field names.

        Args:
            graph: The predicted graph. Of a mapping, `predicate_probabilities`, `relation_scores` and
                `unconstrained_relations` may be missing.
            num_predicates: P.
            where: Name of the image in error messages.

        Returns:
            The checked arrays.

        Raises:
            ValueError: A field is missing, not finite, of the wrong shape, or an index is out of range.
        """
        fields = _Fields(graph, where)
        return cls(
            boxes=fields.read("boxes", np.float64, (4,)),
            labels=fields.read("labels", np.int64),
            relations=fields.read("relations", np.int64, (3,)),
            scores=fields.read("scores", np.float32),
            predicate_probabilities=fields.read_optional("predicate_probabilities", np.float32, (num_predicates + 1,)),
            relation_scores=fields.read_optional("relation_scores", np.float32),
            unconstrained_relations=fields.read_optional("unconstrained_relations", np.int64, (3,)),
        )._checked(where, num_predicates)

    @classmethod
    def from_reference(cls, annotation: Any, num_predicates: int, where: str) -> ImageTriplets:
        """Reads an annotation with `boxes`, `labels` and `relations`; see `from_prediction`."""
        fields = _Fields(annotation, where)
        return cls(
            boxes=fields.read("boxes", np.float64, (4,)),
            labels=fields.read("labels", np.int64),
            relations=fields.read("relations", np.int64, (3,)),
        )._checked(where, num_predicates)

    @cached_property
    def first_of_pair(self) -> np.ndarray:
        """`(k,)` the first of the relations with the subject and the object of each."""
        return first_occurrence(pair_numbers(self.relations, len(self.boxes)))

    def _checked(self, where: str, num_predicates: int) -> ImageTriplets:
        for name, count_of in _COUNT_OF.items():
            values, expected = getattr(self, name), len(getattr(self, count_of))
            if values is not None and len(values) != expected:
                raise ValueError(f"{where}: `{name}` has {len(values)} rows but `{count_of}` has {expected}.")
        _check_range(self.labels, 2**31, f"{where}: `labels`", "classes are numbers from 0 below 2**31")
        num_objects = len(self.boxes)
        limits = np.array([num_objects, num_objects, num_predicates], dtype=np.uint64)
        given = f"there are {num_objects} objects and {num_predicates} predicates"
        for name in ("relations", "unconstrained_relations"):
            relations = getattr(self, name)
            if relations is not None:
                _check_range(relations, limits, f"{where}: `{name}`", given)
        return self


def check_numbers(value: Any, dtype: type, where: str) -> None:
    """Makes sure that a field holds what can be read as `dtype`, before something else casts it.

    Args:
        value: Array, tensor or nested list.
        dtype: `np.int64` for integers, another one for any numbers.
        where: Its place, for messages.

    Raises:
        ValueError: Its rows differ in length, or it holds texts, booleans, or fractions where integers should be.
    """
    array = _rectangular(value, where)
    if array.size:  # an empty list knows no dtype
        _check_kind(array, dtype, where)


class _Fields:
    """The fields of one graph as checked arrays."""

    def __init__(self, graph: Any, where: str) -> None:
        self._graph, self._where = graph, where
        self._is_mapping = isinstance(graph, Mapping)

    def read(self, name: str, dtype: type, tail: tuple[int, ...] = ()) -> np.ndarray:
        """A field as an array `(rows, *tail)`."""
        array = self.read_optional(name, dtype, tail)
        if array is None:
            raise ValueError(f"{self._where}: the field `{name}` is missing.")
        return array

    def read_optional(self, name: str, dtype: type, tail: tuple[int, ...] = ()) -> np.ndarray | None:
        """A field as an array `(rows, *tail)`; None if it is missing."""
        value = self._graph.get(name) if self._is_mapping else getattr(self._graph, name, None)
        return None if value is None else _as_array(value, dtype, tail, f"{self._where}: `{name}`")


def _check_range(values: np.ndarray, limits: int | np.ndarray, where: str, expected: str) -> None:
    wrong = values.view(np.uint64) >= limits  # negative numbers are large ones without their sign
    if wrong.any():
        row = wrong.reshape(len(values), -1).any(axis=1).argmax()
        raise ValueError(f"{where} row {row} is {values[row].tolist()}, but {expected}.")


def _as_array(value: Any, dtype: type, tail: tuple[int, ...], where: str) -> np.ndarray:
    array = _rectangular(value, where)
    if array.size == 0:  # an empty list knows neither its shape nor its dtype
        return np.zeros((0, *tail), dtype=dtype)
    if array.ndim != 1 + len(tail) or array.shape[1:] != tail:
        expected = ", ".join(["n", *map(str, tail)]) + ("" if tail else ",")
        raise ValueError(f"{where} must have shape ({expected}), got {array.shape}.")
    _check_kind(array, dtype, where)
    if (
        dtype is not np.int64 and not math.isfinite(array.sum()) and not np.isfinite(array).all()
    ):  # the sum of finite numbers may overflow
        raise ValueError(f"{where} holds NaN or infinite values.")
    return array.astype(dtype, copy=False)


def _check_kind(array: np.ndarray, dtype: type, where: str) -> None:
    if dtype is np.int64:
        if array.dtype.kind not in "iu":
            raise ValueError(f"{where} must hold integers, got {array.dtype}.")
    elif array.dtype.kind not in "iuf":
        raise ValueError(f"{where} must hold numbers, got {array.dtype}.")


def _rectangular(value: Any, where: str) -> np.ndarray:
    try:
        return _from_anything(value)
    except ValueError as error:  # a list of rows of different lengths
        raise ValueError(f"{where} must have rows of equal length ({error}).") from error


def _from_anything(value: Any) -> np.ndarray:
    if not hasattr(value, "detach"):
        return np.asarray(value)
    if value.is_floating_point() and value.element_size() < 4:  # numpy lacks bfloat16 and its kin, float32 holds them
        value = value.float()
    return value.numpy(force=True)  # tensors of any device
