# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Optimizer and learning-rate schedule."""

import bisect
import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from .arguments import TrainingArguments


def build_optimizer(model: nn.Module, arguments: TrainingArguments) -> torch.optim.AdamW:
    """AdamW over all trainable parameters, the backbone's with a learning rate of their own."""
    backbone, rest = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (backbone if ".backbone." in f".{name}" else rest).append(parameter)
    rate = arguments.learning_rate
    groups = [
        {"params": rest, "lr": rate},
        {"params": backbone, "lr": rate * arguments.backbone_learning_rate_factor},
    ]
    groups = [group for group in groups if group["params"]]
    # One pass over the parameters; with fp16 it would have to unscale gradients, which clipping has done already.
    fused = True if arguments.mixed_precision != "fp16" else None
    return torch.optim.AdamW(groups, lr=rate, weight_decay=arguments.weight_decay, fused=fused)


def learning_rate_factor(step: int, arguments: TrainingArguments) -> float:
    """What the learning rate is multiplied with at a step, in [0, 1].

    Args:
        step: Number of steps taken before.
        arguments: `schedule`, `milestones`, `decay`, `warmup_ratio` and `max_steps`.
    """
    warmup_steps = round(arguments.warmup_ratio * arguments.max_steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if arguments.schedule == "step":
        return arguments.decay ** bisect.bisect_right(arguments.milestones, step)
    progress = (step - warmup_steps) / max(arguments.max_steps - warmup_steps, 1)
    return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def build_scheduler(optimizer: torch.optim.Optimizer, arguments: TrainingArguments) -> LambdaLR:
    """The schedule; call its `step` once per optimizer step. Accelerate must not prepare it: it would then take as many
    steps as there are processes."""
    return LambdaLR(optimizer, lambda step: learning_rate_factor(step, arguments))
