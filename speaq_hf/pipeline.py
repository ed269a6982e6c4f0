# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`pipeline("scene-graph-generation")` of transformers.

The class itself lives in the model folder, because it has to travel with the model when its code is loaded from the
Hub.
"""

from transformers import AutoModelForObjectDetection
from transformers.pipelines import PIPELINE_REGISTRY

from .models.auto import AutoModelForSceneGraphGeneration
from .models.speaq.pipeline_speaq import SpeaQSceneGraphPipeline
from .packaged_models import packaged_model


__all__ = ["SceneGraphGenerationPipeline", "register_pipeline"]

TASK = "scene-graph-generation"
SceneGraphGenerationPipeline = SpeaQSceneGraphPipeline


def register_pipeline() -> None:
    """Makes `transformers.pipeline` know the task; without a model it takes the one that comes with the package."""
    if TASK in PIPELINE_REGISTRY.supported_tasks:
        return
    PIPELINE_REGISTRY.register_pipeline(
        TASK,
        SpeaQSceneGraphPipeline,
        pt_model=AutoModelForSceneGraphGeneration,
        default={"model": (str(packaged_model()), None)},
        type="image",
    )
    # What is saved with a pipeline is for those without the package: they do not have this folder, nor this Auto class.
    saved = {"impl": SpeaQSceneGraphPipeline, "pt": (AutoModelForObjectDetection,), "type": "image"}
    SpeaQSceneGraphPipeline._registered_impl = {TASK: saved}
