# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Scene graph generation for Hugging Face Transformers: SpeaQ and Iterative SGG.

Importing the package makes transformers know its models: `AutoConfig`, `AutoModel`, `AutoImageProcessor` and
`pipeline("scene-graph-generation")` find them. Everything is imported when one of its names is first used. Models,
image processors and pipeline need torch and transformers only; data, evaluation and drawing need more.
"""

from typing import TYPE_CHECKING

from .lazy_names import lazy_names
from .registration import register_when_needed


if TYPE_CHECKING:  # the names that type checkers should know, as typed packages re-export them
    from .models.auto import AutoModelForSceneGraphGeneration as AutoModelForSceneGraphGeneration
    from .models.speaq.configuration_speaq import SpeaQConfig as SpeaQConfig
    from .models.speaq.image_processing_speaq import SpeaQImageProcessor as SpeaQImageProcessor
    from .models.speaq.image_processing_speaq import SpeaQImageProcessorPil as SpeaQImageProcessorPil
    from .models.speaq.modeling_speaq import SpeaQForSceneGraphGeneration as SpeaQForSceneGraphGeneration
    from .models.speaq.modeling_speaq import SpeaQModel as SpeaQModel
    from .pipeline import SceneGraphGenerationPipeline as SceneGraphGenerationPipeline
    from .scene_graph import SceneGraph as SceneGraph


__version__ = "0.1.0"

_LAZY = {
    "AutoModelForSceneGraphGeneration": "models.auto",
    "SpeaQConfig": "models.speaq.configuration_speaq",
    "SpeaQImageProcessor": "models.speaq.image_processing_speaq",
    "SpeaQImageProcessorPil": "models.speaq.image_processing_speaq",
    "SpeaQForSceneGraphGeneration": "models.speaq.modeling_speaq",
    "SpeaQModel": "models.speaq.modeling_speaq",
    "SceneGraphGenerationPipeline": "pipeline",
    "SceneGraph": "scene_graph",
    "SceneGraphRecall": "metrics",
    "PredictionWriter": "predictions",
    "read_predictions": "predictions",
    "RatioBatchSampler": "data",
    "SceneGraphCollator": "data",
    "SceneGraphTransform": "data",
    "generate_scene_world": "data",
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

__all__ = list(_LAZY)
__getattr__, __dir__ = lazy_names(__name__, _LAZY)

register_when_needed()
