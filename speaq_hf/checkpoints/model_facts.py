# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What a saved model is, told from its configuration without its weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers import CONFIG_MAPPING, PreTrainedConfig, PreTrainedModel

from ..models.auto import AutoModelForSceneGraphGeneration
from ..models.speaq.configuration_speaq import SpeaQConfig
from .checkpoint_files import CheckpointFiles
from .loading_errors import damage_named


# In which the variants differ.
_VARIANT_FIELDS = ("relation_query_multiplier", "assignment", "match_per_layer", "num_query_groups")
_RESNETS = {
    ("basic", (2, 2, 2, 2)): "ResNet-18",
    ("basic", (3, 4, 6, 3)): "ResNet-34",
    ("bottleneck", (3, 4, 6, 3)): "ResNet-50",
    ("bottleneck", (3, 4, 23, 3)): "ResNet-101",
    ("bottleneck", (3, 8, 36, 3)): "ResNet-152",
}
_VARIANTS = {"speaq": "SpeaQ", "iterative_sgg": "Iterative SGG"}


@dataclass(frozen=True)
class ModelFacts:
    """A scene graph model.

    Args:
        config: Its configuration.
        processor: Fields of its image processor.
    """

    config: SpeaQConfig
    processor: dict[str, Any]

    @classmethod
    def of(cls, files: CheckpointFiles) -> ModelFacts:
        """The facts of a saved model.

        Raises:
            OSError: There is no such model.
            ValueError: It is no scene graph model of this package, or its configuration is wrong.
        """
        config_class = config_class_of(files)
        if config_class not in AutoModelForSceneGraphGeneration._model_mapping:
            kind = files.config.get("model_type")
            raise ValueError(f"{files.name} is no scene graph model: its model_type is {kind!r}, expected 'speaq'")
        with damage_named(files.name):
            return cls(config_class.from_dict(files.config), files.processor)

    @property
    def variant(self) -> str | None:
        """ "speaq", "iterative_sgg" or, where the two are mixed, None."""
        found = [getattr(self.config, name) for name in _VARIANT_FIELDS]
        baseline = SpeaQConfig.iterative_sgg()
        if found == [getattr(baseline, name) for name in _VARIANT_FIELDS]:
            return "iterative_sgg"
        return "speaq" if self.config.assignment == "dynamic" and self.config.num_query_groups > 1 else None

    @property
    def variant_name(self) -> str:
        """As the papers write it."""
        return _VARIANTS.get(self.variant, "A mixture of SpeaQ and Iterative SGG")

    @property
    def backbone(self) -> str:
        """ "ResNet-101", or the type of the backbone with the layers of its stages."""
        backbone = self.config.backbone_config
        depths = tuple(getattr(backbone, "depths", ()))
        known = (
            _RESNETS.get((getattr(backbone, "layer_type", None), depths)) if backbone.model_type == "resnet" else None
        )
        shape = f" (stages of {', '.join(map(str, depths))} layers)" if depths else ""
        return known or f"{backbone.model_type}{shape}"

    @property
    def image_size(self) -> str | None:
        """To what images are resized; None if there is no processor."""
        size = self.processor.get("size") or {}
        if "shortest_edge" not in size:
            return None
        return f"short edge {size['shortest_edge']} pixels, long edge at most {size['longest_edge']}"

    @cached_property
    def num_parameters(self) -> int:
        """All parameters, without buffers."""
        return sum(parameter.numel() for parameter in self._empty_model.parameters())

    @cached_property
    def num_trainable_parameters(self) -> int:
        """Those that training changes: not the frozen stages of the backbone."""
        return sum(parameter.numel() for parameter in self._empty_model.parameters() if parameter.requires_grad)

    @cached_property
    def _empty_model(self) -> PreTrainedModel:
        with torch.device("meta"):
            return AutoModelForSceneGraphGeneration.from_config(self.config)


def config_class_of(files: CheckpointFiles) -> type[PreTrainedConfig] | None:
    """The class of a model's configuration, None if no library at hand knows it.

    Raises:
        OSError: There is no such model.
        ValueError: Its configuration is not JSON.
    """
    kind = files.config.get("model_type")
    return CONFIG_MAPPING[kind] if kind in CONFIG_MAPPING else None
