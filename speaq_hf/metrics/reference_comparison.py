# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""One scene graph against the annotation of its image, in words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import NamedTuple

from ..models.speaq.scene_graph_merge_speaq import with_common_names
from ..scene_graph import SceneGraph, Triplet
from .error_anatomy import explain_triplets
from .pair_matching import find_hits
from .protocols import PROTOCOLS


# Of a graph that somebody looks at every relation counts, also the second one of a pair.
_EVERY_RELATION = dataclasses.replace(PROTOCOLS["strict"], name="every relation", one_predicate_per_pair=False)


class MissedTriplet(NamedTuple):
    """An annotated relation that a graph does not have.

    `cause` is one of `triplet_errors.CAUSES`; `instead` the predicate that the graph has between the two, if it is
    "wrong_predicate".
    """

    triplet: Triplet
    cause: str
    instead: str | None = None

    def __str__(self) -> str:
        return f"{_words(self.triplet)}: {self.cause.replace('_', ' ')}{f' ({self.instead})' if self.instead else ''}"


@dataclass(frozen=True)
class ReferenceComparison:
    """What a scene graph and the annotation of its image have in common; `print` says it in words.

    Annotations are incomplete: an unconfirmed relation may be right.

    Args:
        found: The annotated relations that the graph has, in the order of the annotation.
        missed: Those it has not, likewise, each once, and why.
        confirmed: The relations of the graph that are annotated, best first.
        unconfirmed: Those that are not.
        iou_threshold: Lowest overlap of two boxes that agree.
    """

    found: Sequence[Triplet]
    missed: Sequence[MissedTriplet]
    confirmed: Sequence[Triplet]
    unconfirmed: Sequence[Triplet]
    iou_threshold: float

    @property
    def recall(self) -> float:
        """Share of the annotated relations that the graph has; nan if there are none."""
        return _share(len(self.found), len(self.missed))

    @property
    def precision(self) -> float:
        """Share of the graph's relations that are annotated; nan if there are none."""
        return _share(len(self.confirmed), len(self.unconfirmed))

    def __str__(self) -> str:
        annotated, predicted = len(self.found) + len(self.missed), len(self.confirmed) + len(self.unconfirmed)
        return "\n".join(
            [
                f"{len(self.found)} of {annotated} annotated relations found, {len(self.confirmed)} of {predicted} "
                f"predicted ones annotated (boxes agree from IoU {self.iou_threshold:g} on)",
                *(f"found          {_words(triplet)}" for triplet in self.found),
                *(f"missed         {missed}" for missed in self.missed),
                *(f"not annotated  {triplet}" for triplet in self.unconfirmed),
            ]
        )


def compare_with_reference(
    predicted: SceneGraph, reference: SceneGraph, iou_threshold: float = 0.5
) -> ReferenceComparison:
    """Says which annotated relations a graph has and why it misses the others.

    Every relation of the graph counts, `predicted.top(20)` to look at the best only. Relations agree as in the evaluation:
    predicate, both classes and both boxes.

    Args:
        predicted: The graph, best relations first.
        reference: The annotation, see `SceneGraph.from_annotation`. Classes and predicates are compared by name.
        iou_threshold: Lowest overlap of two boxes that agree, in [0, 1].

    Returns:
        The comparison.

    Raises:
        ValueError: The images differ in size, or the threshold is out of range.

    Example:
        >>> scene = {
        ...     "boxes": [[10, 0, 40, 60], [0, 30, 70, 90], [15, 0, 30, 10]],
        ...     "labels": [0, 1, 2],
        ...     "image_size": (90, 100),
        ...     "id2label": {0: "man", 1: "horse", 2: "hat"},
        ...     "id2predicate": {0: "riding", 1: "wearing", 2: "near"},
        ... }
        >>> truth = SceneGraph.from_annotation(relations=[[0, 1, 0], [0, 2, 1]], **scene)
        >>> graph = SceneGraph.from_annotation(relations=[[0, 1, 0], [0, 2, 2]], **scene)
        >>> print(compare_with_reference(graph, truth))
        1 of 2 annotated relations found, 1 of 2 predicted ones annotated (boxes agree from IoU 0.5 on)
        found          man riding horse
        missed         man wearing hat: wrong predicate (near)
        not annotated  man near hat (1.00)
    """
    if predicted.image_size != reference.image_size:
        raise ValueError(
            f"Both graphs must belong to an image of one size (height, width), got {predicted.image_size} and "
            f"{reference.image_size}."
        )
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"iou_threshold must be in [0, 1], got {iou_threshold}.")
    hits = find_hits(predicted, reference, iou_threshold)
    found, missed = _found_and_missed(*with_common_names(predicted, reference), iou_threshold)
    is_confirmed = hits.any(axis=1)
    return ReferenceComparison(
        found=found,
        missed=missed,
        confirmed=list(compress(predicted.triplets(), is_confirmed)),
        unconfirmed=list(compress(predicted.triplets(), ~is_confirmed)),
        iou_threshold=iou_threshold,
    )


def _found_and_missed(
    predicted: SceneGraph, reference: SceneGraph, iou_threshold: float
) -> tuple[list[Triplet], list[MissedTriplet]]:
    """Of two graphs with one vocabulary."""
    outcomes = explain_triplets(
        predicted, reference, len(reference.id2predicate), _EVERY_RELATION, iou_threshold, k=max(len(predicted), 1)
    )
    triplets = dict(zip(map(tuple, reference.relations.tolist()), reference.triplets(), strict=True))
    found = [triplets[outcome.relation] for outcome in outcomes if outcome.cause is None]
    missed = [
        MissedTriplet(
            triplets[outcome.relation],
            outcome.cause,
            predicted.id2predicate[outcome.row[2]] if outcome.cause == "wrong_predicate" else None,
        )
        for outcome in outcomes
        if outcome.cause is not None
    ]
    return found, missed


def _words(triplet: Triplet) -> str:
    return f"{triplet.subject} {triplet.predicate} {triplet.object}"


def _share(part: int, rest: int) -> float:
    return part / (part + rest) if part + rest else math.nan
