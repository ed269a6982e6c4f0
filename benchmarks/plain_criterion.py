# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Assignment and loss as ports of DETR write them: layer after layer, image after image, every cost matrix for the whole
batch, and one loss after the other. Equal in output to `SpeaQCriterion`, which is measured beside it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import cross_entropy, l1_loss
from transformers.image_transforms import center_to_corners_format

from speaq_hf import SpeaQConfig
from speaq_hf.models.speaq.loss_speaq import RelationAssigner, SpeaQCriterion, span_relation_boxes


Outputs = dict[str, Tensor]
Target = dict[str, Tensor]
Match = tuple[Tensor, Tensor, Tensor]

STREAMS = (("subject", "class_subject"), ("object", "class_object"), ("relation", "predicate"))
LOGITS = {"subject": "subject_logits", "object": "object_logits", "relation": "predicate_logits"}


def pairwise_iou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalized IoU of every box `(n, 4)` in corner form with every other `(m, 4)`: two of `(n, m)`."""
    areas = [(boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1) for boxes in (a, b)]
    top_left, bottom_right = torch.max(a[:, None, :2], b[None, :, :2]), torch.min(a[:, None, 2:], b[None, :, 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=2)
    union = areas[0][:, None] + areas[1][None] - intersection
    hull = torch.max(a[:, None, 2:], b[None, :, 2:]) - torch.min(a[:, None, :2], b[None, :, :2])
    hull = hull.clamp(min=0).prod(dim=2)
    iou = torch.where(union > 0, intersection / union, 0.0)
    return iou, iou - torch.where(hull > 0, (hull - union) / hull, 0.0)


def prepare_targets(labels: Sequence[dict[str, Any]]) -> list[Target]:
    """Classes and boxes of the ends of every relation, for each image."""
    targets = []
    for label in labels:
        subject, object_, predicate = label["relations"].unbind(dim=1)
        boxes = {"subject_boxes": label["boxes"][subject], "object_boxes": label["boxes"][object_]}
        targets.append(
            boxes
            | {"relation_boxes": span_relation_boxes(*boxes.values())}
            | {
                "subject": label["class_labels"][subject],
                "object": label["class_labels"][object_],
                "relation": predicate,
            }
        )
    return targets


@dataclass
class PlainMatcher:
    """Matches one layer.

    Args:
        options: What the assigner of the package is told.
    """

    options: RelationAssigner

    @torch.no_grad()
    def __call__(self, outputs: Outputs, targets: list[Target]) -> list[Match]:
        """Queries, relations and copies for each image."""
        batch_size, num_queries = outputs["subject_logits"].shape[:2]
        cost = self._cost(outputs, targets).view(batch_size, num_queries, -1).cpu()
        sizes = [len(target["relation"]) for target in targets]
        matches = []
        for image, (part, target) in enumerate(zip(cost.split(sizes, dim=-1), targets, strict=True)):
            outside = self._outside(num_queries, target["relation"])
            copies = self._copies({name: values[image] for name, values in outputs.items()}, target, outside)
            relation_of_copy = torch.arange(len(copies)).repeat_interleave(copies)
            matrix = (part[image] + outside * 1e6)[:, relation_of_copy]
            queries, columns = linear_sum_assignment(matrix)
            matches.append((torch.as_tensor(queries), relation_of_copy[torch.as_tensor(columns)], copies))
        return matches

    def _cost(self, outputs: Outputs, targets: list[Target]) -> Tensor:
        """`(B·R, T)`: every query of the batch with every relation of the batch."""
        cost = 0.0
        for stream, _ in STREAMS:
            probabilities = outputs[LOGITS[stream]].flatten(0, 1).softmax(dim=-1)
            boxes = outputs[f"{stream}_boxes"].flatten(0, 1)
            classes = torch.cat([target[stream] for target in targets])
            wanted = torch.cat([target[f"{stream}_boxes"] for target in targets])
            _, giou = pairwise_iou(center_to_corners_format(boxes), center_to_corners_format(wanted))
            cost = cost - self.options.class_cost * probabilities[:, classes]
            cost = cost + self.options.bbox_cost * torch.cdist(boxes, wanted, p=1) - self.options.giou_cost * giou
        return cost

    def _outside(self, num_queries: int, predicates: Tensor) -> Tensor:
        """Which query is outside the group of which relation, `(R, r)`."""
        if self.options.predicate_to_group is None:
            return torch.zeros(num_queries, len(predicates), dtype=torch.bool)
        sizes = torch.tensor(self.options.query_groups)
        query_to_group = torch.arange(len(sizes)).repeat_interleave(sizes)
        return query_to_group[:, None] != torch.tensor(self.options.predicate_to_group)[predicates]

    def _copies(self, outputs: Outputs, target: Target, outside: Tensor) -> Tensor:
        """How often each relation of one image is repeated, `(r,)`."""
        options, num_relations = self.options, len(target["relation"])
        if options.scheme != "dynamic":
            return torch.full((num_relations,), options.topk if options.scheme == "static" else 1)
        subject, object_ = (
            pairwise_iou(
                center_to_corners_format(outputs[f"{stream}_boxes"]),
                center_to_corners_format(target[f"{stream}_boxes"]),
            )[0]
            for stream in ("subject", "object")
        )
        joined = {
            "max": torch.max(subject, object_),
            "min": torch.min(subject, object_),
            "geometric_mean": (subject * object_).sqrt(),
            "mean": (subject + object_) / 2,
        }
        quality = joined[options.quality] * ~outside
        if options.predicate_weight is not None:
            probabilities = outputs["predicate_logits"].softmax(dim=-1)[:, target["relation"]]
            quality = quality + options.predicate_weight * probabilities
        best = quality.topk(min(options.topk, len(quality)), dim=0).values.sum(dim=0)
        return best.int().clamp(min=1).long()


class PlainCriterion:
    """The loss of a model whose configuration matches every layer on its own and weighs all images alike.

    Args:
        config: The model's.
    """

    def __init__(self, config: SpeaQConfig) -> None:
        self.options = SpeaQCriterion.from_config(config)
        self.matcher = PlainMatcher(self.options.assigner)

    def __call__(
        self, layers: Sequence[Outputs], labels: Sequence[dict[str, Any]]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Total and every term, named as `SpeaQCriterion` does."""
        losses: dict[str, Tensor] = {}
        for index, outputs in enumerate(layers):
            suffix = "" if index == len(layers) - 1 else f"_{index}"
            targets = prepare_targets(copy.deepcopy(labels))
            matches = self.matcher(outputs, targets)
            for stream, name in STREAMS:
                losses[f"loss_{name}{suffix}"] = self._class_loss(stream, outputs, targets, matches)
                bbox, giou = self._box_losses(stream, outputs, targets, matches)
                losses[f"loss_bbox_{stream}{suffix}"], losses[f"loss_giou_{stream}{suffix}"] = bbox, giou
        coefficients = self.options.coefficients
        total = sum(coefficients[name.rstrip("_0123456789")] * value for name, value in losses.items())
        return total, losses

    def _class_loss(self, stream: str, outputs: Outputs, targets: list[Target], matches: list[Match]) -> Tensor:
        logits = outputs[LOGITS[stream]].float()
        weights = torch.ones(logits.shape[-1])
        weights[-1] = self.options.eos_coefficient
        if stream == "relation":
            weights = torch.tensor(self.options.predicate_weights)
        classes = torch.full(logits.shape[:2], logits.shape[-1] - 1)
        for image, (target, (queries, relations, _)) in enumerate(zip(targets, matches, strict=True)):
            classes[image, queries] = target[stream][relations]
        return cross_entropy(logits.transpose(1, 2), classes, weights)

    def _box_losses(
        self, stream: str, outputs: Outputs, targets: list[Target], matches: list[Match]
    ) -> tuple[Tensor, Tensor]:
        boxes = outputs[f"{stream}_boxes"]
        predicted = torch.cat([boxes[image][queries] for image, (queries, _, _) in enumerate(matches)])
        pairs = zip(targets, matches, strict=True)
        wanted = torch.cat([target[f"{stream}_boxes"][relations] for target, (_, relations, _) in pairs])
        number = max(len(wanted), 1)
        _, giou = pairwise_iou(center_to_corners_format(predicted), center_to_corners_format(wanted))
        return l1_loss(predicted, wanted, reduction="sum") / number, (1 - giou.diag()).sum() / number
