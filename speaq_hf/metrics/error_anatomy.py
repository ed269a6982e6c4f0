# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Why annotated triplets were missed, counted over images, and explained for one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .candidates import constrained_triplets, ranked_graph
from .image_batch import ImageBatch
from .image_triplets import ImageTriplets
from .protocols import EvaluationProtocol, resolve_protocol
from .tallies import MeanRecall
from .triplet_errors import CAUSES, first_causes
from .triplet_ranks import rank_triplets


_CHUNK = 64  # images that are ranked together
_SETTINGS = ("num_predicates", "k", "iou_threshold", "protocol")
_HIT = len(CAUSES)  # the outcome of a triplet without cause


@dataclass(frozen=True)
class TripletOutcome:
    """What became of one annotated triplet.

    Args:
        relation: (subject, object, predicate); subject and object are rows of the annotated objects.
        cause: Why it was missed, one of `CAUSES`; None: it was hit.
        row: The row (subject, object, predicate) of the prediction that hit it, or the best-ranked one that connects its
            objects, if the cause is `wrong_predicate`, or that predicts it (`below_k`, `duplicate`); None otherwise.
        place: The place of the hit, 0 the best; None: it was missed.
    """

    relation: tuple[int, int, int]
    cause: str | None
    row: tuple[int, int, int] | None
    place: int | None


def explain_triplets(
    prediction: Any,
    reference: Any,
    num_predicates: int,
    protocol: str | EvaluationProtocol = "strict",
    iou_threshold: float = 0.5,
    k: int = 50,
) -> list[TripletOutcome]:
    """Says of every annotated triplet of one image whether it was hit, and if not, why; see `triplet_errors`.

    Args:
        prediction: A `SceneGraph` or a mapping, as `SceneGraphRecall.add_batch` takes it.
        reference: The annotation, likewise.
        num_predicates: P, without background.
        protocol: Name in `PROTOCOLS`, or a protocol of your own; its graph-constraint rules apply.
        iou_threshold: Lowest overlap of two boxes that agree, in [0, 1].
        k: Number of predictions that are looked at, at least 1.

    Returns:
        One outcome per annotated triplet; per distinct one, in the order of their rows, if the protocol merges them.

    Raises:
        ValueError: The protocol is unknown, or a field is missing, malformed, out of range or not finite.
    """
    graph = ImageTriplets.from_prediction(prediction, num_predicates, "Prediction")
    truth = ImageTriplets.from_reference(reference, num_predicates, "Reference")
    return outcomes_of_image(graph, truth, resolve_protocol(protocol), iou_threshold, k)


def outcomes_of_image(
    prediction: ImageTriplets, reference: ImageTriplets, protocol: EvaluationProtocol, iou_threshold: float, k: int
) -> list[TripletOutcome]:
    """What `explain_triplets` says, of arrays that have been read."""
    outcomes = _Outcomes.of([prediction], [reference], protocol, iou_threshold, k)
    rows = [None if row[0] < 0 else tuple(row) for row in outcomes.rows.tolist()]
    causes = [None if cause == _HIT else CAUSES[cause] for cause in outcomes.causes.tolist()]
    places = [None if cause else place for cause, place in zip(causes, outcomes.places.tolist(), strict=True)]
    relations = map(tuple, outcomes.relations.tolist())
    return [TripletOutcome(*fields) for fields in zip(relations, causes, rows, places, strict=True)]


class ErrorAnatomy:
    """Counts, in counters of fixed size, why annotated triplets were missed under graph constraint.

    Made for `SceneGraphEvaluator(tallies={"error_anatomy": ErrorAnatomy(...)})`; the causes are defined in
    `triplet_errors`. The gain of a cause is what R@K would gain if the triplets that were missed for it were hit: for
    every image their share of its triplets, averaged over the same images as R@K. Hence R@K and all gains add up to 1.

    Args:
        num_predicates: P, without background.
        k: Number of predictions that are looked at, at least 1.
        iou_threshold: Lowest overlap of two boxes that agree, in [0, 1].
        protocol: Name in `PROTOCOLS`, or an `EvaluationProtocol`.

    Raises:
        ValueError: An argument is out of range or unknown.
    """

    def __init__(
        self,
        num_predicates: int,
        k: int = 50,
        iou_threshold: float = 0.5,
        protocol: str | EvaluationProtocol = "strict",
    ) -> None:
        if num_predicates < 1:
            raise ValueError(f"num_predicates must be at least 1, got {num_predicates}.")
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}.")
        if not 0 <= iou_threshold <= 1:
            raise ValueError(f"iou_threshold must be in [0, 1], got {iou_threshold}.")
        self.num_predicates, self.k, self.iou_threshold = num_predicates, k, iou_threshold
        self.protocol = resolve_protocol(protocol)
        self._shares = MeanRecall(1, _HIT + 1)
        self._counts = np.zeros((num_predicates, _HIT + 1), dtype=np.int64)
        self._confusion = np.zeros((num_predicates, num_predicates), dtype=np.int64)

    def add_images(self, images: ImageBatch) -> None:
        """Adds images that `read_images` has read."""
        for chunk in images.counted(self.protocol.skip_images_without_predictions).chunks(_CHUNK):
            self._add_chunk(chunk)

    def merge(self, other: ErrorAnatomy) -> ErrorAnatomy:
        """Adds the images of another anatomy with the same settings.

        Returns:
            This anatomy.

        Raises:
            ValueError: The settings differ.
        """
        for name in _SETTINGS:
            if getattr(self, name) != getattr(other, name):
                raise ValueError(f"Cannot merge: `{name}` differs.")
        self._shares.merge(other._shares)
        self._counts += other._counts
        self._confusion += other._confusion
        return self

    def compute(self) -> dict[str, Any]:
        """What the images told, ready for JSON but for numbers that are nan.

        Returns:
            `protocol`, `protocol_fingerprint` and its `rules`, `k`, `iou_threshold`, `num_images` (averaged over), `recall`
            (R@K), `gains` (recall by cause), `counts` (annotated triplets by "hit" and cause), `counts_per_predicate`
            (the same, lists of P numbers) and `confusion` (P lists of P numbers: how often each annotated predicate was
            missed as `wrong_predicate` with each predicted one).
        """
        *gains, recall = self._shares.compute()[0, 0].tolist()
        by_outcome = dict(zip((*CAUSES, "hit"), self._counts.T.tolist(), strict=True))
        return {
            "protocol": self.protocol.name,
            "protocol_fingerprint": self.protocol.fingerprint,
            "rules": self.protocol.rules,
            "k": self.k,
            "iou_threshold": self.iou_threshold,
            "num_images": int(self._shares.num_images[0]),
            "recall": recall,
            "gains": dict(zip(CAUSES, gains, strict=True)),
            "counts": {name: sum(counts) for name, counts in by_outcome.items()},
            "counts_per_predicate": by_outcome,
            "confusion": self._confusion.tolist(),
        }

    def _add_chunk(self, images: ImageBatch) -> None:
        outcomes = _Outcomes.of(images.predictions, images.references, self.protocol, self.iou_threshold, self.k)
        per_image = np.bincount(
            outcomes.image * (_HIT + 1) + outcomes.causes, minlength=len(images) * (_HIT + 1)
        ).reshape(len(images), 1, _HIT + 1)
        totals = np.broadcast_to(per_image.sum(axis=-1), (len(images), _HIT + 1))
        self._shares.add(per_image, totals, np.zeros((0, len(images))))
        predicates = outcomes.relations[:, 2]
        np.add.at(self._counts, (predicates, outcomes.causes), 1)
        wrong = outcomes.causes == CAUSES.index("wrong_predicate")
        np.add.at(self._confusion, (predicates[wrong], outcomes.rows[wrong, 2]), 1)


@dataclass(frozen=True)
class _Outcomes:
    """What became of the T annotated triplets of several images.

    Args:
        image: `(T,)`.
        relations: `(T, 3)` rows (subject, object, predicate) of the annotation.
        places: `(T,)` from `rank_triplets`.
        causes: `(T,)` position in `CAUSES`, or `_HIT`.
        rows: `(T, 3)` row of the prediction that speaks for it, -1 where none does.
    """

    image: np.ndarray
    relations: np.ndarray
    places: np.ndarray
    causes: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(
        cls,
        predictions: Sequence[ImageTriplets],
        references: Sequence[ImageTriplets],
        protocol: EvaluationProtocol,
        iou_threshold: float,
        k: int,
    ) -> _Outcomes:
        """The outcomes of the annotated triplets of B images, T in all; arguments as of `rank_triplets`."""
        ranks = rank_triplets(predictions, references, protocol, iou_threshold, k)
        starts = np.searchsorted(ranks.image, np.arange(1, len(predictions)))
        parts = (np.split(values, starts) for values in (ranks.row, ranks.constrained))
        images = [
            _image_outcomes(prediction, reference, reference.relations[numbers], places, protocol, iou_threshold, k)
            for prediction, reference, numbers, places in zip(predictions, references, *parts, strict=True)
        ]
        relations, causes, rows = (np.concatenate(column) for column in zip(*images, strict=True))
        return cls(ranks.image, relations, ranks.constrained, causes, rows)


def _image_outcomes(
    prediction: ImageTriplets,
    reference: ImageTriplets,
    relations: np.ndarray,
    places: np.ndarray,
    protocol: EvaluationProtocol,
    iou_threshold: float,
    k: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`relations`, `causes` and `rows` of one image, given the `places` `(t,)` of the annotated `relations` `(t, 3)`."""
    graph = ranked_graph(prediction, protocol)
    causes, rows = np.full(len(places), _HIT), np.full((len(places), 3), -1)
    hit = places < k
    rows[hit] = constrained_triplets(graph, protocol, k)[places[hit]]
    if not hit.all():
        causes[~hit], speaking = first_causes(graph, reference, relations[~hit], protocol, iou_threshold, k)
        rows[~hit] = np.append(graph.relations, [[-1, -1, -1]], axis=0)[speaking]  # the last row for none
    return relations, causes, rows
