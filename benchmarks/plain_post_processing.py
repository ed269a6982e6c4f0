# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Post-processing in plain loops over images, classes, boxes and relations, equal in output to ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from speaq_hf import SceneGraph
from speaq_hf.models.speaq.box_ops_speaq import box_iou


def plain_scene_graph(
    outputs: Mapping[str, Any],
    target_sizes: Sequence[tuple[int, int]],
    top_k: int | None = 100,
    predicates_per_query: int = 1,
    nms_threshold: float = 0.5,
    score_threshold: float = 0.0,
    id2label: Mapping[int, str] | None = None,
    id2predicate: Mapping[int, str] | None = None,
) -> list[SceneGraph]:
    """One scene graph per image; arguments and result as of `post_process_scene_graph`, which checks them in addition."""
    names = {
        "id2label": id2label or _numbered("LABEL", outputs["subject_logits"]),
        "id2predicate": id2predicate or _numbered("PREDICATE", outputs["predicate_logits"]),
    }
    graphs = []
    for index, (height, width) in enumerate(target_sizes):
        image = {name: outputs[name][index].detach().float() for name in outputs if name.endswith(("logits", "boxes"))}
        subject, object_ = (_best(image[f"{name}_logits"]) for name in ("subject", "object"))
        boxes = _corners(torch.cat((image["subject_boxes"], image["object_boxes"])))
        scores, labels = (torch.cat(pair) for pair in zip(subject, object_, strict=True))
        kept, nearest = plain_suppression(boxes, scores, labels, nms_threshold)
        probabilities = image["predicate_logits"].softmax(dim=-1)
        best, predicates = probabilities[:, :-1].sort(dim=-1, descending=True, stable=True)
        best, predicates = best[:, :predicates_per_query], predicates[:, :predicates_per_query]
        relation_scores = subject[0][:, None] * best * object_[0][:, None]
        chosen = _choose(relation_scores, predicates, nearest, top_k, score_threshold)
        limit = torch.tensor([width, height, width, height], dtype=torch.float32)
        graphs.append(
            SceneGraph(
                boxes=(boxes[kept] * limit).clamp(min=torch.zeros(4), max=limit),
                labels=labels[kept],
                scores=scores[kept],
                predicate_probabilities=probabilities[chosen["query_indices"]],
                image_size=(height, width),
                **chosen,
                **names,
            )
        )
    return graphs


def _numbered(prefix: str, logits: Tensor) -> dict[int, str]:
    return {index: f"{prefix}_{index}" for index in range(logits.shape[-1] - 1)}


def _best(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Probability and index of the best class of each row, background excluded."""
    best = logits.softmax(dim=-1)[:, :-1].max(dim=-1)
    return best.values, best.indices


def _corners(boxes: Tensor) -> Tensor:
    x, y, width, height = boxes.unbind(-1)
    return torch.stack((x - 0.5 * width, y - 0.5 * height, x + 0.5 * width, y + 0.5 * height), dim=-1)


def plain_suppression(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Greedy suppression, class after class and box after box; arguments and result as of `class_aware_nms`."""
    order = scores.argsort(descending=True, stable=True)
    is_kept = torch.zeros(len(boxes), dtype=torch.bool)
    nearest = torch.zeros(len(boxes), dtype=torch.long)
    for label in labels.unique():
        members = order[labels[order] == label]
        overlap = box_iou(boxes[members][:, None], boxes[members])
        overlap.fill_diagonal_(1.0)
        kept: list[int] = []
        suppressed = torch.zeros(len(members), dtype=torch.bool)
        for position in range(len(members)):
            if not suppressed[position]:
                kept.append(position)
                suppressed |= overlap[position] > threshold
        is_kept[members[kept]] = True
        nearest[members] = members[kept][overlap[:, kept].argmax(dim=1)]
    kept_boxes = [index for index in order.tolist() if is_kept[index]]
    places = {index: place for place, index in enumerate(kept_boxes)}
    representative = [places[index] for index in nearest.tolist()]
    return torch.tensor(kept_boxes, dtype=torch.long), torch.tensor(representative, dtype=torch.long)


def _choose(
    scores: Tensor, predicates: Tensor, nearest: Tensor, top_k: int | None, score_threshold: float
) -> dict[str, Tensor]:
    """The best relations, each triplet once.

    Args:
        scores: `(R, M)`.
        predicates: `(R, M)`.
        nearest: `(2R,)` object that each subject, then each object was merged into.
        top_k: Relations at most.
        score_threshold: Lowest score.
    """
    num_queries, per_query = scores.shape
    order = scores.flatten().argsort(descending=True, stable=True).tolist()
    objects, classes, values = nearest.tolist(), predicates.flatten().tolist(), scores.flatten().tolist()
    seen: set[tuple[int, int, int]] = set()
    rows, chosen = [], []
    for candidate in order:
        query = candidate // per_query
        row = (objects[query], objects[query + num_queries], classes[candidate])
        if row in seen or values[candidate] < score_threshold:
            continue
        if top_k is not None and len(rows) == top_k:
            break
        seen.add(row)
        rows.append(row)
        chosen.append(candidate)
    chosen = torch.tensor(chosen, dtype=torch.long)
    return {
        "relations": torch.tensor(rows, dtype=torch.long).reshape(-1, 3),
        "relation_scores": scores.flatten()[chosen],
        "query_indices": chosen // per_query,
    }
