# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What `speaq evaluate` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..json_files import write_json
from ..text_files import check_not_replaced, check_writable
from .error_anatomy import ErrorAnatomy
from .evaluation_text import evaluation_text
from .file_evaluation import FileEvaluation, evaluate_file, evaluation_results, recall_settings
from .ground_truth import GroundTruth
from .object_precision import ObjectPrecision
from .protocols import PROTOCOLS
from .scene_graph_evaluator import ImageTally, RecallSettings, SceneGraphEvaluator


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of an evaluation.

    Args:
        split: Of the ground truth.
        format: Of the ground truth; None: recognised.
        num_validation_images: In Visual Genome's files, how many training images are the validation split.
        mode: "sgdet", "sgcls" or "predcls".
        protocols: Names in `PROTOCOLS`.
        ks: Numbers of predictions to look at.
        iou_threshold: Lowest overlap of two boxes that agree.
        num_replicates: Bootstrap replicates behind the intervals; 0 for none.
        objects: Measure the objects' average precision, too; mode "sgdet" only.
        skip_unknown_images: Skip predictions for images that are not annotated, instead of raising.
        output: JSON file for all numbers, with the causes of errors.
        report: HTML file for all numbers, the causes of errors, and images.
        num_report_images: Most images of the report.
    """

    split: str = "test"
    format: str | None = None
    num_validation_images: int | None = None
    mode: str = "sgdet"
    protocols: Sequence[str] = tuple(PROTOCOLS)
    ks: Sequence[int] = (20, 50, 100)
    iou_threshold: float = 0.5
    num_replicates: int = 1000
    objects: bool = False
    skip_unknown_images: bool = False
    output: Path | None = None
    report: Path | None = None
    num_report_images: int = 1000

    @property
    def error_settings(self) -> dict[str, Any]:
        """Of `ErrorAnatomy`: our own protocol, if it is asked for, and the middle one of the Ks."""
        protocol = "strict" if "strict" in self.protocols else self.protocols[0]
        k = sorted(self.ks)[len(self.ks) // 2]
        return {"k": k, "iou_threshold": self.iou_threshold, "protocol": protocol}


def run_evaluation(
    predictions: Sequence[str | os.PathLike],
    ground_truth: str | os.PathLike,
    options: EvaluationOptions,
    show: Callable[[str], None],
) -> None:
    """Judges one file of predictions, or two against each other.

    Args:
        predictions: The files.
        ground_truth: What `load_scene_graphs` reads.
        options: How; `options.output` and `options.report` are written.
        show: Takes the tables for the terminal.

    Raises:
        FileNotFoundError: A file or folder is missing.
        ImportError: The objects' precision or the report needs a package that is not installed.
        OSError: The results cannot be written.
        ValueError: An option is out of range, or a file is not what it should be.
    """
    _check(predictions, ground_truth, options)
    if options.report is not None:  # Jinja may be missing, which is better known at once, too
        from .file_report import write_file_report
    genome = {} if options.num_validation_images is None else {"num_validation_images": options.num_validation_images}
    truth = GroundTruth.load(ground_truth, options.split, format=options.format, **genome)
    evaluations = [_evaluate(path, truth, options) for path in predictions]
    results = evaluation_results(evaluations, truth)
    show(evaluation_text(results))  # before the files, in case the disk is full
    if options.output is not None:
        write_json(options.output, results)
    if options.report is not None:
        write_file_report(options.report, evaluations, truth, options.num_report_images)


def _check(
    predictions: Sequence[str | os.PathLike], ground_truth: str | os.PathLike, options: EvaluationOptions
) -> None:
    """Refuses what can be refused before the ground truth is read, which may take a while."""
    if not 1 <= len(predictions) <= 2:
        raise ValueError(f"expected one file of predictions, or two to compare, got {len(predictions)}")
    if options.num_report_images < 0:
        raise ValueError(f"the number of images of a report must be at least 0, got {options.num_report_images}")
    check_not_replaced({"--output": options.output, "--report": options.report}, [*predictions, ground_truth])
    for path in (options.output, options.report):
        if path is not None:
            check_writable(path)
    missing = [str(path) for path in predictions if not Path(path).is_file()]
    if missing:
        raise FileNotFoundError(f"there is no file {missing[0]}")
    SceneGraphEvaluator(RecallSettings(1, **_settings(options)), options.protocols)  # raises what is wrong with them
    if options.objects:
        if options.mode != "sgdet":
            raise ValueError(f"the objects' precision (--objects) needs mode sgdet: in {options.mode} boxes are given")
        ObjectPrecision(1)  # raises if its package is missing


def _evaluate(path: str | os.PathLike, truth: GroundTruth, options: EvaluationOptions) -> FileEvaluation:
    settings = recall_settings(truth, **_settings(options))
    evaluator = SceneGraphEvaluator(settings, options.protocols, _tallies(truth, options))
    return evaluate_file(path, truth, evaluator, skip_unknown_images=options.skip_unknown_images, progress=True)


def _tallies(truth: GroundTruth, options: EvaluationOptions) -> dict[str, ImageTally]:
    tallies: dict[str, ImageTally] = {}
    if options.objects:
        tallies["objects"] = ObjectPrecision(len(truth.id2label))
    if options.output is not None or options.report is not None:  # the terminal does not show the errors
        tallies["error_anatomy"] = ErrorAnatomy(len(truth.id2predicate), **options.error_settings)
    return tallies


def _settings(options: EvaluationOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("ks", "mode", "iou_threshold", "num_replicates")}
