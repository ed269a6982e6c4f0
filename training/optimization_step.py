# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""One optimizer step over several forward passes, which non-finite numbers cannot reach."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler


Batch = dict[str, Any]


@dataclass
class StepResult:
    """What a step did.

    Args:
        learning_rate: Of the transformer.
        is_finite: Whether loss and gradients were finite in every process; if not, the weights are as before.
        gradient_norm: Of the whole model, before clipping.
        num_images: Images of this process.
        losses: Sum over the forward passes of the total and of every term, unreduced over processes.
    """

    learning_rate: float
    is_finite: bool
    gradient_norm: float
    num_images: int
    losses: dict[str, Tensor]


@dataclass
class OptimizationStep:
    """Forward, backward, clip, update.

    Args:
        model: Prepared by the accelerator.
        optimizer: Prepared by the accelerator.
        scheduler: Not prepared: it would be stepped once per process.
        accelerator: Its gradient accumulation must be the number of batches of a step.
        max_grad_norm: Gradients are scaled down to this norm; None leaves them.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: LRScheduler
    accelerator: Accelerator
    max_grad_norm: float | None = None

    def __call__(self, batches: Iterable[Batch]) -> StepResult:
        """Take a step on the mean gradient of the batches. Every process must call it with as many batches."""
        losses: dict[str, Tensor] = {}
        num_images = 0
        for batch in batches:
            with self.accelerator.accumulate(self.model):
                outputs = self._forward(batch)
                self.accelerator.backward(outputs.loss)
            for name, value in ({"loss": outputs.loss} | outputs.loss_dict).items():
                losses[name] = losses.get(name, 0) + value.detach()
            num_images += len(batch["labels"])
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.max_grad_norm or math.inf)
        is_finite = self._is_finite_everywhere(torch.stack((losses["loss"], norm)))
        learning_rate = self.scheduler.get_last_lr()[0]
        self._update(is_finite)
        return StepResult(learning_rate, is_finite, float(norm), num_images, losses)

    def _forward(self, batch: Batch) -> Any:
        # Labels stay where they are: the criterion checks them on the CPU before it moves them.
        pixel_values, pixel_mask = (
            batch[name].to(self.accelerator.device, non_blocking=True) for name in ("pixel_values", "pixel_mask")
        )
        return self.model(pixel_values=pixel_values, pixel_mask=pixel_mask, labels=batch["labels"])

    def _is_finite_everywhere(self, values: Tensor) -> bool:
        """The same answer in every process. Gradients agree anyway, losses do not."""
        is_finite = values.isfinite().all().float()
        return bool(self.accelerator.reduce(is_finite, reduction="mean") == 1)

    def _update(self, is_finite: bool) -> None:
        if is_finite:
            self.optimizer.step()
        elif self.accelerator.scaler is not None:
            self.accelerator.scaler.update()  # lowers the scale of fp16 gradients, which may have been the cause
        self.optimizer.zero_grad()
        self.scheduler.step()
