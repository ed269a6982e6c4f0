# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Recall of scene graph generation: R@K, ng-R@K, zR@K, mR@K, F@K and their kin, with the rules of a named protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .bootstrap import draw_counts, interval
from .image_batch import MODES, ImageBatch, read_images
from .protocols import EvaluationProtocol, resolve_protocol
from .tallies import MeanRecall, PooledRecall
from .triplet_ranks import TripletRanks, rank_triplets


_CHUNK = 64  # images that are ranked together: enough to make numpy's own cost small, few enough for its caches
_MOST_REPLICATES = 100_000  # all of them are in memory, and more would not make an interval any better
_SETTINGS = (
    *("num_predicates", "ks", "mode", "iou_threshold", "protocol", "zero_shot_triplets", "predicate_counts"),
    "num_replicates",
)


class SceneGraphRecall:
    """Recall of predicted scene graphs, accumulated over batches and processes in counters of fixed size.

    A predicted triplet hits an annotated one when subject class, predicate and object class agree and both boxes
    overlap enough. A prediction may hit several annotated triplets.

    `compute` returns, for every K:

    - `R@K`: share of an image's triplets hit by its first K predictions, averaged over images.
    - `ng-R@K`: the same without graph constraint: all predicates of every predicted pair compete.
    - `zR@K`, `ng-zR@K`: the same over the triplets in `zero_shot_triplets` only. Present only when they are given.
    - `mR@K`, `ng-mR@K`: recall per predicate, averaged over predicates; `recall_per_predicate@K` and
      `ng-recall_per_predicate@K` are the lists behind them.
    - `mR-head@K`, `mR-body@K`, `mR-tail@K`: `mR@K` over the most frequent third of the predicates, the next and the
      last. Present only when `predicate_counts` are given.
    - `F@K`, `ng-F@K`: harmonic mean of `R@K` and `mR@K`.
    - `micro-R@K`, `ng-micro-R@K`: hits of all images / annotated triplets of all images.
    - `phrase-R@K`: `R@K` when the box around subject and object must overlap enough, instead of both boxes (phrase
      detection, Lu et al., ECCV 2016).
    - `pair_accuracy@K` (not in sgdet): hits / annotated triplets over all images, of the first K predictions on pairs
      that are annotated.

    and `num_images` (averaged over), `num_images_without_relations`, `num_images_without_predictions` (though
    annotated), and the `protocol` with its `protocol_fingerprint`. A number that no image defines is nan.

    In a distributed evaluation every process fills its own metric; the metric can be pickled, so gather the objects
    and `merge` them. The result does not depend on the split:

        parts = accelerate.utils.gather_object([metric])
        results = functools.reduce(SceneGraphRecall.merge, parts).compute()

    Args:
        num_predicates: P, without background.
        ks: Numbers of predictions to look at, each at least 1.
        mode: "sgdet" (boxes, classes and relations are predicted), "sgcls" (boxes are given) or "predcls" (boxes and
            classes are given). In the last two, row i of a prediction's objects is row i of the reference's, and
            what is given is taken from the reference; `ground_objects` brings the graphs of a detector there.
        iou_threshold: Lowest overlap of two boxes that agree, in [0, 1].
        zero_shot_triplets: `(z, 3)` rows (subject class, object class, predicate) that training never shows, 0-based.
        protocol: Name in `PROTOCOLS`, or an `EvaluationProtocol`.
        predicate_counts: `(P,)` how often training shows each predicate.
        num_replicates: Bootstrap replicates behind `intervals` and `compare_recall`; 0 for none, 1,000 are enough.

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
        predicate_counts: Any = None,
        num_replicates: int = 0,
    ) -> None:
        if num_predicates < 1:
            raise ValueError(f"num_predicates must be at least 1, got {num_predicates}.")
        ks = _as_ks(ks)
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, got {mode!r}.")
        if not 0 <= iou_threshold <= 1:
            raise ValueError(f"iou_threshold must be in [0, 1], got {iou_threshold}.")
        if not 0 <= num_replicates <= _MOST_REPLICATES:
            raise ValueError(
                f"num_replicates must be at least 0 and at most {_MOST_REPLICATES}, got {num_replicates}."
            )
        self.num_predicates, self.ks, self.mode = num_predicates, ks, mode
        self.iou_threshold, self.num_replicates = iou_threshold, num_replicates
        self.zero_shot_triplets = _as_triplet_set(zero_shot_triplets, num_predicates)
        self.predicate_counts = _as_counts(predicate_counts, num_predicates)
        self.protocol = resolve_protocol(protocol)
        self.reset()

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments the metric was made with, by name."""
        return {name: getattr(self, name) for name in _SETTINGS}

    def reset(self) -> None:
        """Forgets all images."""
        num_ks, draws = len(self.ks), self.num_replicates
        zero_shot = () if self.zero_shot_triplets is None else ("zR", "ng-zR")
        pair_accuracy = () if self.mode == "sgdet" else ("pair_accuracy",)
        self.num_images_without_relations = 0
        self.num_images_without_predictions = 0
        self.images_checksum = 0
        self._means = {
            name: MeanRecall(num_ks, num_replicates=draws) for name in ("R", "ng-R", "phrase-R", *zero_shot)
        }
        self._per_predicate = {name: MeanRecall(num_ks, self.num_predicates, draws) for name in ("mR", "ng-mR")}
        self._pooled = {
            name: PooledRecall(num_ks, num_replicates=draws) for name in ("micro-R", "ng-micro-R", *pair_accuracy)
        }
        self._num_added = 0

    def add_batch(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Adds a batch of images. Nothing is added when one of them is faulty.

        Args:
            predictions: One `SceneGraph` per image, or a mapping with its fields `boxes`, `labels`, `scores`,
                `relations` (best first) and `predicate_probabilities`. Without probabilities, the relations themselves
                compete for ng-R, or the rows `unconstrained_relations` where they are given.
            references: One mapping (or `SceneGraph`) per image with `boxes` `(n, 4)` xyxy pixels, `labels` `(n,)`,
                `relations` `(r, 3)` and optionally `image_id`.

        Raises:
            ValueError: The lengths differ, or a field is missing, malformed, out of range or not finite.
        """
        self.add_images(read_images(predictions, references, self.num_predicates, self.mode, self._num_added))

    def add_images(self, images: ImageBatch) -> None:
        """Adds images that `read_images` has read in the same mode, for example for several protocols."""
        for chunk in images.chunks(_CHUNK):
            self._add_chunk(chunk)

    def merge(self, other: SceneGraphRecall) -> SceneGraphRecall:
        """Adds the images of another metric with the same settings.

        Args:
            other: For example the metric of another process.

        Returns:
            This metric.

        Raises:
            ValueError: The settings differ.
        """
        for name, value in self.settings.items():
            if value != other.settings[name]:
                raise ValueError(f"Cannot merge: `{name}` differs.")
        for name, tally in self._tallies().items():
            tally.merge(other._tallies()[name])
        for name in ("_num_added", "num_images_without_relations", "num_images_without_predictions"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.images_checksum = (self.images_checksum + other.images_checksum) % 2**64
        return self

    def compute(self) -> dict[str, float | int | str | list[float]]:
        """The metrics of all images added so far, see the class."""
        results: dict[str, Any] = {name: float(values[0]) for name, values in self.replicates().items()}
        for name, tally in self._per_predicate.items():
            prefix = name.removesuffix("mR")
            rows = self._defined(tally.compute())[0]
            results |= {
                f"{prefix}recall_per_predicate@{k}": row.tolist() for k, row in zip(self.ks, rows, strict=True)
            }
        return results | {
            "num_images": int(self._means["R"].num_images[0]),
            "num_images_without_relations": self.num_images_without_relations,
            "num_images_without_predictions": self.num_images_without_predictions,
            "protocol": self.protocol.name,
            "protocol_fingerprint": self.protocol.fingerprint,
        }

    def intervals(self, confidence: float = 0.95) -> dict[str, tuple[float, float]]:
        """The bootstrap interval over images of every number that `compute` gives for a K.

        Args:
            confidence: Share of the replicates inside, in (0, 1).

        Returns:
            Lower and upper end by name.

        Raises:
            ValueError: The metric was made without replicates.
        """
        if not self.num_replicates:
            raise ValueError("intervals need replicates: make the metric with num_replicates=1000.")
        return {name: interval(values[1:], confidence) for name, values in self.replicates().items()}

    def replicates(self) -> dict[str, np.ndarray]:
        """Every number that `compute` gives for a K as `(1 + num_replicates,)`: on the images, then on each replicate."""
        columns = {name: tally.compute()[..., 0] for name, tally in (self._means | self._pooled).items()}
        per_predicate = {name: self._defined(tally.compute()) for name, tally in self._per_predicate.items()}
        columns |= {name: _mean_of_defined(recall) for name, recall in per_predicate.items()}
        columns |= {
            f"mR-{part}": _mean_of_defined(per_predicate["mR"][..., predicates])
            for part, predicates in self._thirds().items()
        }
        columns["F"] = _harmonic_mean(columns["R"], columns["mR"])
        columns["ng-F"] = _harmonic_mean(columns["ng-R"], columns["ng-mR"])
        return {f"{name}@{k}": values[:, i] for name, values in columns.items() for i, k in enumerate(self.ks)}

    def _tallies(self) -> dict[str, MeanRecall | PooledRecall]:
        return self._means | self._per_predicate | self._pooled

    def _defined(self, recall: np.ndarray) -> np.ndarray:
        """Recall per predicate with zeros for absent predicates, if the protocol wants them and there is any image."""
        if not self.protocol.absent_predicates_count_as_zero:
            return recall
        any_image = ~np.isnan(self._means["R"].compute()[:, :1])
        return np.where(any_image, np.nan_to_num(recall), recall)

    def _thirds(self) -> Mapping[str, np.ndarray]:
        if self.predicate_counts is None:
            return {}
        return frequency_thirds(self.predicate_counts)

    def _add_chunk(self, images: ImageBatch) -> None:
        self._num_added += len(images)
        self.images_checksum = (self.images_checksum + sum(images.keys)) % 2**64
        related = images.counted(skip_without_predictions=False)
        self.num_images_without_relations += len(images) - len(related)
        self.num_images_without_predictions += sum(not len(graph.relations) for graph in related.predictions)
        images = related.counted(self.protocol.skip_images_without_predictions)
        if not len(images):
            return
        given = self.mode != "sgdet"
        ranks = rank_triplets(
            images.predictions, images.references, self.protocol, self.iou_threshold, self.ks[-1], given
        )
        self._count(ranks, draw_counts(images.keys, self.num_replicates))

    def _count(self, ranks: TripletRanks, draws: np.ndarray) -> None:
        unseen = None if self.zero_shot_triplets is None else self._is_zero_shot(ranks)
        for prefix, places in (("", ranks.constrained), ("ng-", ranks.unconstrained)):
            hits, totals = self._hits(ranks.image, places, draws.shape[1])
            self._means[f"{prefix}R"].add(hits, totals, draws)
            self._pooled[f"{prefix}micro-R"].add(hits, totals, draws)
            self._per_predicate[f"{prefix}mR"].add(*self._hits_per_predicate(ranks, places, draws.shape[1]), draws)
            if unseen is not None:
                hits, totals = self._hits(ranks.image[unseen], places[unseen], draws.shape[1])
                self._means[f"{prefix}zR"].add(hits, totals, draws)
        self._means["phrase-R"].add(*self._hits(ranks.image, ranks.phrase, draws.shape[1]), draws)
        if ranks.annotated_pair is not None:
            hits, totals = self._hits(ranks.image, ranks.annotated_pair, draws.shape[1])
            self._pooled["pair_accuracy"].add(hits, totals, draws)

    def _hits(
        self, cells: np.ndarray, places: np.ndarray, num_cells: int, num_columns: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Hits `(num_cells / num_columns, ks, num_columns)` and annotated triplets `(num_cells / num_columns, num_columns)`
        of each cell, given the cell and the place of each triplet."""
        num_ks = len(self.ks)
        first_k = np.searchsorted(self.ks, places, side="right")  # the first K that reaches the place
        counts = np.bincount(cells * (num_ks + 1) + first_k, minlength=num_cells * (num_ks + 1))
        counts = counts.reshape(-1, num_columns, num_ks + 1)
        return counts[..., :-1].cumsum(axis=-1).swapaxes(1, 2), counts.sum(axis=-1)

    def _hits_per_predicate(
        self, ranks: TripletRanks, places: np.ndarray, num_images: int
    ) -> tuple[np.ndarray, np.ndarray]:
        cells = ranks.image * self.num_predicates + ranks.predicate
        return self._hits(cells, places, num_images * self.num_predicates, self.num_predicates)

    def _is_zero_shot(self, ranks: TripletRanks) -> np.ndarray:
        rows = zip(ranks.subject_label.tolist(), ranks.object_label.tolist(), ranks.predicate.tolist(), strict=True)
        return np.fromiter((row in self.zero_shot_triplets for row in rows), dtype=bool, count=len(ranks.image))


def frequency_thirds(predicate_counts: Sequence[float]) -> dict[str, np.ndarray]:
    """The predicates of the "head", the "body" and the "tail": thirds by frequency, the most frequent first."""
    by_frequency = np.argsort(-np.array(predicate_counts), kind="stable")
    return dict(zip(("head", "body", "tail"), np.array_split(by_frequency, 3), strict=True))


def _as_ks(ks: Any) -> tuple[int, ...]:
    values = np.asarray(ks)
    if (
        values.ndim != 1
        or values.dtype.kind not in "iu"
        or not len(values)
        or values.min() < 1
        or values.max() >= 2**31
    ):
        raise ValueError(f"ks must hold whole numbers from 1 below 2**31, got {ks!r}.")
    return tuple(np.unique(values).tolist())


def _as_triplet_set(triplets: Any, num_predicates: int) -> frozenset[tuple[int, int, int]] | None:
    if triplets is None:
        return None
    rows = np.asarray(triplets)
    if not rows.size:
        return frozenset()
    if rows.ndim != 2 or rows.shape[1] != 3 or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(f"zero_shot_triplets must be integers of shape (z, 3), got {rows.dtype} {rows.shape}.")
    if rows.min() < 0 or rows[:, 2].max() >= num_predicates:
        row = rows[((rows < 0).any(axis=1) | (rows[:, 2] >= num_predicates)).argmax()].tolist()
        raise ValueError(
            f"zero_shot_triplets must be (subject class, object class, predicate), counted from 0 with {num_predicates} "
            f"predicates, got {row}."
        )
    return frozenset(map(tuple, rows.tolist()))


def _as_counts(counts: Any, num_predicates: int) -> tuple[float, ...] | None:
    if counts is None:
        return None
    values = np.asarray(counts)
    if values.shape != (num_predicates,) or not np.isfinite(values).all() or values.min() < 0:
        raise ValueError(
            f"predicate_counts must hold {num_predicates} numbers of at least 0, one per predicate, got {counts!r}."
        )
    return tuple(values.tolist())


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of the values that are not nan; nan where none is."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=-1)
    sums = np.where(defined, values, 0.0).sum(axis=-1)
    return np.divide(sums, count, out=np.full(sums.shape, np.nan), where=count > 0)


def _harmonic_mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """2ab / (a + b), 0 where both are 0, nan where one is nan."""
    return np.divide(2 * a * b, a + b, out=a + b, where=a + b > 0)
