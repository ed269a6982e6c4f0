# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Recall of scene graphs as loops over images, predictions and annotations: slow, and short enough to be checked by reading.

What `SceneGraphRecall` computes is defined by `EvaluationProtocol`; this is a second program for the same definition. The
tests demand equal numbers of both, the benchmark compares their speed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speaq_hf.metrics import EvaluationProtocol
from speaq_hf.metrics.protocols import resolve_protocol


Box = tuple[float, float, float, float]
Triplet = tuple[int, int, int]


@dataclass
class Image:
    """One image: `objects` and `annotated_objects` are (class, box), `rows` (subject, object, predicate), best first.
    `objects_given` says whether the first are the second, as in sgcls and predcls."""

    objects: list[tuple[int, Box]]
    scores: list[np.float32]
    rows: list[Triplet]
    probabilities: list[list[np.float32]] | None
    relation_scores: list[np.float32] | None
    unconstrained_rows: list[Triplet] | None
    annotated_objects: list[tuple[int, Box]]
    annotated_rows: list[Triplet]
    objects_given: bool


@dataclass
class Judged:
    """An annotated triplet, and its place in each list of predictions, from 0; infinite if no prediction hits it."""

    classes: Triplet
    places: dict[str, float]

    @property
    def predicate(self) -> int:
        """Its predicate."""
        return self.classes[2]


def plain_recall(
    predictions: Sequence[Mapping[str, Any]],
    references: Sequence[Mapping[str, Any]],
    num_predicates: int,
    ks: Sequence[int] = (20, 50, 100),
    mode: str = "sgdet",
    iou_threshold: float = 0.5,
    zero_shot_triplets: Any = None,
    protocol: str | EvaluationProtocol = "speaq",
    predicate_counts: Sequence[float] | None = None,
    weights: Sequence[float] | None = None,
) -> dict[str, Any]:
    """What `SceneGraphRecall` gives for the same arguments, without the counts and the name of the protocol.

    Args:
        predictions: See `SceneGraphRecall.add_batch`, mappings only.
        references: Likewise.
        num_predicates: See `SceneGraphRecall`, like the others.
        ks: Numbers of predictions to look at.
        mode: What is given.
        iou_threshold: Lowest overlap of boxes that agree.
        zero_shot_triplets: Classes of subject and object, and predicate.
        protocol: The rules.
        predicate_counts: Frequencies in training.
        weights: How often each image counts; once if None. Of a bootstrap replicate, its draws.

    Returns:
        The numbers by name.
    """
    protocol = resolve_protocol(protocol)
    weights = [1] * len(predictions) if weights is None else weights
    judged, counts = [], []
    for prediction, reference, weight in zip(predictions, references, weights, strict=True):
        image = read_image(prediction, reference, mode)
        skipped = protocol.skip_images_without_predictions and not image.rows
        if image.annotated_rows and not skipped:
            judged.append(judge_image(image, num_predicates, max(ks), iou_threshold, protocol))
            counts.append(weight)
    unseen = None if zero_shot_triplets is None else {tuple(map(int, row)) for row in zero_shot_triplets}
    results = {}
    for k in ks:
        for prefix in ("", "ng-"):
            shares = [share([t.places[prefix] < k for t in triplets]) for triplets in judged]
            results[f"{prefix}R@{k}"] = weighted_mean(shares, counts)
            results[f"{prefix}micro-R@{k}"] = micro(judged, counts, prefix, k)
            results |= _mean_recall(judged, counts, num_predicates, prefix, k, protocol, predicate_counts)
            results[f"{prefix}F@{k}"] = harmonic_mean(results[f"{prefix}R@{k}"], results[f"{prefix}mR@{k}"])
            if unseen is not None:
                shares = [share([t.places[prefix] < k for t in ts if t.classes in unseen]) for ts in judged]
                results[f"{prefix}zR@{k}"] = weighted_mean(shares, counts)
        shares = [share([t.places["phrase-"] < k for t in triplets]) for triplets in judged]
        results[f"phrase-R@{k}"] = weighted_mean(shares, counts)
        if mode != "sgdet":
            results[f"pair_accuracy@{k}"] = micro(judged, counts, "annotated pairs", k)
    return results


def _mean_recall(
    judged: list[list[Judged]],
    counts: list[float],
    num_predicates: int,
    prefix: str,
    k: int,
    protocol: EvaluationProtocol,
    predicate_counts: Sequence[float] | None,
) -> dict[str, Any]:
    recalls = []
    for predicate in range(num_predicates):
        shares = [share([t.places[prefix] < k for t in ts if t.predicate == predicate]) for ts in judged]
        recall = weighted_mean(shares, counts)
        if math.isnan(recall) and any(counts) and protocol.absent_predicates_count_as_zero:
            recall = 0.0
        recalls.append(recall)
    results = {f"{prefix}recall_per_predicate@{k}": recalls, f"{prefix}mR@{k}": mean_of_defined(recalls)}
    if predicate_counts is not None and not prefix:
        for part, predicates in thirds(predicate_counts).items():
            results[f"mR-{part}@{k}"] = mean_of_defined([recalls[predicate] for predicate in predicates])
    return results


# One image.


def read_image(prediction: Mapping[str, Any], reference: Mapping[str, Any], mode: str) -> Image:
    """Both graphs as Python numbers, with what the mode takes from the annotation."""
    given = {"sgdet": (), "sgcls": ("boxes",), "predcls": ("boxes", "labels")}[mode]
    boxes, labels = (reference[name] if name in given else prediction[name] for name in ("boxes", "labels"))
    annotated_labels, annotated_boxes = reference["labels"], reference["boxes"]
    scores = [1.0] * len(annotated_boxes) if mode == "predcls" else prediction["scores"]
    return Image(
        objects=_objects(labels, boxes),
        scores=[np.float32(score) for score in scores],
        rows=_triplets(prediction["relations"]),
        probabilities=_float32_rows(prediction.get("predicate_probabilities")),
        relation_scores=_float32(prediction.get("relation_scores")),
        unconstrained_rows=_triplets(prediction.get("unconstrained_relations")),
        annotated_objects=_objects(annotated_labels, annotated_boxes),
        annotated_rows=_triplets(reference["relations"]),
        objects_given=mode != "sgdet",
    )


def _objects(labels: Any, boxes: Any) -> list[tuple[int, Box]]:
    return [(int(label), tuple(map(float, box))) for label, box in zip(labels, boxes, strict=True)]


def _triplets(rows: Any) -> list[Triplet] | None:
    return None if rows is None else [tuple(map(int, row)) for row in rows]


def _float32(values: Any) -> list[np.float32] | None:
    return None if values is None else [np.float32(value) for value in values]


def _float32_rows(rows: Any) -> list[list[np.float32]] | None:
    return None if rows is None else [[np.float32(value) for value in row] for row in rows]


def judge_image(
    image: Image, num_predicates: int, limit: int, iou_threshold: float, protocol: EvaluationProtocol
) -> list[Judged]:
    """The annotated triplets of an image, with their places among its predictions."""
    if protocol.rank_by_score and image.relation_scores is not None:
        sort_rows(image)
    if protocol.merge_identical_objects:
        merge_objects(image)
    annotated = image.annotated_rows
    if protocol.merge_identical_annotations:
        annotated = list(dict.fromkeys(annotated))
    constrained = constrained_rows(image, protocol)
    lists = {"": constrained, "ng-": unconstrained_rows(image, num_predicates, limit, protocol)}
    if image.objects_given:
        pairs = {row[:2] for row in (merged(image, annotated) if protocol.merge_identical_objects else annotated)}
        lists["annotated pairs"] = [row for row in constrained if row[:2] in pairs]
    agree = Agreement(image, iou_threshold, protocol)
    judged = []
    for truth in annotated:
        places = {name: place(rows, truth, agree.boxes) for name, rows in lists.items()}
        places["phrase-"] = place(constrained, truth, agree.union_box)
        subject, object_, predicate = truth
        classes = (image.annotated_objects[subject][0], image.annotated_objects[object_][0], predicate)
        judged.append(Judged(classes, places))
    return judged


def sort_rows(image: Image) -> None:
    """Puts rows of higher scores first; rows of equal scores keep their order."""
    order = sorted(range(len(image.rows)), key=lambda i: -image.relation_scores[i])
    image.rows = [image.rows[i] for i in order]
    if image.probabilities is not None:
        image.probabilities = [image.probabilities[i] for i in order]


def merge_objects(image: Image) -> None:
    """Lets all rows speak of the first of identical objects, which gets the highest of their scores."""
    scores = list(zip(image.objects, image.scores, strict=True))
    image.scores = [max(score for other, score in scores if other == one) for one in image.objects]
    image.rows = merged(image, image.rows)
    if image.unconstrained_rows is not None:
        image.unconstrained_rows = merged(image, image.unconstrained_rows)


def merged(image: Image, rows: list[Triplet]) -> list[Triplet]:
    """Rows that speak of the first of identical objects."""
    first = [image.objects.index(one) for one in image.objects]
    return [(first[subject], first[object_], predicate) for subject, object_, predicate in rows]


def constrained_rows(image: Image, protocol: EvaluationProtocol) -> list[Triplet]:
    """What competes under graph constraint."""
    rows = image.rows
    if protocol.merge_identical_predictions:
        rows = list(dict.fromkeys(rows))
    if protocol.one_predicate_per_pair:
        first_of_pair: dict[tuple[int, int], Triplet] = {}
        for row in rows:
            first_of_pair.setdefault(row[:2], row)
        rows = list(first_of_pair.values())
    return rows


def unconstrained_rows(image: Image, num_predicates: int, limit: int, protocol: EvaluationProtocol) -> list[Triplet]:
    """What competes without graph constraint."""
    rows = image.unconstrained_rows
    if rows is None and image.probabilities is None:
        rows = image.rows
    if rows is None:
        rows = scored_combinations(image, num_predicates, protocol)
    elif protocol.merge_identical_predictions:
        rows = list(dict.fromkeys(rows))
    return rows[: min(limit, protocol.no_graph_constraint_limit or limit)]


def scored_combinations(image: Image, num_predicates: int, protocol: EvaluationProtocol) -> list[Triplet]:
    """Every predicate of every row, best first."""
    combinations = []  # (-score, row, predicate, triplet)
    for i, (subject, object_, _) in enumerate(image.rows):
        for p in range(num_predicates):
            score = image.scores[subject] * image.scores[object_] * image.probabilities[i][p]
            combinations.append((-score, i, p, (subject, object_, p)))
    if protocol.merge_identical_predictions:
        combinations = merged_combinations(combinations)
    return [triplet for *_, triplet in sorted(combinations)]


def merged_combinations(combinations: list[tuple[float, int, int, Triplet]]) -> list[tuple[float, int, int, Triplet]]:
    """The best score of each triplet, at the first row of its pair."""
    best: dict[Triplet, tuple[float, int, int, Triplet]] = {}
    for score, i, p, triplet in combinations:
        old_score, row, *_ = best.get(triplet, (score, i))
        best[triplet] = (min(score, old_score), row, p, triplet)
    return list(best.values())


class Agreement:
    """Whether predicted and annotated rows of an image agree."""

    def __init__(self, image: Image, iou_threshold: float, protocol: EvaluationProtocol) -> None:
        self.image, self.iou_threshold, self.protocol = image, iou_threshold, protocol

    def boxes(self, row: Triplet, truth: Triplet) -> bool:
        """Both objects agree in class and box."""
        return self._objects(row[0], truth[0]) and self._objects(row[1], truth[1])

    def union_box(self, row: Triplet, truth: Triplet) -> bool:
        """Both objects agree in class, and the boxes around both agree."""
        (label, box), (other_label, other_box) = self.image.objects[row[0]], self.image.objects[row[1]]
        (true_label, true_box), (other_true_label, other_true_box) = (
            self.image.annotated_objects[i] for i in truth[:2]
        )
        if (label, other_label) != (true_label, other_true_label):
            return False
        return self._overlap(union(box, other_box), union(true_box, other_true_box)) >= self.iou_threshold

    def _objects(self, ours: int, theirs: int) -> bool:
        overlap = self._overlap_of_objects(ours, theirs)
        if self.protocol.box_matching == "best":
            overlaps = [self._overlap_of_objects(ours, other) for other in range(len(self.image.annotated_objects))]
            if overlaps.index(max(overlaps)) != theirs:
                return False
        return overlap >= self.iou_threshold

    def _overlap_of_objects(self, ours: int, theirs: int) -> float:
        """-1 for different classes."""
        (label, box), (annotated_label, annotated_box) = self.image.objects[ours], self.image.annotated_objects[theirs]
        return self._overlap(box, annotated_box) if label == annotated_label else -1.0

    def _overlap(self, a: Box, b: Box) -> float:
        offset = self.protocol.box_offset
        intersection = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])), offset)
        both = area(a, offset) + area(b, offset) - intersection
        return intersection / both if both > 0 else 0.0


def area(box: Box, offset: int) -> float:
    """Pixels of a box, 0 if its sides have crossed."""
    return max(box[2] - box[0] + offset, 0) * max(box[3] - box[1] + offset, 0)


def union(a: Box, b: Box) -> Box:
    """The box around two boxes."""
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def place(rows: list[Triplet], truth: Triplet, agree: Callable[[Triplet, Triplet], bool]) -> float:
    """Place of the first row that hits an annotated one."""
    for i, row in enumerate(rows):
        if row[2] == truth[2] and agree(row, truth):
            return i
    return math.inf


# Many images. Numbers that are not defined are nan.


def share(hit: list[bool]) -> float:
    """Share of the triplets that are hit."""
    return sum(hit) / len(hit) if hit else math.nan


def mean_of_defined(values: list[float]) -> float:
    """Mean of the numbers that are defined."""
    return weighted_mean(values, [1] * len(values))


def weighted_mean(values: list[float], weights: list[float]) -> float:
    """Mean of the numbers that are defined."""
    defined = [(value, weight) for value, weight in zip(values, weights, strict=True) if not math.isnan(value)]
    total = sum(weight for _, weight in defined)
    return math.fsum(value * weight for value, weight in defined) / total if total else math.nan


def micro(judged: list[list[Judged]], weights: list[float], name: str, k: int) -> float:
    """Hits of all images / annotated triplets of all images."""
    hits = sum(w * sum(t.places[name] < k for t in triplets) for triplets, w in zip(judged, weights, strict=True))
    total = sum(w * len(triplets) for triplets, w in zip(judged, weights, strict=True))
    return hits / total if total else math.nan


def harmonic_mean(a: float, b: float) -> float:
    """2ab / (a + b)."""
    return 0.0 if a == b == 0 else 2 * a * b / (a + b)


def thirds(counts: Sequence[float]) -> dict[str, list[int]]:
    """Predicates by frequency in three parts, the earlier ones larger by one where three does not divide them."""
    by_frequency = sorted(range(len(counts)), key=lambda predicate: -counts[predicate])
    parts = {}
    for i, name in enumerate(("head", "body", "tail")):
        size = len(counts) // 3 + (i < len(counts) % 3)
        parts[name], by_frequency = by_frequency[:size], by_frequency[size:]
    return parts
