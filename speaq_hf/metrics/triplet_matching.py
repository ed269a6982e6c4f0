# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Which predicted triplets hit which annotated ones, in one image. Plain numpy, no loop over triplets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


NEVER = np.iinfo(np.int64).max  # rank of an annotated triplet that no prediction hits


@dataclass(frozen=True)
class ImageTriplets:
    """The arrays of one image's scene graph, predicted or annotated, checked. Numbers are float32 and int64.

    Args:
        boxes: `(n, 4)` (x1, y1, x2, y2) in pixels.
        labels: `(n,)` object classes.
        scores: `(n,)` object scores; ones for annotations.
        relations: `(k, 3)` rows (subject, object, predicate), best first.
        predicate_probabilities: `(k, P+1)`, last column background; zeros for annotations.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    relations: np.ndarray
    predicate_probabilities: np.ndarray

    @classmethod
    def from_prediction(cls, graph: Any, num_predicates: int, where: str) -> ImageTriplets:
        """Reads a `SceneGraph` or a mapping with the same field names.

        Args:
            graph: The predicted graph.
            num_predicates: P.
            where: Name of the image in error messages.

        Returns:
            The checked arrays.

        Raises:
            ValueError: A field is missing, not finite, of the wrong shape, or an index is out of range.
        """
        triplets = cls(
            boxes=_read(graph, "boxes", where, float, (4,)),
            labels=_read(graph, "labels", where, int),
            scores=_read(graph, "scores", where, float),
            relations=_read(graph, "relations", where, int, (3,)),
            predicate_probabilities=_read(graph, "predicate_probabilities", where, float, (num_predicates + 1,)),
        )
        triplets._check_lengths(where)
        triplets._check_indices(where, num_predicates)
        return triplets

    @classmethod
    def from_reference(cls, annotation: Any, num_predicates: int, where: str) -> ImageTriplets:
        """Reads an annotation with `boxes`, `labels` and `relations`; see `from_prediction`."""
        boxes = _read(annotation, "boxes", where, float, (4,))
        relations = _read(annotation, "relations", where, int, (3,))
        triplets = cls(
            boxes=boxes,
            labels=_read(annotation, "labels", where, int),
            scores=np.ones(len(boxes), dtype=np.float32),
            relations=relations,
            predicate_probabilities=np.zeros((len(relations), num_predicates + 1), dtype=np.float32),
        )
        triplets._check_lengths(where)
        triplets._check_indices(where, num_predicates)
        return triplets

    def _check_lengths(self, where: str) -> None:
        for name, count_of in (("labels", "boxes"), ("scores", "boxes"), ("predicate_probabilities", "relations")):
            got, expected = len(getattr(self, name)), len(getattr(self, count_of))
            if got != expected:
                raise ValueError(f"{where}: `{name}` has {got} rows but `{count_of}` has {expected}.")

    def _check_indices(self, where: str, num_predicates: int) -> None:
        limits = np.array([len(self.boxes), len(self.boxes), num_predicates])
        outside = np.flatnonzero(((self.relations < 0) | (self.relations >= limits)).any(axis=1))
        if len(outside):
            raise ValueError(
                f"{where}: `relations` row {outside[0]} is {self.relations[outside[0]].tolist()}, but there are "
                f"{len(self.boxes)} objects and {num_predicates} predicates."
            )


def _read(graph: Any, name: str, where: str, kind: type, tail: tuple[int, ...] = ()) -> np.ndarray:
    """One field as a float32 or int64 array `(rows, *tail)`."""
    try:
        value = graph[name] if isinstance(graph, Mapping) else getattr(graph, name)
    except (KeyError, AttributeError) as error:
        raise ValueError(f"{where}: the field `{name}` is missing.") from error
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if array.size == 0:  # an empty list knows neither its shape nor its dtype
        return np.zeros((0, *tail), dtype=np.float32 if kind is float else np.int64)
    if array.ndim != 1 + len(tail) or array.shape[1:] != tail:
        expected = ", ".join(["n", *map(str, tail)]) + ("" if tail else ",")
        raise ValueError(f"{where}: `{name}` must have shape ({expected}), got {array.shape}.")
    if kind is int:
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{where}: `{name}` must hold integers, got {array.dtype}.")
        return array.astype(np.int64)
    if not np.isfinite(array).all():
        raise ValueError(f"{where}: `{name}` holds NaN or infinite values.")
    return array.astype(np.float32)


def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes `(n, 4)` and `(m, 4)`, (x1, y1, x2, y2), no "+1" pixel.

    Returns:
        `(n, m)` in [0, 1]; 0 where both boxes are empty.
    """
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])  # (n, m, 2)
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = (bottom_right - top_left).clip(min=0).prod(axis=-1)
    area_a, area_b = ((boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=-1) for boxes in (a, b))
    union = area_a[:, None] + area_b[None, :] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def match_pairs(prediction: ImageTriplets, reference: ImageTriplets, iou_threshold: float) -> np.ndarray:
    """Which predicted (subject, object) pairs agree with which annotated ones in both classes and both boxes.

    Args:
        prediction: Graph with k relations.
        reference: Graph with r relations.
        iou_threshold: Lowest overlap of two boxes that agree, in [0, 1].

    Returns:
        `(k, r)` booleans; predicates are not looked at.
    """
    same_object = prediction.labels[:, None] == reference.labels[None, :]  # (n, m)
    same_object &= pairwise_iou(prediction.boxes, reference.boxes) >= iou_threshold
    subjects = same_object[prediction.relations[:, 0][:, None], reference.relations[:, 0][None, :]]
    objects = same_object[prediction.relations[:, 1][:, None], reference.relations[:, 1][None, :]]
    return subjects & objects


def first_hit_ranks(hits: np.ndarray) -> np.ndarray:
    """Position of the first prediction that hits each annotated triplet.

    Args:
        hits: `(k, r)` booleans, predictions best first.

    Returns:
        `(r,)` 0-based ranks, `NEVER` without a hit. A triplet is recalled at K when its rank is below K.
    """
    if len(hits) == 0:
        return np.full(hits.shape[1], NEVER)
    return np.where(hits.any(axis=0), hits.argmax(axis=0), NEVER)


def best_unconstrained(prediction: ImageTriplets, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """The best (pair, predicate) combinations when every predicate of a pair competes (no graph constraint).

    A combination scores subject score x object score x predicate probability; background does not compete, and of
    equal scores the earlier one wins.

    Args:
        prediction: Graph with k relations and P predicates.
        limit: Largest number of combinations.

    Returns:
        Rows of `prediction.relations` and predicates, both `(min(limit, k * P),)`, best first.
    """
    pair_scores = prediction.scores[prediction.relations[:, :2]].prod(axis=1)
    scores = (pair_scores[:, None] * prediction.predicate_probabilities[:, :-1]).ravel()
    candidates = np.arange(len(scores))
    if len(scores) > limit:  # sort only what can be among the best, ties with the last one included
        candidates = np.flatnonzero(scores >= np.partition(scores, -limit)[-limit])
    best = candidates[np.argsort(-scores[candidates], kind="stable")][:limit]
    return np.divmod(best, prediction.predicate_probabilities.shape[1] - 1)
