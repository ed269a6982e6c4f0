# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The pipeline "scene-graph-generation" of transformers.

The class itself lives in the model folder, because it has to travel with the model when its code is loaded from the
Hub.
"""

from .models.speaq.pipeline_speaq import SpeaQSceneGraphPipeline as SceneGraphGenerationPipeline


__all__ = ["SceneGraphGenerationPipeline"]
