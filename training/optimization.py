# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Optimizer and learning-rate schedule."""

import bisect
import logging
import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from .arguments import TrainingArguments


logger = logging.getLogger(__name__)


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


def restore_options(
    optimizer: torch.optim.Optimizer, scheduler: LambdaLR, base_rates: Sequence[float], arguments: TrainingArguments
) -> None:
    """Give a loaded optimizer the learning rates and weight decay that this run asks for, instead of the saved ones.

    Args:
        optimizer: With loaded state.
        scheduler: With loaded state; its step decides how far the schedule is.
        base_rates: Learning rate of each parameter group before the schedule.
        arguments: `weight_decay`, and what the schedule depends on.
    """
    scheduler.base_lrs = list(base_rates)
    factor = learning_rate_factor(scheduler.last_epoch, arguments)
    for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
        if group["initial_lr"] != rate or group["weight_decay"] != arguments.weight_decay:
            logger.warning(
                "Resuming with learning rate %g and weight decay %g; the checkpoint was made with %g and %g.",
                rate, arguments.weight_decay, group["initial_lr"], group["weight_decay"],
            )  # fmt: skip
        group |= {"lr": rate * factor, "initial_lr": rate, "weight_decay": arguments.weight_decay}
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]
