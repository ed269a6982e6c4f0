# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The loss of DETR (Carion et al., ECCV 2020) over all decoder layers.

Unlike transformers' own, it stays a number when a network gives NaN, so that the step is skipped and counted; its
divisors are those of the whole batch on any number of processes; and an image's `loss_weight` scales its terms.
Shapes: L decoder layers, B images, Q queries, C classes, T objects in the batch, M matched (query, object) pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from transformers import DetrConfig
from transformers.image_transforms import center_to_corners_format

from speaq_hf.models.speaq.box_ops_speaq import generalized_box_iou


@dataclass(frozen=True)
class ObjectTargets:
    """The objects of a batch, image after image.

    Args:
        classes: `(T,)`.
        boxes: `(T, 4)`, (cx, cy, w, h) in [0, 1].
        images: Which image of the batch each object is in, `(T,)`.
        counts: Objects of each image, B numbers.
        loss_weights: `(B,)`.
    """

    classes: Tensor
    boxes: Tensor
    images: Tensor
    counts: list[int]
    loss_weights: Tensor

    @classmethod
    def from_labels(cls, labels: Sequence[dict[str, Any]], device: torch.device) -> "ObjectTargets":
        """Join `class_labels` `(n,)`, `boxes` `(n, 4)` and `loss_weight` of B images."""
        counts = [len(label["class_labels"]) for label in labels]
        return cls(
            classes=torch.cat([label["class_labels"] for label in labels]).to(device),
            boxes=torch.cat([label["boxes"] for label in labels]).float().to(device),
            images=torch.arange(len(labels)).repeat_interleave(torch.tensor(counts)).to(device),
            counts=counts,
            loss_weights=torch.tensor([float(label.get("loss_weight", 1.0)) for label in labels], device=device),
        )


@dataclass(frozen=True)
class DetectionCriterion:
    """Class, L1 and generalized IoU losses after minimum-cost matching, each layer on its own.

    Args:
        config: Costs, coefficients and the weight of "no object".
    """

    config: DetrConfig

    def __call__(
        self, logits: Tensor, boxes: Tensor, labels: Sequence[dict[str, Any]]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss.

        Args:
            logits: `(L, B, Q, C+1)`, last layer last, background last.
            boxes: `(L, B, Q, 4)`, (cx, cy, w, h) in [0, 1].
            labels: One dict per image, see `ObjectTargets`.

        Returns:
            The weighted sum, and `loss_class`, `loss_bbox`, `loss_giou` before their coefficients: the last layer's without
            suffix, earlier ones with `_0`, `_1`, …. With several processes each returns its share times their number, so
            that their mean is the loss of the whole batch.
        """
        with torch.autocast(logits.device.type, enabled=False):
            logits, boxes = logits.float(), boxes.float()
            targets = ObjectTargets.from_labels(labels, logits.device)
            queries, objects = self._match(logits.detach(), boxes.detach(), targets)
            losses = self._losses(logits, boxes, targets, queries, objects)
            coefficients = {
                "loss_class": 1,
                "loss_bbox": self.config.bbox_loss_coefficient,
                "loss_giou": self.config.giou_loss_coefficient,
            }
            total = sum(coefficients[name] * values.sum() for name, values in losses.items())
        return total, _name_layers(losses)

    def _match(self, logits: Tensor, boxes: Tensor, targets: ObjectTargets) -> tuple[Tensor, Tensor]:
        """Matched queries and objects, each `(L, M)`. Of more objects than queries, those that cost most get none."""
        costs = np.split(self._costs(logits, boxes, targets), np.cumsum(targets.counts)[:-1], axis=1)
        offsets = np.cumsum([0, *targets.counts[:-1]])
        pairs = [
            np.array([linear_sum_assignment(layer) for layer in cost]) + [[offset], [0]]
            for cost, offset in zip(costs, offsets, strict=True)
        ]  # one (L, 2, m) for each image
        objects, queries = torch.from_numpy(np.concatenate(pairs, axis=2)).to(logits.device).unbind(dim=1)
        return queries, objects

    def _costs(self, logits: Tensor, boxes: Tensor, targets: ObjectTargets) -> np.ndarray:
        """What it costs to train a query of the object's image on the object, `(L, T, Q)`."""
        # A slice between two index arrays puts their dimension first: (T, L, Q).
        probabilities = logits.softmax(dim=-1)[:, targets.images, :, targets.classes].movedim(0, 1)
        distance, giou = _compare(boxes[:, targets.images], targets.boxes[:, None])  # (L, T, Q)
        config = self.config
        costs = config.bbox_cost * distance - config.class_cost * probabilities - config.giou_cost * giou
        return np.nan_to_num(costs.cpu().numpy(), nan=1e6)  # a network that gives NaN must not stop the program

    def _losses(
        self, logits: Tensor, boxes: Tensor, targets: ObjectTargets, queries: Tensor, objects: Tensor
    ) -> dict[str, Tensor]:
        """The three losses, each `(L,)`."""
        num_layers, num_matched = objects.shape
        images = targets.images[objects]
        matched = (torch.arange(num_layers, device=logits.device)[:, None], images, queries)
        classes = torch.full(logits.shape[:-1], logits.shape[-1] - 1, device=logits.device)
        classes[matched] = targets.classes[objects]
        class_weights = torch.ones(logits.shape[-1], device=logits.device)
        class_weights[-1] = self.config.eos_coefficient
        weight_sums = class_weights[classes].sum(dim=(1, 2))
        class_divisors, box_divisors = _over_processes(
            torch.stack((weight_sums, torch.full_like(weight_sums, num_matched)))
        )
        entropy = nn.functional.cross_entropy(logits.movedim(-1, 1), classes, class_weights, reduction="none")
        distance, giou = _compare(boxes[matched], targets.boxes[objects])  # (L, M)
        weights = targets.loss_weights[images]
        return {
            "loss_class": (entropy * targets.loss_weights[:, None]).sum(dim=(1, 2)) / class_divisors,
            "loss_bbox": (distance * weights).sum(dim=1) / box_divisors,
            "loss_giou": ((1 - giou) * weights).sum(dim=1) / box_divisors,
        }


def _compare(predicted: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """L1 distance and generalized IoU of boxes `(…, 4)` that broadcast, each `(…)`."""
    corners = center_to_corners_format(predicted), center_to_corners_format(wanted)
    return (predicted - wanted).abs().sum(dim=-1), generalized_box_iou(*corners)


def _over_processes(divisors: Tensor) -> Tensor:
    """Sums over all processes divided by the number of processes; where there is nothing to divide, not 0."""
    num_processes = 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        num_processes = torch.distributed.get_world_size()
        torch.distributed.all_reduce(divisors)
    return torch.where(divisors == 0, 1.0, divisors) / num_processes


def _name_layers(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    named = {}
    for name, values in losses.items():
        *earlier, named[name] = values
        named |= {f"{name}_{layer}": value for layer, value in enumerate(earlier)}
    return named
