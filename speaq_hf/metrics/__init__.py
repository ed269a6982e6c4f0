# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Evaluation of scene graphs. The `evaluate` metric is loaded by path, see `scene_graph_recall_metric`."""

from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from .scene_graph_recall import PROTOCOLS, EvaluationProtocol, SceneGraphRecall

__all__ = ["PROTOCOLS", "EvaluationProtocol", "SceneGraphRecall"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import scene_graph_recall

    return getattr(scene_graph_recall, name)
