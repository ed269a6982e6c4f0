# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""One optimizer step over several forward passes, which non-finite numbers cannot reach."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LRScheduler


Batch = dict[str, Any]


@dataclass
class StepResult:
    """What a step did.

    Args:
        learning_rate: Of the transformer.
        is_finite: Whether loss and gradients were finite in every process; if not, the weights are as before.
        gradient_norm: Of the whole model, before clipping.
        image_ids: Of the images of this process; -1 if a label has none.
        sources: Of the images of this process; None if they are of one source.
        num_unreadable: Images that could not be read and that others of this process took the place of.
        is_interrupted: Whether any process was asked to stop.
        losses: Sum over the forward passes of the total and of every term, unreduced over processes.
    """

    learning_rate: float
    is_finite: bool
    gradient_norm: float
    image_ids: list[int]
    sources: list[str | None]
    num_unreadable: int
    is_interrupted: bool
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

    def __call__(self, batches: Iterable[Batch], interrupted: bool = False) -> StepResult:
        """Take a step on the mean gradient of the batches. Every process must call it with as many batches.

        Args:
            batches: One per forward pass.
            interrupted: Whether this process was asked to stop.
        """
        losses: dict[str, Tensor] = {}
        labels: list[dict[str, Any]] = []
        num_unreadable = 0
        statistics = [buffer.clone() for buffer in self._statistics()]
        for batch in batches:
            with self.accelerator.accumulate(self.model):
                outputs = self._forward(batch)
                self.accelerator.backward(outputs.loss)
            for name, value in ({"loss": outputs.loss} | outputs.loss_dict).items():
                losses[name] = losses.get(name, 0) + value.detach()
            labels += batch["labels"]
            num_unreadable += batch.get("num_unreadable", 0)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.max_grad_norm or math.inf)
        is_finite = torch.stack((losses["loss"], norm)).isfinite().all()
        is_finite, goes_on = self._holds_everywhere(torch.stack((is_finite, is_finite.new_tensor(not interrupted))))
        learning_rate = self.scheduler.get_last_lr()[0]
        self._update(is_finite, statistics)
        image_ids = [int(label.get("image_id", -1)) for label in labels]
        sources = [label.get("source") for label in labels]
        return StepResult(
            learning_rate, is_finite, float(norm), image_ids, sources, num_unreadable, not goes_on, losses
        )

    def _forward(self, batch: Batch) -> Any:
        # Labels stay where they are: the criterion checks them on the CPU before it moves them.
        pixel_values, pixel_mask = (
            batch[name].to(self.accelerator.device, non_blocking=True) for name in ("pixel_values", "pixel_mask")
        )
        return self.model(pixel_values=pixel_values, pixel_mask=pixel_mask, labels=batch["labels"])

    def _holds_everywhere(self, facts: Tensor) -> list[bool]:
        """For each fact whether it holds in every process: gradients agree anyway, losses and signals do not."""
        return (self.accelerator.reduce(facts.float(), reduction="mean") == 1).tolist()

    def _statistics(self) -> list[Tensor]:
        """Running statistics of the batch norms that are trained; a forward pass of broken numbers changes them."""
        norms = (module for module in self.model.modules() if isinstance(module, _BatchNorm) and module.training)
        return [buffer for norm in norms for buffer in norm.buffers()]

    def _update(self, is_finite: bool, statistics: list[Tensor]) -> None:
        if is_finite:
            self.optimizer.step()
        else:
            for buffer, before in zip(self._statistics(), statistics, strict=True):
                buffer.copy_(before)
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.update()  # lowers the scale of fp16 gradients, which may have been the cause
        self.optimizer.zero_grad()
        self.scheduler.step()
