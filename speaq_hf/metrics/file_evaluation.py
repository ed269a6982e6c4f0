# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Judging files of predictions: one pass over each file, for all protocols at once."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..json_files import finite_or_none
from ..predictions import PredictedImage, read_predictions
from .box_overlap import intersection_over_union
from .comparison import Difference, compare_recall
from .ground_truth import GroundTruth
from .image_batch import GIVEN_FIELDS
from .scene_graph_evaluator import RecallSettings, SceneGraphEvaluator


logger = logging.getLogger(__name__)

_BATCH = 64  # images that are evaluated together
_GIVEN_OVERLAP = 0.5  # of a written box with the given one, so that rounding and other conventions of pixels pass


@dataclass(frozen=True)
class FileEvaluation:
    """What became of a file.

    Args:
        name: The file.
        evaluator: Holds its images and those that it lacks.
        num_missing_images: Annotated images that the file lacks; they count as images without predictions.
        num_unknown_images: Images of the file that the ground truth lacks; they were skipped.
    """

    name: str
    evaluator: SceneGraphEvaluator
    num_missing_images: int
    num_unknown_images: int

    def compute(self, confidence: float = 0.95) -> dict[str, Any]:
        """`file`, `num_missing_images`, `num_unknown_images` and what `SceneGraphEvaluator.compute` gives."""
        counts = {"num_missing_images": self.num_missing_images, "num_unknown_images": self.num_unknown_images}
        return {"file": self.name} | counts | self.evaluator.compute(confidence)


def recall_settings(truth: GroundTruth, **settings: Any) -> RecallSettings:
    """Settings for a ground truth.

    Args:
        truth: Tells the predicates, and which triplets and how many of each predicate training shows.
        **settings: Further fields of `RecallSettings`.

    Returns:
        The settings.
    """
    return RecallSettings(
        num_predicates=len(truth.id2predicate),
        zero_shot_triplets=truth.zero_shot_triplets,
        predicate_counts=truth.predicate_counts,
        **settings,
    )


def evaluate_file(
    path: str | os.PathLike,
    truth: GroundTruth,
    evaluator: SceneGraphEvaluator,
    *,
    skip_unknown_images: bool = False,
    progress: bool = False,
) -> FileEvaluation:
    """Judges a file of predictions.

    Annotated images that it lacks count as images without predictions: a model that keeps silent about an image cannot win
    by it, unless the protocol says so.

    Args:
        path: The file, see `read_predictions`.
        truth: The annotations.
        evaluator: An empty one.
        skip_unknown_images: Skip predictions for images that are not annotated, instead of raising.
        progress: Show a progress bar on terminals.

    Returns:
        The filled evaluator, and how many images were missing or unknown.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is malformed, or does not fit the ground truth; the message names file, image and field.
    """
    images = read_predictions(path, truth.id2label, truth.id2predicate, GIVEN_FIELDS[evaluator.settings.mode])
    unseen, num_unknown, num_plain, known = dict(truth.rows), 0, 0, []
    for image in _shown(images, len(unseen), progress):
        row = unseen.pop(image.image_id, None)
        if row is not None:
            image.check_size(truth.image_size(row))
            known.append((image, row))
            num_plain += not ({"predicate_probabilities", "unconstrained_relations"} & image.graph.keys())
        elif skip_unknown_images:
            num_unknown += 1
        else:
            raise ValueError(_unknown_image(image, truth))
        if len(known) == _BATCH:
            _add(known, truth, evaluator)
            known = []
    _add(known, truth, evaluator)
    if len(unseen) == len(truth.rows):
        raise ValueError(f"{path}: it predicts none of the {len(unseen)} images of {truth.name}")
    _add_silent(list(unseen.values()), truth, evaluator)
    _warn(path, truth, len(unseen), num_unknown, num_plain)
    return FileEvaluation(str(path), evaluator, len(unseen), num_unknown)


def compare_files(a: FileEvaluation, b: FileEvaluation, confidence: float = 0.95) -> dict[str, dict[str, Difference]]:
    """How two files differ on the same images: by protocol, `compare_recall`'s differences a - b by metric."""
    return {
        name: compare_recall(recall, b.evaluator.recalls[name], confidence)
        for name, recall in a.evaluator.recalls.items()
    }


def silent_prediction(reference: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """A prediction without relations. What the mode gives replaces boxes and classes; what it does not give scores 0."""
    num_objects = len(reference["boxes"]) if GIVEN_FIELDS[mode] else 0
    zeros = np.zeros(num_objects)
    return {"boxes": np.zeros((num_objects, 4)), "labels": zeros.astype(int), "scores": zeros, "relations": []}


def evaluation_results(
    evaluations: Sequence[FileEvaluation], truth: GroundTruth, confidence: float = 0.95
) -> dict[str, Any]:
    """Everything that was measured, ready for JSON.

    Args:
        evaluations: Of one file or two.
        truth: What they were judged by.
        confidence: Of the intervals, in (0, 1).

    Returns:
        `ground_truth`, `predictions` (`FileEvaluation.compute` of each file) and for two files with replicates
        `comparison` (by protocol and metric: `value`, `low`, `high` of first - second). Undefined numbers are None.
    """
    results: dict[str, Any] = {"ground_truth": truth.name}
    results["predictions"] = [evaluation.compute(confidence) for evaluation in evaluations]
    if len(evaluations) == 2 and evaluations[0].evaluator.settings.num_replicates:
        differences = compare_files(*evaluations, confidence)
        results["comparison"] = {
            protocol: {name: dataclasses.asdict(difference) for name, difference in by_metric.items()}
            for protocol, by_metric in differences.items()
        }
    return finite_or_none(results)


def _shown(images: Iterator[PredictedImage], total: int, progress: bool) -> Iterator[PredictedImage]:
    if not progress:
        return images
    from tqdm.auto import tqdm

    return tqdm(images, "Evaluating", total, leave=False, disable=None)


def _unknown_image(image: PredictedImage, truth: GroundTruth) -> str:
    some = ", ".join(map(str, list(truth.rows)[:3]))
    return (
        f"{image.where}: {truth.name} has no image with this 'image_id', its ids are {some}, …; is it the right split? "
        "Predictions for other images can be skipped (--skip-unknown-images)"
    )


def _add(known: list[tuple[PredictedImage, int]], truth: GroundTruth, evaluator: SceneGraphEvaluator) -> None:
    references = [truth.reference(row) for _, row in known]
    _check_given([image for image, _ in known], references, evaluator.settings.mode)
    evaluator.add_batch([image.graph for image, _ in known], references)


def _check_given(images: list[PredictedImage], references: list[dict[str, Any]], mode: str) -> None:
    if not GIVEN_FIELDS[mode]:
        return
    for image, reference in zip(images, references, strict=True):
        count = len(reference["boxes"])
        for name in ("boxes", "labels", "scores"):
            if len(image.graph.get(name, reference["boxes"])) != count:
                raise ValueError(
                    f"{image.where}: '{name}' has {len(image.graph[name])} values, but mode '{mode}' needs the {count} "
                    "objects of the ground truth in its order"
                )
        for name in {"relations", "unconstrained_relations"} & image.graph.keys():
            last = image.graph[name][:, :2].max(initial=-1)
            if last >= count:
                raise ValueError(f"{image.where}: '{name}' name object {last}, but the ground truth has {count}")
        _check_order(image, reference, mode)


def _check_order(image: PredictedImage, reference: dict[str, Any], mode: str) -> None:
    """What is given replaces what the file says, so that objects in another order would show as low recall only."""
    hint = (
        f"mode '{mode}' needs the objects in the order of the ground truth: put them in it and renumber the relations"
    )
    if "boxes" in image.graph:
        theirs, ours = image.graph["boxes"], np.asarray(reference["boxes"], dtype=np.float64).reshape(-1, 4)
        row = _first(~_agreeing(theirs, ours))
        if row is not None:
            raise ValueError(
                f"{image.where}: '{image.boxes_field}' row {row} is {theirs[row].tolist()} as corners, but the box of "
                f"object {row} in the ground truth is {ours[row].tolist()}; {hint}"
            )
    if "labels" in image.graph and "labels" in GIVEN_FIELDS[mode]:
        theirs, ours = image.graph["labels"], np.asarray(reference["labels"])
        row = _first(theirs != ours)
        if row is not None:
            raise ValueError(
                f"{image.where}: 'labels' row {row} is class {theirs[row]} of the ground truth, but the class of object "
                f"{row} there is {ours[row]}; {hint}"
            )


def _agreeing(theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """Which boxes `(n,)` are the same but for rounding. One without area overlaps nothing, not even itself."""
    overlap = intersection_over_union(theirs, ours)
    return (overlap >= _GIVEN_OVERLAP) | (np.abs(theirs - ours) <= 1).all(axis=1)


def _first(wrong: np.ndarray) -> int | None:
    """The first row `(n,)` that is wrong, if any."""
    return int(wrong.argmax()) if wrong.any() else None


def _add_silent(rows: list[int], truth: GroundTruth, evaluator: SceneGraphEvaluator) -> None:
    mode = evaluator.settings.mode
    for start in range(0, len(rows), _BATCH):
        references = [truth.reference(row) for row in rows[start : start + _BATCH]]
        evaluator.add_batch([silent_prediction(reference, mode) for reference in references], references)


def _warn(path: str | os.PathLike, truth: GroundTruth, num_missing: int, num_unknown: int, num_plain: int) -> None:
    if num_missing:
        logger.warning(
            "%s: %d of the %d images of %s are missing; those with relations count as images without predictions",
            *(path, num_missing, len(truth.rows), truth.name),
        )
    if num_unknown:
        logger.warning("%s: skipped %d images that %s lacks", path, num_unknown, truth.name)
    if num_plain:
        logger.warning(
            "%s: %d images have neither 'predicate_probabilities' nor 'unconstrained_relations'; for ng-R, their relations "
            "compete as they are, so compare it only with files of the same kind",
            *(path, num_plain),
        )
