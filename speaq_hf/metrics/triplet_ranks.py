# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""At which place of the ranking each annotated triplet is first hit, for many images at once.

Every recall follows from these places. Images are laid end to end, so that the number of numpy calls does not grow with
the number of images, and only pairs with equal class or predicate are ever compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .box_overlap import intersection_over_union, union_boxes
from .candidates import constrained_triplets, identical_objects, ranked_graph, unconstrained_triplets
from .image_triplets import ImageTriplets
from .protocols import EvaluationProtocol
from .repetitions import is_first, pair_numbers


NEVER = np.iinfo(np.int64).max  # place of a triplet that is not hit


@dataclass(frozen=True)
class TripletRanks:
    """The annotated triplets of B images, T in all, and where each is first hit: 0 is the best place.

    Args:
        image: `(T,)` image of each triplet, ascending.
        subject_label: `(T,)` class of its subject.
        object_label: `(T,)` class of its object.
        predicate: `(T,)`.
        row: `(T,)` its row among the relations of its reference.
        constrained: `(T,)` place among the predictions that compete under graph constraint; `NEVER` without a hit.
        unconstrained: `(T,)` the same when all predicates of every pair compete.
        phrase: `(T,)` like `constrained`, when the box around subject and object must agree instead of both boxes.
        annotated_pair: `(T,)` place among the predictions on pairs that are annotated; None unless objects are given.
    """

    image: np.ndarray
    subject_label: np.ndarray
    object_label: np.ndarray
    predicate: np.ndarray
    row: np.ndarray
    constrained: np.ndarray
    unconstrained: np.ndarray
    phrase: np.ndarray
    annotated_pair: np.ndarray | None = None


def rank_triplets(
    predictions: Sequence[ImageTriplets],
    references: Sequence[ImageTriplets],
    protocol: EvaluationProtocol,
    iou_threshold: float = 0.5,
    limit: int = 100,
    with_annotated_pairs: bool = False,
) -> TripletRanks:
    """Finds the place of every annotated triplet in the ranking of its image.

    Args:
        predictions: B graphs.
        references: B annotations.
        protocol: The rules.
        iou_threshold: Lowest overlap of two boxes that agree, in [0, 1].
        limit: Places from here on do not matter, and may be given as `NEVER`.
        with_annotated_pairs: Rank the predictions on annotated pairs, too. Row i of a prediction's objects must then be
            row i of the reference's.

    Returns:
        The places, triplets in the order of the images and of their (distinct, if the protocol merges them) relations.
    """
    predictions = [ranked_graph(prediction, protocol) for prediction in predictions]
    predicted, annotated = _Objects.of(predictions), _Objects.of(references)
    truth = _Triplets.of([reference.relations for reference in references], annotated)
    if protocol.merge_identical_annotations:
        truth = truth.without_repetitions()
    agreement = _Agreement.of(predicted, annotated, protocol, iou_threshold)
    constrained = [constrained_triplets(p, protocol, None if with_annotated_pairs else limit) for p in predictions]
    hits = agreement.hits(_Triplets.of(constrained, predicted), truth)
    unconstrained = [unconstrained_triplets(prediction, protocol, limit) for prediction in predictions]
    unconstrained_hits = agreement.hits(_Triplets.of(unconstrained, predicted), truth)
    ranks = TripletRanks(
        image=truth.image,
        subject_label=annotated.labels[truth.subject],
        object_label=annotated.labels[truth.object],
        predicate=truth.predicate,
        row=truth.place,
        constrained=hits.ranks(hits.by_boxes()),
        unconstrained=unconstrained_hits.ranks(unconstrained_hits.by_boxes()),
        phrase=hits.ranks(hits.by_union_box(iou_threshold, protocol.box_offset)),
    )
    if not with_annotated_pairs:
        return ranks
    numbers = [identical_objects(p) if protocol.merge_identical_objects else None for p in predictions]
    known = [_on_annotated_pairs(*image) for image in zip(constrained, references, numbers, strict=True)]
    hits = agreement.hits(_Triplets.of(known, predicted), truth)
    return dataclasses.replace(ranks, annotated_pair=hits.ranks(hits.by_boxes()))


@dataclass(frozen=True)
class _Objects:
    """The N objects of B images: `start[b]` is the first of image b."""

    boxes: np.ndarray
    labels: np.ndarray
    image: np.ndarray
    start: np.ndarray

    @classmethod
    def of(cls, graphs: Sequence[ImageTriplets]) -> _Objects:
        boxes = np.concatenate([np.zeros((0, 4)), *(graph.boxes for graph in graphs)])
        labels = np.concatenate([np.zeros(0, dtype=np.int64), *(graph.labels for graph in graphs)])
        image, start = _image_numbers([len(graph.boxes) for graph in graphs])
        return cls(boxes, labels, image, start)


@dataclass(frozen=True)
class _Triplets:
    """Triplets of B images; `subject` and `object` number the objects of all images, `place` starts anew in each."""

    subject: np.ndarray
    object: np.ndarray
    predicate: np.ndarray
    image: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, relations: Sequence[np.ndarray], objects: _Objects) -> _Triplets:
        image, start = _image_numbers([len(rows) for rows in relations])
        rows = np.concatenate([np.zeros((0, 3), dtype=np.int64), *relations])
        first = objects.start[image]
        return cls(rows[:, 0] + first, rows[:, 1] + first, rows[:, 2], image, np.arange(len(rows)) - start[image])

    def without_repetitions(self) -> _Triplets:
        """The triplets that no earlier one equals, at their places."""
        num_objects, num_predicates = self.object.max(initial=0) + 1, self.predicate.max(initial=0) + 1
        new = is_first((self.subject * num_objects + self.object) * num_predicates + self.predicate)
        return _Triplets(self.subject[new], self.object[new], self.predicate[new], self.image[new], self.place[new])


@dataclass(frozen=True)
class _Agreement:
    """Which predicted object agrees with which annotated one in class and box: one flat table of booleans, in which the
    rows of image b have the width of its number of annotated objects."""

    predicted: _Objects
    annotated: _Objects
    table: np.ndarray
    row_start: np.ndarray

    @classmethod
    def of(
        cls, predicted: _Objects, annotated: _Objects, protocol: EvaluationProtocol, iou_threshold: float
    ) -> _Agreement:
        """Compares every predicted object with the annotated ones of its image and class."""
        widths = np.diff(annotated.start)[predicted.image]
        row_start = np.cumsum(widths) - widths
        ours, theirs = _join((predicted.image, predicted.labels), (annotated.image, annotated.labels))
        overlap = intersection_over_union(predicted.boxes[ours], annotated.boxes[theirs], protocol.box_offset)
        found = overlap >= iou_threshold
        ours, theirs, overlap = ours[found], theirs[found], overlap[found]
        if protocol.box_matching == "best":
            best = _largest_of_each(ours, overlap)
            ours, theirs = ours[best], theirs[best]
        table = np.zeros(widths.sum(), dtype=bool)
        table[row_start[ours] + theirs - annotated.start[annotated.image[theirs]]] = True
        return cls(predicted, annotated, table, row_start)

    def hits(self, candidates: _Triplets, truth: _Triplets) -> _Hits:
        rows, triplets = _join((candidates.image, candidates.predicate), (truth.image, truth.predicate))
        return _Hits(self, candidates, truth, rows, triplets)

    def __call__(self, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        """Whether predicted objects `(n,)` agree with annotated objects `(n,)` of the same images."""
        return self.table[self.row_start[ours] + theirs - self.annotated.start[self.annotated.image[theirs]]]


@dataclass(frozen=True)
class _Hits:
    """Pairs of a candidate and an annotated triplet of the same image with the same predicate, H in all."""

    agreement: _Agreement
    candidates: _Triplets
    truth: _Triplets
    rows: np.ndarray
    triplets: np.ndarray

    def by_boxes(self) -> np.ndarray:
        """Which pairs `(H,)` agree in both objects."""
        return self.agreement(*self._ends("subject")) & self.agreement(*self._ends("object"))

    def by_union_box(self, iou_threshold: float, offset: int) -> np.ndarray:
        """Which pairs `(H,)` agree in both classes and in the box around both objects."""
        predicted, annotated = self.agreement.predicted, self.agreement.annotated
        (our_subject, subject), (our_object, object_) = self._ends("subject"), self._ends("object")
        same = predicted.labels[our_subject] == annotated.labels[subject]
        same &= predicted.labels[our_object] == annotated.labels[object_]
        ours = union_boxes(predicted.boxes[our_subject[same]], predicted.boxes[our_object[same]])
        theirs = union_boxes(annotated.boxes[subject[same]], annotated.boxes[object_[same]])
        same[same] = intersection_over_union(ours, theirs, offset) >= iou_threshold
        return same

    def ranks(self, agree: np.ndarray) -> np.ndarray:
        """Place of the first candidate that hits each annotated triplet, given which pairs `(H,)` agree."""
        ranks = np.full(len(self.truth.predicate), NEVER)
        np.minimum.at(ranks, self.triplets[agree], self.candidates.place[self.rows[agree]])
        return ranks

    def _ends(self, end: str) -> tuple[np.ndarray, np.ndarray]:
        return getattr(self.candidates, end)[self.rows], getattr(self.truth, end)[self.triplets]


def _image_numbers(counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The image of each of sum(counts) things, and the first thing of each image."""
    ends = np.cumsum(np.array([0, *counts]))
    return np.repeat(np.arange(len(counts)), counts), ends


def _join(ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of equal (image, class), as two arrays of positions; the second ascends. Quick where theirs are few."""
    num_classes = max(ours[1].max(initial=0), theirs[1].max(initial=0)) + 1
    our_keys, their_keys = (image * num_classes + classes for image, classes in (ours, theirs))
    order = np.argsort(our_keys)
    sorted_keys = our_keys[order]
    first = np.searchsorted(sorted_keys, their_keys, side="left")
    counts = np.searchsorted(sorted_keys, their_keys, side="right") - first
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[np.repeat(first, counts) + within], np.repeat(np.arange(len(their_keys)), counts)


def _largest_of_each(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Position of the largest value of each group, the earliest of equal ones."""
    largest = np.full(groups.max(initial=-1) + 1, -np.inf)
    np.maximum.at(largest, groups, values)
    positions = np.flatnonzero(values == largest[groups])
    return positions[is_first(groups[positions])]


def _on_annotated_pairs(candidates: np.ndarray, reference: ImageTriplets, numbers: np.ndarray | None) -> np.ndarray:
    """The candidates on pairs that are annotated; `numbers` are the objects that stand for merged ones."""
    annotated = reference.relations if numbers is None else numbers[reference.relations[:, :2]]
    pairs = (pair_numbers(rows, len(reference.boxes)) for rows in (candidates, annotated))
    return candidates[np.isin(*pairs)]
