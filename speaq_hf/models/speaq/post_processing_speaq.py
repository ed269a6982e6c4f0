# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""From the tensors of the model to scene graphs (Iterative Scene Graph Generation, NeurIPS 2022, inference).

The subjects and objects of all relation queries are pooled; class-aware non-maximum suppression decides which of them
are the objects of the image; every relation then connects the objects its own two boxes were merged into.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.image_transforms import center_to_corners_format

from .box_ops_speaq import box_area, box_iou
from .scene_graph_speaq import SceneGraph


# Of the model's outputs those that graphs are made of.
OUTPUT_NAMES = ("subject_logits", "object_logits", "predicate_logits", "subject_boxes", "object_boxes")


class RelationCandidates(NamedTuple):
    """What every relation query of a batch proposes, in float32. B images, R queries, M predicates per query.

    Pooled tensors hold the R subjects first, then the R objects.

    Args:
        boxes: `(B, 2R, 4)` pooled corners (x1, y1, x2, y2), relative to the un-padded image.
        labels: `(B, 2R)` pooled best classes, background excluded.
        scores: `(B, 2R)` their probabilities.
        predicates: `(B, R, M)` best predicates of every query, background excluded, best first.
        relation_scores: `(B, R, M)` subject x predicate x object probability.
        predicate_probabilities: `(B, R, P+1)` softmax over all predicates and background.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    predicates: Tensor
    relation_scores: Tensor
    predicate_probabilities: Tensor


def post_process_scene_graph(
    outputs: Any,
    target_sizes: Tensor | Sequence[tuple[int, int]],
    top_k: int | None = 100,
    predicates_per_query: int = 1,
    nms_threshold: float = 0.5,
    score_threshold: float = 0.0,
    id2label: Mapping[int, str] | None = None,
    id2predicate: Mapping[int, str] | None = None,
) -> list[SceneGraph]:
    """Turns the outputs of a scene graph model into one scene graph per image.

    Every object that survives suppression is in the graph, best first, also when `top_k` or `score_threshold` leaves
    it without a relation; `SceneGraph.top` and `SceneGraph.filter` drop such objects.

    Args:
        outputs: Object or mapping with `subject_logits` and `object_logits` `(B, R, C+1)`, `predicate_logits`
            `(B, R, P+1)`, all with background last, `subject_boxes` and `object_boxes` `(B, R, 4)` as
            (cx, cy, w, h) in [0, 1] of the un-padded image. One entry of `auxiliary_outputs` will do.
        target_sizes: (height, width) in pixels of each of the B images, the frame of the boxes of the result.
        top_k: Number of relations to keep per image, at least 1, counted after duplicates are gone; `None` keeps all.
        predicates_per_query: How many of its best predicates each query proposes, in [1, P].
        nms_threshold: Of two boxes of one class with a larger IoU the one with the lower score is merged into the other.
            In [0, 1]; 1 merges none.
        score_threshold: Lowest relation score (product of three probabilities) kept.
        id2label: Names of the C classes; `None`: LABEL_0, LABEL_1, ...
        id2predicate: Names of the P predicates; `None`: PREDICATE_0, PREDICATE_1, ...

    Returns:
        One graph per image, relations best first.

    Raises:
        ValueError: An output is missing, misshapen or not finite, or an argument is out of range.
        TypeError: An argument is not of the type above.
    """
    check_options(top_k, nms_threshold, score_threshold)
    candidates = relation_candidates(outputs, predicates_per_query)
    sizes = _check_target_sizes(target_sizes, batch_size=len(candidates.boxes))
    names = {
        "id2label": _names("id2label", id2label, _output(outputs, "subject_logits").shape[-1] - 1, "LABEL"),
        "id2predicate": _names(
            "id2predicate", id2predicate, candidates.predicate_probabilities.shape[-1] - 1, "PREDICATE"
        ),
    }
    graphs = []
    for image, size in zip(map(RelationCandidates._make, zip(*candidates, strict=True)), sizes, strict=True):
        kept, representative = class_aware_nms(image.boxes, image.scores, image.labels, nms_threshold)
        relations = _select_relations(image, representative, top_k, score_threshold)
        objects = {"labels": image.labels[kept], "scores": image.scores[kept]}
        boxes = scale_and_clip_boxes(image.boxes[kept], size)
        graphs.append(SceneGraph(boxes=boxes, **objects, **relations, image_size=size, **names))
    return graphs


def post_process_object_detection(
    outputs: Any,
    threshold: float = 0.5,
    target_sizes: Tensor | Sequence[tuple[int, int]] | None = None,
    nms_threshold: float = 0.5,
) -> list[dict[str, Tensor]]:
    """Takes the objects of the scene graphs alone, in the form that transformers' detectors have.

    Args:
        outputs: See `post_process_scene_graph`.
        threshold: Objects with a higher score are kept.
        target_sizes: (height, width) in pixels of each of the B images; `None` leaves boxes in [0, 1] of their image.
        nms_threshold: See `post_process_scene_graph`; unlike DETR's, the queries propose most objects several times.

    Returns:
        Per image `scores` `(n,)`, `labels` `(n,)` and `boxes` `(n, 4)` as (x1, y1, x2, y2), best first.

    Raises:
        ValueError: An output is missing, misshapen or not finite, or an argument is out of range.
        TypeError: An argument is not of the type above.
    """
    if target_sizes is None:
        target_sizes = [(1, 1)] * len(_output(outputs, "subject_logits"))
    graphs = post_process_scene_graph(outputs, target_sizes, nms_threshold=nms_threshold)
    return [_detections(graph, threshold) for graph in graphs]


def _detections(graph: SceneGraph, threshold: float) -> dict[str, Tensor]:
    kept = graph.scores > threshold
    return {"scores": graph.scores[kept], "labels": graph.labels[kept], "boxes": graph.boxes[kept]}


def relation_candidates(outputs: Any, predicates_per_query: int = 1) -> RelationCandidates:
    """Reads what every relation query proposes off the model's outputs.

    Args:
        outputs: See `post_process_scene_graph`.
        predicates_per_query: M, in [1, P].

    Returns:
        Classes, boxes, predicates and scores of all queries.

    Raises:
        ValueError: An output is missing, misshapen or not finite, or M is out of range.
        TypeError: M is not an integer.
    """
    subject, obj, predicate, subject_boxes, object_boxes = _check_outputs(outputs)
    num_predicates = predicate.shape[-1] - 1
    check_integer("predicates_per_query", predicates_per_query)
    if not 1 <= predicates_per_query <= num_predicates:
        raise ValueError(f"`predicates_per_query` must be in [1, {num_predicates}], got {predicates_per_query}.")
    subject_scores, subject_labels = subject[..., :-1].max(dim=-1)  # (B, R)
    object_scores, object_labels = obj[..., :-1].max(dim=-1)  # (B, R)
    # A stable sort, because `topk` does not say which of two equal scores comes first (half precision has many).
    predicate_scores, predicates = predicate[..., :-1].sort(dim=-1, descending=True, stable=True)
    predicate_scores, predicates = (t[..., :predicates_per_query] for t in (predicate_scores, predicates))  # (B, R, M)
    return RelationCandidates(
        boxes=center_to_corners_format(torch.cat([subject_boxes, object_boxes], dim=1)),
        labels=torch.cat([subject_labels, object_labels], dim=1),
        scores=torch.cat([subject_scores, object_scores], dim=1),
        predicates=predicates,
        relation_scores=subject_scores.unsqueeze(-1) * predicate_scores * object_scores.unsqueeze(-1),
        predicate_probabilities=predicate,
    )


def class_aware_nms(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> tuple[Tensor, Tensor]:
    """Exact greedy non-maximum suppression within each class, and the kept box every box is merged into.

    Greedy suppression is the only mask with `kept[j] = no i before j with kept[i] and IoU(i, j) > threshold`. Starting
    from "all kept" and applying this rule to all boxes at once settles the first box of every chain of overlaps in the
    first round, the second in the second round, and so on: the result is exact after as many rounds as the longest
    chain has boxes, usually three or four. Shifting classes apart by an offset, the usual trick, rounds the boxes
    and is not exact.

    Args:
        boxes: `(n, 4)` corners (x1, y1, x2, y2), any unit.
        scores: `(n,)`; of equal scores the earlier box goes first.
        labels: `(n,)` classes.
        iou_threshold: Suppress when IoU is larger than this.

    Returns:
        kept: `(N,)` indices of the boxes kept, by descending score.
        representative: `(n,)` for every box the index *into `kept`* of the box of its class it overlaps most.
    """
    first_copy = _first_copies(boxes, scores, labels, iou_threshold)
    distinct = (first_copy == torch.arange(len(boxes), device=boxes.device)).nonzero().flatten()
    order = distinct[scores[distinct].argsort(descending=True, stable=True)]
    order = order[labels[order].argsort(stable=True)]  # class by class, the best of each first
    is_kept, nearest = _suppress(boxes[order], labels[order], iou_threshold)
    kept = order[is_kept].sort().values
    kept = kept[scores[kept].argsort(descending=True, stable=True)]
    position, representative = torch.empty_like(first_copy), torch.empty_like(first_copy)
    position[kept] = torch.arange(len(kept), device=kept.device)
    representative[order] = position[order[nearest]]
    return kept, representative[first_copy]


def _suppress(boxes: Tensor, labels: Tensor, iou_threshold: float) -> tuple[Tensor, Tensor]:
    """Suppression among boxes `(n, 4)` that stand class by class, the best of each class first.

    Returns:
        Which are kept, `(n,)` bool, and the kept box of its class that each overlaps most, `(n,)`.
    """
    rivals, is_rival, place = _rivals(labels)
    # Moved, each corner is contiguous in memory.
    iou = box_iou(boxes[:, None], boxes.T.contiguous()[:, rivals].movedim(0, -1))
    iou.scatter_(1, place[:, None], 1.0)  # a box of no area, too, overlaps itself most
    comes_later = torch.arange(rivals.shape[1], device=boxes.device) > place[:, None]
    suppressors, columns = ((iou > iou_threshold) & is_rival & comes_later).nonzero(as_tuple=True)
    is_kept = _settle(suppressors, rivals[suppressors, columns], count=len(boxes))
    # Of equal overlaps `argmax` takes the first, the better box.
    nearest = iou.masked_fill_(~(is_rival & is_kept[rivals]), -1.0).argmax(dim=1, keepdim=True)
    return is_kept, rivals.gather(1, nearest)[:, 0]


def _first_copies(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """For every box the first of the equal ones that stand together with it, `(n,)`.

    A subject serves several relation queries: its copies would be suppressed by the first of them and merged into whatever
    that is merged into. Not so if nothing is suppressed, and boxes of no area suppress nothing.
    """
    equal = (boxes[1:] == boxes[:-1]).all(dim=1) & (scores[1:] == scores[:-1]) & (labels[1:] == labels[:-1])
    has_area = box_area(boxes[1:]) > 0
    is_copy = torch.zeros_like(labels, dtype=torch.bool)
    is_copy[1:] = equal & has_area & (iou_threshold < 1)
    indices = torch.arange(len(labels), device=labels.device)
    return indices.masked_fill(is_copy, 0).cummax(dim=0).values


def _rivals(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each of n boxes, sorted by class, all boxes of its class.

    Args:
        labels: `(n,)`, ascending.

    Returns:
        Their indices `(n, S)`, S the size of the largest class; which of the entries count, for smaller classes have fewer;
        and the place `(n,)` of each box among its own class.
    """
    counts = labels.unique_consecutive(return_counts=True)[1]
    sizes = counts.repeat_interleave(counts)
    starts = (counts.cumsum(dim=0) - counts).repeat_interleave(counts)
    indices = torch.arange(len(labels), device=labels.device)
    columns = torch.arange(max(counts.tolist(), default=1), device=labels.device)
    rivals = (starts[:, None] + columns).clamp_(max=max(len(labels) - 1, 0))
    return rivals, columns < sizes[:, None], indices - starts


def _settle(suppressors: Tensor, suppressed: Tensor, count: int) -> Tensor:
    """The mask `(count,)` that says of every box whether no kept box suppresses it; suppressors come before their boxes."""
    kept, settled = torch.ones(count, dtype=torch.bool, device=suppressors.device), False
    while not settled:
        previous, kept = kept, torch.ones_like(kept)
        kept[suppressed[previous[suppressors]]] = False
        settled = torch.equal(previous, kept)
    return kept


def scale_and_clip_boxes(boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Scales relative corners `(..., 4)` to pixels of an image of `image_size` (height, width), and clips them to it."""
    height, width = image_size
    limit = boxes.new_tensor([width, height, width, height])
    return (boxes * limit).clamp(min=boxes.new_zeros(4), max=limit)


def _select_relations(
    image: RelationCandidates, representative: Tensor, top_k: int | None, score_threshold: float
) -> dict[str, Tensor]:
    """Relation fields of the graph of one image (candidates without their batch dimension)."""
    num_queries, per_query = image.predicates.shape
    queries = torch.arange(num_queries, device=representative.device).repeat_interleave(per_query)
    scores, order = image.relation_scores.flatten().sort(descending=True, stable=True)
    queries = queries[order]
    relations = torch.stack(
        [representative[queries], representative[queries + num_queries], image.predicates.flatten()[order]], dim=1
    )
    selected = _first_occurrences(relations)
    selected = selected[scores[selected] >= score_threshold][:top_k]
    return {
        "relations": relations[selected],
        "relation_scores": scores[selected],
        "predicate_probabilities": image.predicate_probabilities[queries[selected]],
        "query_indices": queries[selected],
    }


def _first_occurrences(rows: Tensor) -> Tensor:
    """Ascending indices of those rows `(n, d)` of numbers from 0 that equal no earlier row."""
    if not len(rows):
        return rows.new_zeros(0)
    # As one number each, which is sorted much faster than rows are.
    sizes = rows.amax(dim=0) + 1
    keys = rows[:, 0]
    for column in range(1, rows.shape[1]):
        keys = keys * sizes[column] + rows[:, column]
    sorted_keys, order = keys.sort(stable=True)
    is_first = torch.ones_like(keys, dtype=torch.bool)
    is_first[1:] = sorted_keys[1:] != sorted_keys[:-1]
    return order[is_first].sort().values


def check_options(top_k: int | None, nms_threshold: float, score_threshold: float) -> None:
    """Checks options of `post_process_scene_graph`, which describes them.

    Raises:
        ValueError: One is out of range.
        TypeError: One is no number.
    """
    if top_k is not None:
        check_integer("top_k", top_k)
        if top_k < 1:
            raise ValueError(f"`top_k` must be at least 1, or None to keep all relations, got {top_k}.")
    for name, value in (("nms_threshold", nms_threshold), ("score_threshold", score_threshold)):
        if not isinstance(value, Real):
            raise TypeError(f"`{name}` must be a number, got {type(value).__name__}.")
    if not 0 <= nms_threshold <= 1:
        raise ValueError(f"`nms_threshold` must be an IoU in [0, 1] (1 merges no boxes), got {nms_threshold}.")
    if not math.isfinite(score_threshold):
        raise ValueError(f"`score_threshold` must be finite (0 keeps every relation), got {score_threshold}.")


def check_integer(argument: str, value: Any) -> None:
    """Checks that an argument is an integer, of Python or numpy.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"`{argument}` must be an integer, got {value!r}.")


def _output(outputs: Any, name: str) -> Tensor:
    value = outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)
    if value is None:
        raise ValueError(f"The model outputs have no `{name}`; post-processing needs {', '.join(OUTPUT_NAMES)}.")
    return value


def _check_outputs(outputs: Any) -> tuple[Tensor, ...]:
    """Probabilities of subjects, objects and predicates, subject boxes and object boxes, in float32."""
    values = {name: _output(outputs, name).detach().float() for name in OUTPUT_NAMES}
    leading = values["subject_logits"].shape[:2]
    for name, value in values.items():
        if value.dim() != 3 or value.shape[:2] != leading or (name.endswith("boxes") and value.shape[2] != 4):
            raise ValueError(
                f"Expected `{name}` of shape (batch, relation queries, {4 if name.endswith('boxes') else 'classes + 1'})"
                f" with the first two as in `subject_logits` {tuple(leading)}, got {tuple(value.shape)}."
            )
    if values["subject_logits"].shape != values["object_logits"].shape:
        raise ValueError("`subject_logits` and `object_logits` must have the same number of classes.")
    finite = {name: v.softmax(dim=-1) if name.endswith("logits") else v for name, v in values.items()}
    for name, value in finite.items():
        images = (~value.isfinite()).flatten(1).any(dim=1).nonzero().flatten().tolist()
        if images:
            raise ValueError(f"`{name}` is not finite (nan or inf) for image(s) {images} of the batch.")
    return tuple(finite.values())


def _check_target_sizes(target_sizes: Tensor | Sequence[tuple[int, int]], batch_size: int) -> list[tuple[int, int]]:
    rows = target_sizes.tolist() if isinstance(target_sizes, Tensor) else target_sizes
    try:
        sizes = [tuple(float(side) for side in size) for size in rows]
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`target_sizes` must be a sequence or tensor of (height, width), one per image, got {target_sizes!r}."
        ) from error
    if len(sizes) != batch_size:
        raise ValueError(
            f"`target_sizes` must hold one (height, width) for each of {batch_size} images, got {len(sizes)}."
        )
    for index, size in enumerate(sizes):
        if len(size) != 2 or not all(side >= 1 and side.is_integer() for side in size):
            raise ValueError(
                f"`target_sizes[{index}]` must be (height, width) in whole pixels, each at least 1, got {size}."
            )
    return [(int(height), int(width)) for height, width in sizes]


def _names(argument: str, names: Mapping[int, str] | None, count: int, prefix: str) -> dict[int, str]:
    if names is None:
        return {index: f"{prefix}_{index}" for index in range(count)}
    names = check_names(argument, names)
    if len(names) != count:
        raise ValueError(f"`{argument}` names {len(names)} classes but the model predicts {count}.")
    return names


def check_names(argument: str, names: Mapping[int | str, str]) -> dict[int, str]:
    """Names of classes with integer keys, also when JSON made strings of them.

    Args:
        argument: What the names are called in messages.
        names: Names of n classes by index.

    Returns:
        The same by integers.

    Raises:
        TypeError: `names` is no mapping.
        ValueError: The keys are not 0 to n-1.
    """
    if not isinstance(names, Mapping):
        raise TypeError(f"`{argument}` must be a dict from index to name, got {type(names).__name__}.")
    if set(map(str, names)) != set(map(str, range(len(names)))):
        raise ValueError(
            f"`{argument}` must map 0, 1, 2, … to names without gaps, as the model counts its classes from 0, got keys "
            f"{list(names)[:20]}."
        )
    return {int(index): name for index, name in names.items()}
