# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Networks with random weights whose numbers are as large as those of trained ones, and images for them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import DetrConfig, DetrForObjectDetection
from transformers.models.detr.modeling_detr import DetrFrozenBatchNorm2d

from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration
from speaq_hf.models.speaq.backbone_speaq import SpeaQFrozenBatchNorm2d
from speaq_hf.models.speaq.layers_speaq import SpeaQZeroInitLinear


# Of a network that takes part in quick runs and tests.
_SMALL = {
    "backbone_config": {
        "model_type": "resnet",
        "layer_type": "basic",
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "out_features": ["stage2"],
    },
    "freeze_backbone_stages": 1,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_object_queries": 10,
}


def made_config(small: bool = False, **overrides: Any) -> SpeaQConfig:
    """The published network with a ResNet-101, or one of some 100,000 parameters; `overrides` are fields of the configuration."""
    return SpeaQConfig(**((_SMALL if small else {}) | overrides))


def made_model(config: SpeaQConfig, seed: int = 0) -> SpeaQForSceneGraphGeneration:
    """A model with random weights, evaluating.

    Nothing in it is zero, as it would be before training where the decoders are joined: what is not computed must show.
    """
    torch.manual_seed(seed)
    model = SpeaQForSceneGraphGeneration(config).eval()
    for module in model.modules():
        if isinstance(module, SpeaQZeroInitLinear):
            nn.init.xavier_uniform_(module.weight)
    settle_norms(model.model.backbone.model)
    return model


def made_detr(config: SpeaQConfig, seed: int = 0) -> DetrForObjectDetection:
    """transformers' DETR with the backbone, the widths, the layers and the object queries of a scene graph model."""
    torch.manual_seed(seed)
    shared = (
        "d_model",
        "activation_function",
        "encoder_layers",
        "decoder_layers",
        "encoder_ffn_dim",
        "decoder_ffn_dim",
    )
    heads = ("encoder_attention_heads", "decoder_attention_heads")
    detr_config = DetrConfig(
        backbone_config=copy.deepcopy(config.backbone_config),
        num_queries=config.num_object_queries,
        num_labels=config.num_labels,
        **{name: getattr(config, name) for name in (*shared, *heads)},
    )
    detr = DetrForObjectDetection(detr_config).eval()
    settle_norms(detr.model.backbone.model)
    return detr


@torch.no_grad()
def settle_norms(backbone: nn.Module) -> None:
    """Let frozen batch norms normalise noise, as training would have let them normalise images.

    With the statistics that they start with, the numbers of a hundred random layers grow beyond what a float can tell apart.
    """

    def measure(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        norm.running_mean.copy_(inputs[0].mean(dim=(0, 2, 3)))
        norm.running_var.copy_(inputs[0].var(dim=(0, 2, 3)))

    kinds = (SpeaQFrozenBatchNorm2d, DetrFrozenBatchNorm2d)
    hooks = [m.register_forward_pre_hook(measure) for m in backbone.modules() if isinstance(m, kinds)]
    backbone(torch.randn(2, 3, 160, 160))
    for hook in hooks:
        hook.remove()


def write_image(file: Path, height: int, width: int, seed: int = 0) -> Path:
    """A JPEG of soft blotches, which is about as long to decode as a photograph of its size."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (max(height // 16, 1), max(width // 16, 1), 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    grain = generator.integers(-8, 9, (height, width, 3))
    pixels = (np.asarray(image, dtype=np.int64) + grain).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(file, quality=90)
    return file
