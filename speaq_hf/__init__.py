# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Scene graph generation for Hugging Face Transformers: SpeaQ and Iterative SGG.

Importing the package registers its models with the Auto classes and needs torch and transformers only. Data,
evaluation and drawing, which need more, are imported when one of their names is first used.
"""

import importlib
from typing import Any

from .models.auto import AutoModelForSceneGraphGeneration, register_auto_classes
from .models.speaq.configuration_speaq import SpeaQConfig
from .models.speaq.image_processing_speaq import SpeaQImageProcessor, SpeaQImageProcessorPil
from .models.speaq.modeling_speaq import SpeaQForSceneGraphGeneration, SpeaQModel
from .pipeline import register_pipeline
from .scene_graph import SceneGraph


__version__ = "0.1.0"

_LAZY = {
    "SceneGraphRecall": "metrics",
    "PredictionWriter": "predictions",
    "read_predictions": "predictions",
    "RatioBatchSampler": "data",
    "SceneGraphCollator": "data",
    "SceneGraphTransform": "data",
    "generate_synthetic_genome": "data",
    "load_scene_graph_splits": "data",
    "load_scene_graphs": "data",
    "load_synthetic_genome": "data",
    "load_visual_genome": "data",
    "mix_datasets": "data",
    "predicate_statistics": "data",
    "rename_classes": "data",
    "save_scene_graphs": "data",
    "compare_scene_graphs": "visualization",
    "plot_scene_graph": "visualization",
}

__all__ = [
    "AutoModelForSceneGraphGeneration",
    "SceneGraph",
    "SpeaQConfig",
    "SpeaQForSceneGraphGeneration",
    "SpeaQImageProcessor",
    "SpeaQImageProcessorPil",
    "SpeaQModel",
    *_LAZY,
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_auto_classes()
register_pipeline()
