# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Evaluation of scene graphs. The `evaluate` metric is loaded by path, see `scene_graph_recall_metric`."""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names


if TYPE_CHECKING:
    from .comparison import Difference, compare_recall
    from .error_anatomy import ErrorAnatomy, explain_triplets
    from .object_precision import ObjectPrecision
    from .oracle import ground_objects
    from .protocols import PROTOCOLS, EvaluationProtocol
    from .reference_comparison import ReferenceComparison, compare_with_reference
    from .scene_graph_evaluator import RecallSettings, SceneGraphEvaluator
    from .scene_graph_recall import SceneGraphRecall

__all__ = [
    "PROTOCOLS",
    "Difference",
    "ErrorAnatomy",
    "EvaluationProtocol",
    "ObjectPrecision",
    "RecallSettings",
    "ReferenceComparison",
    "SceneGraphEvaluator",
    "SceneGraphRecall",
    "compare_recall",
    "compare_with_reference",
    "explain_triplets",
    "ground_objects",
]

_MODULES = {
    "Difference": "comparison",
    "ErrorAnatomy": "error_anatomy",
    "EvaluationProtocol": "protocols",
    "ObjectPrecision": "object_precision",
    "PROTOCOLS": "protocols",
    "RecallSettings": "scene_graph_evaluator",
    "ReferenceComparison": "reference_comparison",
    "SceneGraphEvaluator": "scene_graph_evaluator",
    "SceneGraphRecall": "scene_graph_recall",
    "compare_recall": "comparison",
    "compare_with_reference": "reference_comparison",
    "explain_triplets": "error_anatomy",
    "ground_objects": "oracle",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
