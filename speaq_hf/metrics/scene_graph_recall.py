# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Recall of scene graph generation: R@K, ng-R@K, zR@K, mR@K and F@K, with the rules of a named protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .triplet_matching import ImageTriplets, best_unconstrained, first_hit_ranks, match_pairs


# What each mode takes from the reference.
_GIVEN_FIELDS = {"sgdet": (), "sgcls": ("boxes",), "predcls": ("boxes", "labels", "scores")}
MODES = tuple(_GIVEN_FIELDS)


@dataclass(frozen=True)
class EvaluationProtocol:
    """The rules in which published evaluations of scene graphs differ.

    Args:
        name: Name it is chosen by.
        skip_images_without_predictions: Leave such images out of every average; otherwise they count as 0.
        absent_predicates_count_as_zero: In mR@K, a predicate that no image has counts as 0; otherwise it is left out.
        no_graph_constraint_limit: Number of (pair, predicate) combinations that ng-R looks at.
    """

    name: str
    skip_images_without_predictions: bool
    absent_predicates_count_as_zero: bool
    no_graph_constraint_limit: int


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        # The evaluation published with SpeaQ (Kim et al., CVPR 2024), which descends from Tang et al. (CVPR 2020).
        EvaluationProtocol(
            name="speaq",
            skip_images_without_predictions=True,
            absent_predicates_count_as_zero=True,
            no_graph_constraint_limit=100,
        ),
    )
}


class MeanRecall:
    """Averages hits / total over images, for several values of K and several columns at once.

    Only integers are kept, the hits of all images that share a total: unlike a sum of fractions they do not depend on
    the order of the images or on how they are split over processes.

    Args:
        num_ks: Number of values of K.
        num_columns: Number of columns (1, or one per predicate).
    """

    def __init__(self, num_ks: int, num_columns: int = 1) -> None:
        self.num_images = np.zeros(num_columns, dtype=np.int64)
        self._hits_by_total: dict[int, np.ndarray] = {}
        self._shape = (num_ks, num_columns)

    def add(self, hits: np.ndarray, totals: np.ndarray) -> None:
        """Adds one image.

        Args:
            hits: `(num_ks, num_columns)` annotated triplets that were hit.
            totals: `(num_columns,)` annotated triplets; a column with 0 does not see this image.
        """
        for total in np.unique(totals[totals > 0]).tolist():
            self._bucket(total)[...] += np.where(totals == total, hits, 0)
        self.num_images += totals > 0

    def merge(self, other: MeanRecall) -> None:
        """Adds the images of another average."""
        for total, hits in other._hits_by_total.items():
            self._bucket(total)[...] += hits
        self.num_images += other.num_images

    def compute(self) -> np.ndarray:
        """The averages `(num_ks, num_columns)`; nan in a column that no image has."""
        sums = np.zeros(self._shape)
        for total in sorted(self._hits_by_total):
            sums += self._hits_by_total[total] / total
        seen = self.num_images > 0
        return np.divide(sums, self.num_images, out=np.full(self._shape, np.nan), where=seen[None, :])

    def _bucket(self, total: int) -> np.ndarray:
        return self._hits_by_total.setdefault(total, np.zeros(self._shape, dtype=np.int64))


class SceneGraphRecall:
    """Recall of predicted scene graphs, accumulated over batches and processes.

    A predicted triplet hits an annotated one when subject class, predicate and object class agree and both boxes
    overlap enough. A prediction may hit several annotated triplets; an annotated triplet counts once per row, so
    duplicate rows each count.

    `compute` returns, for every K:

    - `R@K`: share of an image's triplets hit by its first K predictions, averaged over images.
    - `ng-R@K`: the same without graph constraint: all predicates of every predicted pair compete.
    - `zR@K`: `R@K` over the triplets in `zero_shot_triplets` only. Present only when they are given.
    - `mR@K`: recall per predicate, averaged over predicates; `recall_per_predicate@K` is the list behind it.
    - `F@K`: harmonic mean of `R@K` and `mR@K`.
    - `pair_accuracy@K` (not in sgdet): hits / annotated triplets over all images, of the first K predictions on pairs
      that are annotated.

    and `num_images` (averaged over), `num_images_without_relations` and `num_images_without_predictions` (left out by
    the "speaq" protocol, though annotated). A number that no image defines is nan.

    In a distributed evaluation every process fills its own metric; the metric can be pickled, so gather the objects
    and `merge` them. The result does not depend on the split:

        parts = accelerate.utils.gather_object([metric])
        results = functools.reduce(SceneGraphRecall.merge, parts).compute()

    Args:
        num_predicates: P, without background.
        ks: Numbers of predictions to look at, each at least 1.
        mode: "sgdet" (boxes, classes and relations are predicted), "sgcls" (boxes are given) or "predcls" (boxes and
            classes are given). In the last two, row i of a prediction's objects is row i of the reference's, and
            what is given is taken from the reference.
        iou_threshold: Lowest overlap of two boxes that agree, in [0, 1].
        zero_shot_triplets: `(z, 3)` rows (subject class, object class, predicate) that training never shows, 0-based.
        protocol: Name in `PROTOCOLS`, or an `EvaluationProtocol`.

    Raises:
        ValueError: An argument is out of range or unknown.
    """

    def __init__(
        self,
        num_predicates: int,
        ks: Sequence[int] = (20, 50, 100),
        mode: str = "sgdet",
        iou_threshold: float = 0.5,
        zero_shot_triplets: Any = None,
        protocol: str | EvaluationProtocol = "speaq",
    ) -> None:
        if num_predicates < 1:
            raise ValueError(f"num_predicates must be at least 1, got {num_predicates}.")
        if not ks or min(ks) < 1:
            raise ValueError(f"ks must hold numbers of at least 1, got {tuple(ks)}.")
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, got {mode!r}.")
        if not 0 <= iou_threshold <= 1:
            raise ValueError(f"iou_threshold must be in [0, 1], got {iou_threshold}.")
        self.num_predicates, self.ks, self.mode = num_predicates, tuple(sorted(set(map(int, ks)))), mode
        self.iou_threshold = iou_threshold
        self.zero_shot_triplets = _as_triplet_set(zero_shot_triplets)
        self.protocol = _resolve_protocol(protocol)
        self.reset()

    def reset(self) -> None:
        """Forgets all images."""
        num_ks = len(self.ks)
        self.num_images_without_relations = 0
        self.num_images_without_predictions = 0
        self._averages = {"R": MeanRecall(num_ks), "ng-R": MeanRecall(num_ks)}
        if self.zero_shot_triplets is not None:
            self._averages["zR"] = MeanRecall(num_ks)
        self._per_predicate = MeanRecall(num_ks, self.num_predicates)
        self._annotated_pair_hits = np.zeros(num_ks, dtype=np.int64)
        self._num_triplets = 0
        self._num_added = 0

    def add_batch(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Adds a batch of images. Nothing is added when one of them is faulty.

        Args:
            predictions: One `SceneGraph` per image, or a mapping with its fields `boxes`, `labels`, `scores`,
                `relations` (best first) and `predicate_probabilities`.
            references: One mapping (or `SceneGraph`) per image with `boxes` `(n, 4)` xyxy pixels, `labels` `(n,)` and
                `relations` `(r, 3)`.

        Raises:
            ValueError: The lengths differ, or a field is missing, malformed, out of range or not finite.
        """
        if len(predictions) != len(references):
            raise ValueError(f"{len(predictions)} predictions do not fit {len(references)} references.")
        images = [
            self._read_image(prediction, reference, self._num_added + i)
            for i, (prediction, reference) in enumerate(zip(predictions, references, strict=True))
        ]
        for prediction, reference in images:
            self._add_image(prediction, reference)
        self._num_added += len(images)

    def merge(self, other: SceneGraphRecall) -> SceneGraphRecall:
        """Adds the images of another metric with the same settings.

        Args:
            other: For example the metric of another process.

        Returns:
            This metric.

        Raises:
            ValueError: The settings differ.
        """
        for name in ("num_predicates", "ks", "mode", "iou_threshold", "protocol", "zero_shot_triplets"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(f"Cannot merge: `{name}` differs.")
        for name, average in self._averages.items():
            average.merge(other._averages[name])
        self._per_predicate.merge(other._per_predicate)
        self._annotated_pair_hits += other._annotated_pair_hits
        for name in ("_num_triplets", "_num_added", "num_images_without_relations", "num_images_without_predictions"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    def compute(self) -> dict[str, float | int | list[float]]:
        """The metrics of all images added so far, see the class."""
        columns = {name: average.compute()[:, 0] for name, average in self._averages.items()}
        per_predicate = self._recall_per_predicate()
        columns["mR"] = _mean_of_defined(per_predicate)
        columns["F"] = _harmonic_mean(columns["R"], columns["mR"])
        if self.mode != "sgdet":
            columns["pair_accuracy"] = self._annotated_pair_hits / (self._num_triplets or np.nan)
        results = {f"{name}@{k}": float(v) for name, col in columns.items() for k, v in zip(self.ks, col, strict=True)}
        results |= {f"recall_per_predicate@{k}": row.tolist() for k, row in zip(self.ks, per_predicate, strict=True)}
        return results | {
            "num_images": int(self._averages["R"].num_images[0]),
            "num_images_without_relations": self.num_images_without_relations,
            "num_images_without_predictions": self.num_images_without_predictions,
        }

    def _recall_per_predicate(self) -> np.ndarray:
        recall = self._per_predicate.compute()  # (ks, P)
        any_image = self._averages["R"].num_images[0] > 0
        return np.nan_to_num(recall) if self.protocol.absent_predicates_count_as_zero and any_image else recall

    def _read_image(self, prediction: Any, reference: Any, index: int) -> tuple[ImageTriplets, ImageTriplets]:
        truth = ImageTriplets.from_reference(reference, self.num_predicates, f"Reference of image {index}")
        where = f"Prediction of image {index}"
        given = {name: getattr(truth, name) for name in _GIVEN_FIELDS[self.mode]}
        if isinstance(prediction, Mapping):
            prediction = {**given, **prediction}  # what is given may be missing
        graph = ImageTriplets.from_prediction(prediction, self.num_predicates, where)
        if given and len(graph.boxes) != len(truth.boxes):
            raise ValueError(
                f"{where}: mode {self.mode!r} needs the {len(truth.boxes)} objects of the reference in its order, "
                f"got {len(graph.boxes)}."
            )
        return dataclasses.replace(graph, **given), truth

    def _add_image(self, prediction: ImageTriplets, reference: ImageTriplets) -> None:
        if len(reference.relations) == 0:
            self.num_images_without_relations += 1
            return
        if len(prediction.relations) == 0:
            self.num_images_without_predictions += 1
            if self.protocol.skip_images_without_predictions:
                return
        pairs = match_pairs(prediction, reference, self.iou_threshold)  # (k, r)
        hits = pairs & (prediction.relations[:, 2][:, None] == reference.relations[:, 2][None, :])
        recalled = self._recalled(hits)  # (ks, r)
        self._add_recall("R", recalled)
        self._add_recall("ng-R", self._recalled(self._unconstrained_hits(prediction, reference, pairs)))
        if self.zero_shot_triplets is not None:
            self._add_recall("zR", recalled[:, self._is_zero_shot(reference)])
        self._add_recall_per_predicate(recalled, reference.relations[:, 2])
        if self.mode != "sgdet":
            self._add_pair_accuracy(hits, prediction, reference)

    def _recalled(self, hits: np.ndarray) -> np.ndarray:
        """Whether each annotated triplet is among the first K: `(k, r)` hits to `(ks, r)`."""
        return first_hit_ranks(hits)[None, :] < np.array(self.ks)[:, None]

    def _unconstrained_hits(
        self, prediction: ImageTriplets, reference: ImageTriplets, pairs: np.ndarray
    ) -> np.ndarray:
        rows, predicates = best_unconstrained(prediction, self.protocol.no_graph_constraint_limit)
        return pairs[rows] & (predicates[:, None] == reference.relations[:, 2][None, :])

    def _is_zero_shot(self, reference: ImageTriplets) -> np.ndarray:
        classes = reference.labels[reference.relations[:, :2]]  # (r, 2)
        triplets = np.column_stack([classes, reference.relations[:, 2]]).tolist()
        return np.array([tuple(triplet) in self.zero_shot_triplets for triplet in triplets], dtype=bool)

    def _add_recall(self, name: str, recalled: np.ndarray) -> None:
        self._averages[name].add(recalled.sum(axis=1, keepdims=True), np.array([recalled.shape[1]]))

    def _add_recall_per_predicate(self, recalled: np.ndarray, predicates: np.ndarray) -> None:
        one_hot = predicates[:, None] == np.arange(self.num_predicates)  # (r, P)
        self._per_predicate.add(recalled.astype(np.int64) @ one_hot.astype(np.int64), one_hot.sum(axis=0))

    def _add_pair_accuracy(self, hits: np.ndarray, prediction: ImageTriplets, reference: ImageTriplets) -> None:
        same_pair = prediction.relations[:, None, :2] == reference.relations[None, :, :2]  # (k, r, 2)
        annotated = same_pair.all(axis=-1).any(axis=1)
        self._annotated_pair_hits += self._recalled(hits[annotated]).sum(axis=1)
        self._num_triplets += len(reference.relations)


def _resolve_protocol(protocol: str | EvaluationProtocol) -> EvaluationProtocol:
    if isinstance(protocol, EvaluationProtocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {sorted(PROTOCOLS)}, got {protocol!r}.")
    return PROTOCOLS[protocol]


def _as_triplet_set(triplets: Any) -> frozenset[tuple[int, int, int]] | None:
    if triplets is None:
        return None
    rows = np.asarray(triplets)
    if rows.size and (rows.ndim != 2 or rows.shape[1] != 3 or not np.issubdtype(rows.dtype, np.integer)):
        raise ValueError(f"zero_shot_triplets must be integers of shape (z, 3), got {rows.dtype} {rows.shape}.")
    return frozenset(map(tuple, rows.tolist()))


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of the values that are not nan; nan where none is."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=-1)
    return np.divide(
        np.where(defined, values, 0.0).sum(axis=-1), count, out=np.full(len(count), np.nan), where=count > 0
    )


def _harmonic_mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """2ab / (a + b), 0 where both are 0, nan where one is nan."""
    return np.divide(2 * a * b, a + b, out=a + b, where=a + b > 0)
