# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`SceneGraph`, the result of scene graph generation.

The class itself lives in the model folder, because it has to travel with the model when its code is loaded from the
Hub.
"""

from .models.speaq.scene_graph_speaq import SceneGraph, Triplet


__all__ = ["SceneGraph", "Triplet"]
