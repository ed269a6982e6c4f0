# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`SceneGraphRecall` as a metric of the `evaluate` library.

    metric = evaluate.load("speaq_hf/metrics/scene_graph_recall_metric.py")
    results = metric.compute(predictions=graphs, references=annotations, num_predicates=50)

`evaluate` writes every prediction to an Arrow file before it computes. For large evaluations use `SceneGraphRecall`
itself, which keeps counts only.
"""

# `evaluate` reads these lines to find what the metric needs: one import per line, absolute names.
from collections.abc import Mapping
from typing import Any

import datasets
import evaluate
import numpy as np

from speaq_hf.metrics.image_triplets import check_numbers
from speaq_hf.metrics.scene_graph_recall import SceneGraphRecall


_CITATION = """\
@inproceedings{kim2024speaq,
  title={Groupwise Query Specialization and Quality-Aware Multi-Assignment for Transformer-based Visual Relationship Detection},
  author={Kim, Jongha and Park, Jihwan and Park, Jinyoung and Kim, Jinyoung and Kim, Sehyung and Kim, Hyunwoo J.},
  booktitle={CVPR},
  year={2024}
}
"""
_INPUTS = """\
Args:
    predictions: `SceneGraph` objects, or mappings with `boxes`, `labels`, `scores`, `relations` (best first) and optionally
        `predicate_probabilities`, `relation_scores` and `unconstrained_relations`. What the mode gives may be missing.
    references: mappings with `boxes` (xyxy pixels), `labels`, `relations` (subject, object, predicate) and optionally
        `image_id`.
    **options: the arguments of `SceneGraphRecall`, such as `protocol`, `mode` and `ks`; `num_predicates` is required.
Returns:
    the dictionary of `SceneGraphRecall.compute`; with `num_replicates` also `intervals`.
"""


_BOXES = datasets.List(datasets.List(datasets.Value("float64")))  # exact for float32 and for whole pixels
_CLASSES = datasets.List(datasets.Value("int64"))
_TRIPLETS = datasets.List(datasets.List(datasets.Value("int64")))
_SCORES = datasets.List(datasets.Value("float32"))
_INTEGERS = ("labels", "relations", "unconstrained_relations")
_REFERENCE = {"boxes": _BOXES, "labels": _CLASSES, "relations": _TRIPLETS, "image_id": datasets.Value("string")}
_PREDICTION = {
    "boxes": _BOXES,
    "labels": _CLASSES,
    "scores": _SCORES,
    "relations": _TRIPLETS,
    "relation_scores": _SCORES,
    "predicate_probabilities": datasets.List(datasets.List(datasets.Value("float32"))),
    "unconstrained_relations": _TRIPLETS,
}


def _fields(graph: Any, names: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The named fields of a graph as lists, None where it lacks one; others (sizes, class names) are not for the Arrow
    file, and what `SceneGraphRecall` would refuse is refused here, for Arrow makes integers of fractions and texts."""
    values = {name: graph.get(name) if isinstance(graph, Mapping) else getattr(graph, name, None) for name in names}
    for name, value in values.items():
        if value is not None and name != "image_id":
            check_numbers(value, np.int64 if name in _INTEGERS else np.float64, f"{where}: `{name}`")
    values = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in values.items()}
    if "image_id" in names:  # `evaluate` takes lists that are None, but no texts
        values["image_id"] = "" if values["image_id"] is None else str(values["image_id"])
    return values


def _present(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None and value != ""}


class SceneGraphRecallMetric(evaluate.Metric):
    """Thin shell around `SceneGraphRecall`: the numbers are made there."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Recall of scene graph generation: R@K, ng-R@K, zR@K, mR@K, F@K.",
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": _PREDICTION, "references": _REFERENCE}),
        )

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any) -> None:
        """Adds one image, see `SceneGraphRecall.add_batch`."""
        super().add(
            prediction=_fields(prediction, _PREDICTION, "Prediction"),
            reference=_fields(reference, _REFERENCE, "Reference"),
            **kwargs,
        )

    def add_batch(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> None:
        """Adds a batch, see `SceneGraphRecall.add_batch`."""
        super().add_batch(
            predictions=[
                _fields(graph, _PREDICTION, f"Prediction of image {row} of the batch")
                for row, graph in enumerate(predictions)
            ],
            references=[
                _fields(annotation, _REFERENCE, f"Reference of image {row} of the batch")
                for row, annotation in enumerate(references)
            ],
            **kwargs,
        )

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        recall = SceneGraphRecall(**options)
        recall.add_batch([_present(row) for row in predictions], [_present(row) for row in references])
        return recall.compute() | ({"intervals": recall.intervals()} if recall.num_replicates else {})
