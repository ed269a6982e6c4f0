# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The state that our fast path brings a backbone into, for transformers' DETR."""

from __future__ import annotations

import torch
from torch import nn
from transformers.models.detr.modeling_detr import DetrFrozenBatchNorm2d

from speaq_hf.models.speaq.backbone_speaq import SpeaQFrozenBatchNorm2d
from speaq_hf.models.speaq.inference_speaq import fuse_backbone


def fold_backbone(backbone: nn.Module) -> None:
    """Let a backbone of DETR compute as ours does after `optimize_for_inference`; in place."""
    norms = [(name, norm) for name, norm in backbone.named_modules() if isinstance(norm, DetrFrozenBatchNorm2d)]
    for name, norm in norms:
        ours = SpeaQFrozenBatchNorm2d(len(norm.weight), eps=1e-5).to(norm.weight.device)  # DETR's has no other
        ours.load_state_dict(norm.state_dict())
        backbone.set_submodule(name, ours)
    fuse_backbone(backbone.eval())
    backbone.to(memory_format=torch.channels_last)
