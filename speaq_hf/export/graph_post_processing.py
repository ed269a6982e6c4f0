# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Post-processing as part of an exported model: the same graphs as `post_processing_speaq`, in tensors of fixed shape.

What is chosen there is put first here and counted: exported programs cannot return one tensor per image. Shapes: B images,
R relation queries, n = 2R boxes (subjects first, then objects), M predicates per query, K relations kept at most.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch._higher_order_ops.while_loop import while_loop
from transformers.image_transforms import center_to_corners_format

from ..models.speaq.box_ops_speaq import box_iou
from ..predictor import GraphOptions


# In the order of `forward`'s results.
GRAPH_OUTPUTS = (
    "boxes",
    "labels",
    "scores",
    "num_objects",
    "relations",
    "relation_scores",
    "predicate_probabilities",
    "query_indices",
    "num_relations",
)


class _Pool(NamedTuple):
    """Boxes of all queries, best first: corners `(B, n, 4)`, labels and scores `(B, n)`, and their places before `(B, n)`."""

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    order: Tensor


class GraphPostProcessing(nn.Module):
    """Turns a model's predictions into scene graphs without shapes that depend on numbers.

    Args:
        options: Which relations are kept.
    """

    def __init__(self, options: GraphOptions) -> None:
        super().__init__()
        self.options = options

    def forward(
        self,
        subject_logits: Tensor,
        object_logits: Tensor,
        predicate_logits: Tensor,
        subject_boxes: Tensor,
        object_boxes: Tensor,
        target_sizes: Tensor,
    ) -> tuple[Tensor, ...]:
        """Choose objects and relations.

        Args:
            subject_logits: `(B, R, C+1)`, background last.
            object_logits: `(B, R, C+1)`.
            predicate_logits: `(B, R, P+1)`.
            subject_boxes: `(B, R, 4)`, (cx, cy, w, h) in [0, 1].
            object_boxes: `(B, R, 4)`.
            target_sizes: `(B, 2)`, int64 (height, width) in pixels of the original images.

        Returns:
            The fields of a scene graph as `GRAPH_OUTPUTS` names them: of objects `(B, n, …)`, of relations `(B, K, …)`, both
            best first, of which the first `num_objects` and `num_relations` `(B,)` count; the others are 0.
        """
        subject_scores, subject_labels = subject_logits.softmax(-1)[..., :-1].max(dim=-1)
        object_scores, object_labels = object_logits.softmax(-1)[..., :-1].max(dim=-1)
        pool = _pool(
            center_to_corners_format(torch.cat((subject_boxes, object_boxes), dim=1)),
            torch.cat((subject_labels, object_labels), dim=1),
            torch.cat((subject_scores, object_scores), dim=1),
        )
        same_class = pool.labels[:, :, None] == pool.labels[:, None, :]
        iou = box_iou(pool.boxes[:, :, None], pool.boxes[:, None])
        kept = _settle((iou > self.options.nms_threshold) & same_class & _is_earlier(iou))
        representative = _representatives(iou, same_class & kept[:, None, :], kept, pool.order)
        probabilities = predicate_logits.softmax(-1)
        relations = self._relations(probabilities, subject_scores, object_scores, representative)
        return (*_objects(pool, kept, target_sizes), *relations)

    def _relations(
        self, probabilities: Tensor, subject_scores: Tensor, object_scores: Tensor, representative: Tensor
    ) -> tuple[Tensor, ...]:
        """Relations `(B, K, 3)`, their scores, predicate probabilities, queries, and how many count `(B,)`."""
        num_queries, num_predicates = probabilities.shape[1], probabilities.shape[2] - 1
        per_query = self.options.predicates_per_query
        predicate_scores, predicates = probabilities[..., :-1].sort(dim=-1, descending=True, stable=True)
        scores = subject_scores[..., None] * predicate_scores[..., :per_query] * object_scores[..., None]
        scores, order = scores.flatten(1).sort(dim=-1, descending=True, stable=True)  # (B, R·M)
        queries = order // per_query
        predicates = predicates[..., :per_query].flatten(1).gather(1, order)
        subjects = representative.gather(1, queries)
        objects = representative.gather(1, queries + num_queries)
        keys = (subjects * representative.shape[1] + objects) * num_predicates + predicates
        counted = _is_first(keys) & (scores >= self.options.threshold)
        chosen, count = _counted_first(counted, self.options.top_k)
        is_one = torch.arange(chosen.shape[1], device=chosen.device) < count[:, None]
        fields = [field.gather(1, chosen) * is_one for field in (subjects, objects, predicates, scores, queries)]
        subjects, objects, predicates, scores, queries = fields
        rows = queries[..., None].expand(-1, -1, num_predicates + 1)
        chosen_probabilities = probabilities.gather(1, rows) * is_one[..., None]
        return torch.stack((subjects, objects, predicates), dim=-1), scores, chosen_probabilities, queries, count


def _pool(boxes: Tensor, labels: Tensor, scores: Tensor) -> _Pool:
    scores, order = scores.sort(dim=-1, descending=True, stable=True)
    return _Pool(boxes.gather(1, order[..., None].expand(-1, -1, 4)), labels.gather(1, order), scores, order)


def _is_earlier(pairs: Tensor) -> Tensor:
    """`(n, n)`: whether the row comes before the column."""
    index = torch.arange(pairs.shape[-1], device=pairs.device)
    return index[:, None] < index


def _settle(suppresses: Tensor) -> Tensor:
    """Which boxes `(B, n)` remain when every remaining box suppresses its columns of `(B, n, n)`; see `class_aware_nms`."""
    weights = suppresses.float()

    def is_unsettled(previous: Tensor, kept: Tensor) -> Tensor:
        return (previous != kept).float().sum() > 0

    def suppress(previous: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        return kept.clone(), ((kept[:, None] @ weights).squeeze(1) < 0.5).float()

    start = torch.ones(weights.shape[:2], device=weights.device)
    state = (start - 1, start)
    if torch.compiler.is_compiling():  # so does an exporter call itself
        state = while_loop(is_unsettled, suppress, state)
    else:
        while is_unsettled(*state):
            state = suppress(*state)
    return state[1] > 0.5


def _representatives(iou: Tensor, candidates: Tensor, kept: Tensor, order: Tensor) -> Tensor:
    """For every pooled box `(B, n)`, in the model's order, the place among the kept ones of that which it overlaps most."""
    itself = torch.eye(iou.shape[-1], dtype=torch.bool, device=iou.device)
    iou = torch.where(itself, 1.0, iou)  # a box of no area, too, overlaps itself most
    nearest = torch.where(candidates, iou, -1.0).argmax(dim=-1)
    place = kept.long().cumsum(dim=-1) - 1
    return torch.zeros_like(order).scatter(1, order, place.gather(1, nearest))


def _objects(pool: _Pool, kept: Tensor, target_sizes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes in pixels, labels and scores, the kept ones first, and how many these are."""
    chosen, count = _counted_first(kept, None)
    is_one = torch.arange(chosen.shape[1], device=chosen.device) < count[:, None]
    height, width = target_sizes.to(pool.boxes.dtype).unbind(-1)
    limit = torch.stack((width, height, width, height), dim=-1)[:, None]
    boxes = pool.boxes.gather(1, chosen[..., None].expand(-1, -1, 4)) * limit
    boxes = torch.minimum(boxes.clamp(min=0), limit) * is_one[..., None]
    return boxes, pool.labels.gather(1, chosen) * is_one, pool.scores.gather(1, chosen) * is_one, count


def _is_first(keys: Tensor) -> Tensor:
    """Which of `(B, k)` equal none before them."""
    keys, order = keys.sort(dim=-1, stable=True)
    is_new = torch.cat((torch.ones_like(keys[:, :1], dtype=torch.bool), keys[:, 1:] != keys[:, :-1]), dim=1)
    return torch.zeros_like(order).scatter(1, order, is_new.long()) > 0


def _counted_first(counted: Tensor, most: int | None) -> tuple[Tensor, Tensor]:
    """Indices `(B, k)` of `counted` `(B, k)`, the true ones first in their order, and how many these are; `most` at most."""
    order = counted.long().sort(dim=-1, descending=True, stable=True).indices[:, :most]
    return order, counted.long().sum(dim=-1).clamp(max=order.shape[1])
