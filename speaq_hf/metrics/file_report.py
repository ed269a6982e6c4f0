# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The evaluation report on files of predictions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..predictions import read_predictions
from .evaluation_report import EvaluatedModel, ReportClasses, ReportExample, write_evaluation_report
from .evaluation_text import short_names
from .file_evaluation import FileEvaluation, compare_files, silent_prediction
from .ground_truth import GroundTruth
from .image_batch import GIVEN_FIELDS


_UNCONSTRAINED_FIELDS = {"predicate_probabilities", "unconstrained_relations"}  # large, and not shown


def write_file_report(
    path: str | os.PathLike, evaluations: Sequence[FileEvaluation], truth: GroundTruth, max_images: int = 1000
) -> None:
    """Writes the report on one file of predictions, or on two side by side.

    Args:
        path: The HTML file.
        evaluations: What became of the files, which are read once more for the images.
        truth: What they were judged by.
        max_images: Most images to browse, taken evenly from all that have annotated relations.

    Raises:
        OSError: A file cannot be read or written.
        ValueError: A file has changed and is malformed.
    """
    names = short_names([evaluation.name for evaluation in evaluations])
    models = [EvaluatedModel(name, e.compute()) for name, e in zip(names, evaluations, strict=True)]
    comparable = len(evaluations) == 2 and evaluations[0].evaluator.settings.num_replicates
    write_evaluation_report(
        path,
        models,
        ReportClasses(truth.table.object_names, truth.table.predicate_names, truth.predicate_counts),
        _examples(evaluations, truth, max_images),
        differences=compare_files(*evaluations) if comparable else None,
        title=f"Evaluation on {truth.name}",
    )


def _examples(evaluations: Sequence[FileEvaluation], truth: GroundTruth, max_images: int) -> Iterator[ReportExample]:
    rows = _spread(np.flatnonzero(truth.table.relations_per_image), max_images)
    mode = evaluations[0].evaluator.settings.mode
    predictions = [_read(evaluation.name, truth, mode, set(rows)) for evaluation in evaluations]
    for row in rows:
        reference = truth.reference(row)
        silent = silent_prediction(reference, mode)
        predicted = [graphs.get(row, silent) for graphs in predictions]
        yield ReportExample(f"image {reference['image_id']}", reference, predicted, truth.picture(row))


def _spread(rows: np.ndarray, count: int) -> list[int]:
    """At most `count` of `rows`, at equal distances."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))].tolist()


def _read(path: str, truth: GroundTruth, mode: str, wanted: set[int]) -> dict[int, dict[str, Any]]:
    """The predictions for the wanted rows of the ground truth."""
    images = read_predictions(path, truth.id2label, truth.id2predicate, GIVEN_FIELDS[mode])
    found = ((truth.rows.get(image.image_id), image.graph) for image in images)
    return {
        row: {field: value for field, value in graph.items() if field not in _UNCONSTRAINED_FIELDS}
        for row, graph in found
        if row in wanted
    }
