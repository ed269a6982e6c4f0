# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The registration of the pipeline "scene-graph-generation" with transformers."""

from transformers.pipelines import PIPELINE_REGISTRY

from ..packaged_models import packaged_model
from .auto import AutoModelForSceneGraphGeneration
from .speaq.pipeline_speaq import TASK, SpeaQSceneGraphPipeline


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
