# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The evaluation's page with tables, charts, causes of errors and images, from the predictions that it saved."""

import os
from pathlib import Path

from datasets import Dataset

from speaq_hf.data.scene_graph_table import SceneGraphTable
from speaq_hf.metrics import ErrorAnatomy, SceneGraphEvaluator
from speaq_hf.metrics.evaluation_run import EvaluationOptions
from speaq_hf.metrics.file_evaluation import evaluate_file
from speaq_hf.metrics.ground_truth import GroundTruth


class SavedReport:
    """The report that `speaq evaluate --report` writes, on the images of an evaluation.

    Args:
        path: The HTML file.
        name: How the report calls the images.
        dataset: Their rows.
        evaluator: Tells settings and protocols; its own images are left alone.

    Raises:
        ImportError: The report needs a package that is not installed.
        ValueError: An image id occurs twice.
    """

    def __init__(self, path: Path, name: str, dataset: Dataset, evaluator: SceneGraphEvaluator) -> None:
        from speaq_hf.metrics.file_report import write_file_report  # without Jinja, better known before the evaluation

        self.path, self._write, self._evaluator = path, write_file_report, evaluator
        table = SceneGraphTable.from_datasets({name: dataset})
        settings = evaluator.settings
        self._truth = GroundTruth(name, table, settings.zero_shot_triplets, settings.predicate_counts, dataset)

    def write(self, predictions: str | os.PathLike) -> None:
        """Judges the saved predictions once more, for the causes of errors, and writes the page.

        Args:
            predictions: The file; images that it lacks count as images without predictions.

        Raises:
            OSError: A file cannot be read or written.
        """
        settings, protocols = self._evaluator.settings, list(self._evaluator.recalls)
        options = EvaluationOptions(protocols=protocols, ks=settings.ks, iou_threshold=settings.iou_threshold)
        anatomy = ErrorAnatomy(settings.num_predicates, **options.error_settings)
        evaluator = SceneGraphEvaluator(settings, protocols, {"error_anatomy": anatomy})
        self._write(self.path, [evaluate_file(predictions, self._truth, evaluator)], self._truth)
