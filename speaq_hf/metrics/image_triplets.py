# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The checked arrays of one image's scene graph, predicted or annotated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


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
        return cls(
            boxes=_read(graph, "boxes", where, np.float64, (4,)),
            labels=_read(graph, "labels", where, np.int64),
            relations=_read(graph, "relations", where, np.int64, (3,)),
            scores=_read(graph, "scores", where, np.float32),
            predicate_probabilities=_read_optional(
                graph, "predicate_probabilities", where, np.float32, (num_predicates + 1,)
            ),
            relation_scores=_read_optional(graph, "relation_scores", where, np.float32),
            unconstrained_relations=_read_optional(graph, "unconstrained_relations", where, np.int64, (3,)),
        )._checked(where, num_predicates)

    @classmethod
    def from_reference(cls, annotation: Any, num_predicates: int, where: str) -> ImageTriplets:
        """Reads an annotation with `boxes`, `labels` and `relations`; see `from_prediction`."""
        return cls(
            boxes=_read(annotation, "boxes", where, np.float64, (4,)),
            labels=_read(annotation, "labels", where, np.int64),
            relations=_read(annotation, "relations", where, np.int64, (3,)),
        )._checked(where, num_predicates)

    def _checked(self, where: str, num_predicates: int) -> ImageTriplets:
        for name, count_of in _COUNT_OF.items():
            values, expected = getattr(self, name), len(getattr(self, count_of))
            if values is not None and len(values) != expected:
                raise ValueError(f"{where}: `{name}` has {len(values)} rows but `{count_of}` has {expected}.")
        _check_range(self.labels, 2**31, f"{where}: `labels`", "classes are numbers from 0 below 2**31")
        given = f"there are {len(self.boxes)} objects and {num_predicates} predicates"
        for name in ("relations", "unconstrained_relations"):
            relations = getattr(self, name)
            if relations is not None:
                _check_range(relations[:, :2], len(self.boxes), f"{where}: `{name}`", given, relations)
                _check_range(relations[:, 2], num_predicates, f"{where}: `{name}`", given, relations)
        return self


def _check_range(values: np.ndarray, limit: int, where: str, expected: str, rows: np.ndarray | None = None) -> None:
    if not values.size or (values.min() >= 0 and values.max() < limit):
        return
    row = ((values < 0) | (values >= limit)).reshape(len(values), -1).any(axis=1).argmax()
    found = (values if rows is None else rows)[row].tolist()
    raise ValueError(f"{where} row {row} is {found}, but {expected}.")


def _lookup(graph: Any, name: str) -> Any:
    return graph.get(name) if isinstance(graph, Mapping) else getattr(graph, name, None)


def _read_optional(graph: Any, name: str, where: str, dtype: type, tail: tuple[int, ...] = ()) -> np.ndarray | None:
    return None if _lookup(graph, name) is None else _read(graph, name, where, dtype, tail)


def _read(graph: Any, name: str, where: str, dtype: type, tail: tuple[int, ...] = ()) -> np.ndarray:
    """One field as an array `(rows, *tail)`."""
    value = _lookup(graph, name)
    if value is None:
        raise ValueError(f"{where}: the field `{name}` is missing.")
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except ValueError as error:  # a list of rows of different lengths
        raise ValueError(f"{where}: `{name}` must have rows of equal length ({error}).") from error
    if array.size == 0:  # an empty list knows neither its shape nor its dtype
        return np.zeros((0, *tail), dtype=dtype)
    if array.ndim != 1 + len(tail) or array.shape[1:] != tail:
        expected = ", ".join(["n", *map(str, tail)]) + ("" if tail else ",")
        raise ValueError(f"{where}: `{name}` must have shape ({expected}), got {array.shape}.")
    if dtype is np.int64:
        if array.dtype.kind not in "iu":
            raise ValueError(f"{where}: `{name}` must hold integers, got {array.dtype}.")
    elif array.dtype.kind not in "iuf":
        raise ValueError(f"{where}: `{name}` must hold numbers, got {array.dtype}.")
    elif not np.isfinite(array.sum()) and not np.isfinite(array).all():  # the sum of finite numbers may overflow
        raise ValueError(f"{where}: `{name}` holds NaN or infinite values.")
    return array.astype(dtype, copy=False)
