# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Assignment of relations to queries and the training loss of SpeaQ (arXiv 2403.17709) and Iterative SGG.

Shapes: B images, R relation queries, C object classes, P predicates, L decoder layers; r relations in one image, T in
the whole batch, M matched (query, relation) pairs. Everything is computed in float32 or better, also under autocast.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from transformers.image_transforms import center_to_corners_format
from transformers.utils import logging, requires_backends

from .box_ops_speaq import box_planes, compare_planes, generalized_box_iou
from .configuration_speaq import SpeaQConfig
from .query_matching_speaq import MatchedPairs, QueryBlock, cut_blocks


logger = logging.get_logger(__name__)

Assignment = tuple[Tensor, Tensor, Tensor]
LayerOutputs = dict[str, Tensor]

# Boxes of relations and queries that are compared at once: bounds the memory, whatever the number of relations.
_PAIRS_AT_ONCE = 2**18
# Below this width or height, in units of the image, two centres coincide up to float32 rounding.
_DEGENERATE_SIDE = 1e-6


def cut_predicate_groups(counts: Sequence[float], num_groups: int) -> list[list[int]]:
    """Cut predicates into groups of similar total frequency (SpeaQ section 3.2).

    Each group takes the most frequent remaining predicates while their sum stays below half of what remains; the last
    group takes the rest. A predicate that alone has half of what remains leaves groups empty, as in the published
    program: the predicates are then too few or too uneven for so many groups.

    Args:
        counts: Frequency of each predicate, `(P,)`.
        num_groups: Number of groups.

    Returns:
        Predicate indices of each group, most frequent first.
    """
    remaining = sorted(range(len(counts)), key=lambda predicate: -counts[predicate])
    groups = []
    for _ in range(num_groups - 1):
        half = math.floor(sum(counts[predicate] for predicate in remaining) / 2)
        sums = itertools.accumulate(counts[predicate] for predicate in remaining)
        size = sum(1 for _ in itertools.takewhile(lambda total, half=half: total < half, sums))
        groups.append(remaining[:size])
        remaining = remaining[size:]
    return [*groups, remaining]


def cut_query_groups(counts: Sequence[float], groups: Sequence[Sequence[int]], num_queries: int) -> list[int]:
    """Share queries among predicate groups in proportion to their total frequency (SpeaQ section 3.2).

    Args:
        counts: Frequency of each predicate, `(P,)`.
        groups: Predicate indices of each group.
        num_queries: Queries to share, N.

    Returns:
        Number of queries of each group; shares are rounded down and what is missing goes to the rarer groups.
    """
    total = sum(counts)
    shares = [sum(counts[p] for p in group) / total if total else 1 / len(groups) for group in groups]
    sizes = [math.floor(num_queries * share) for share in shares]
    quotient, remainder = divmod(num_queries - sum(sizes), len(groups))
    return [size + quotient + (index >= len(groups) - remainder) for index, size in enumerate(sizes)]


def reweight_predicates(
    counts: Sequence[float], alpha: float, beta: float, background: float, bounded: bool = False
) -> list[float]:
    """Class weights of the predicate loss: max(sqrt(α / (f + 1e-5)), 1)^(2β) for a predicate with training share f.

    Args:
        counts: Training frequency of each predicate, `(P,)`. Unusable counts (not finite, negative, all zero) give
            uniform weights and a warning.
        alpha: Share below which a predicate weighs more than 1. α = β = 0 weighs all alike.
        beta: Strength.
        background: Weight of "no relation".
        bounded: Whether to use the formula of the published code for mixed training, sqrt(α / (max(f, 1e-3) + 1e-3))^(2β):
            frequent predicates may weigh less than 1, rare ones at most (500 α)^β.

    Returns:
        P+1 weights, background last.
    """
    total = sum(counts)
    if not math.isfinite(total) or total <= 0 or min(counts) < 0:
        logger.warning_once(
            "Predicate counts are unusable (not finite, negative or all zero): all predicates weigh 1."
        )
        return [1.0] * len(counts) + [background]
    shares = [count / total for count in counts]
    if bounded:
        weights = [math.sqrt(max(alpha / (max(share, 1e-3) + 1e-3), 1e-6)) ** (2 * beta) for share in shares]
    else:
        weights = [max(math.sqrt(alpha / (share + 1e-5)), 1.0) ** (2 * beta) for share in shares]
    return [*weights, background]


def span_relation_boxes(subject_boxes: Tensor, object_boxes: Tensor) -> Tensor:
    """Boxes whose opposite corners are the centres of subject and object; the subject's box where that is degenerate.

    Args:
        subject_boxes: `(..., 4)`, (cx, cy, w, h) in [0, 1].
        object_boxes: `(..., 4)`, (cx, cy, w, h) in [0, 1].

    Returns:
        `(..., 4)`, (cx, cy, w, h) in [0, 1].
    """
    sides = (subject_boxes[..., :2] - object_boxes[..., :2]).abs()
    boxes = torch.cat(((subject_boxes[..., :2] + object_boxes[..., :2]) / 2, sides), dim=-1)
    degenerate = (sides <= _DEGENERATE_SIDE).any(dim=-1, keepdim=True)
    return torch.where(degenerate, subject_boxes, boxes)


@dataclass
class RelationTargets:
    """The relations of a batch, image after image.

    Args:
        labels: Classes of subject, object and predicate, `(3, T)`.
        boxes: Boxes of subject, object and relation, `(3, T, 4)`, (cx, cy, w, h) in [0, 1].
        counts: Relations of each image, B numbers.
        loss_weights: Weight of each image, `(B,)`.
        predicates: Class of each predicate, T numbers on the CPU.
    """

    labels: Tensor
    boxes: Tensor
    counts: list[int]
    loss_weights: Tensor
    predicates: list[int]

    @classmethod
    def from_labels(
        cls, labels: Sequence[Mapping[str, Any]], num_labels: int, num_predicates: int, device: torch.device
    ) -> "RelationTargets":
        """Gather the ends of every relation.

        Args:
            labels: One dict per image, see [`SpeaQForSceneGraphGeneration.forward`].
            num_labels: Object classes C.
            num_predicates: Predicates P.
            device: Where the targets go.

        Raises:
            ValueError: Naming the image and the field whose layout or values are wrong.
            TypeError: Naming the image, or the field of integers that holds other values.
        """
        # On the CPU because the checks look at values, which would stop an accelerator.
        images = [_read_label(label, image) for image, label in enumerate(labels)]
        weights = [_loss_weight(label, image) for image, label in enumerate(labels)]
        classes, boxes, relations = (torch.cat(parts) for parts in zip(*images, strict=True))
        num_boxes, counts = (classes.new_tensor([len(parts[field]) for parts in images]) for field in (1, 2))
        _check_values(classes, boxes, relations, num_boxes, counts, num_labels, num_predicates)
        first_boxes = (num_boxes.cumsum(0) - num_boxes).repeat_interleave(counts)
        subject, object_ = (relations[:, :2] + first_boxes[:, None]).unbind(dim=1)
        spanned = span_relation_boxes(boxes[subject], boxes[object_])
        return cls(
            labels=torch.stack((classes[subject], classes[object_], relations[:, 2])).to(device),
            boxes=torch.stack((boxes[subject], boxes[object_], spanned)).to(device),
            counts=counts.tolist(),
            loss_weights=torch.tensor(weights, dtype=torch.float32, device=device),
            predicates=relations[:, 2].tolist(),
        )


# Name -> size of the last dimension (none for one value per row) and dtype.
_LABEL_FIELDS = {"class_labels": ((), torch.int64), "boxes": ((4,), torch.float32), "relations": ((3,), torch.int64)}


def _read_label(label: Mapping[str, Any], image: int) -> list[Tensor]:
    """Class labels `(n,)`, boxes `(n, 4)` and relations `(r, 3)` of one image, on the CPU."""
    needed = "class_labels (n,), boxes (n, 4), relations (r, 3)"
    if not isinstance(label, Mapping):
        raise TypeError(f"labels[{image}] must be a dict with {needed}, got {type(label).__name__}.")
    missing = [name for name in _LABEL_FIELDS if name not in label]
    if missing:
        raise ValueError(f"labels[{image}] lacks {missing}; it needs {needed}.")
    tensors = [_as_field(label[name], f"labels[{image}]['{name}']", *layout) for name, layout in _LABEL_FIELDS.items()]
    if len(tensors[0]) != len(tensors[1]):
        raise ValueError(
            f"labels[{image}] has {len(tensors[0])} class_labels but {len(tensors[1])} boxes; they must agree."
        )
    return tensors


def _as_field(value: Any, field: str, tail: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """`value` as a tensor `(rows, *tail)` of `dtype`; one without elements may have any shape and dtype."""
    layout = f"({', '.join(['rows', *map(str, tail)])}{'' if tail else ','})"
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{field} must have shape {layout}, got {type(value).__name__}: {error}.") from error
    if tensor.numel() == 0:
        return tensor.detach().reshape(0, *tail).to("cpu", dtype)
    if tensor.dim() != 1 + len(tail) or tensor.shape[1:] != tail:
        raise ValueError(f"{field} must have shape {layout}, got {tuple(tensor.shape)}.")
    is_real = not tensor.is_complex() and tensor.dtype != torch.bool
    if not is_real or (tensor.is_floating_point() and not dtype.is_floating_point):
        expected = "numbers" if dtype.is_floating_point else "integers, such as torch.int64"
        raise TypeError(f"{field} must hold {expected}, got {tensor.dtype}.")
    return tensor.detach().to("cpu", dtype)


def _check_values(
    classes: Tensor,
    boxes: Tensor,
    relations: Tensor,
    num_boxes: Tensor,
    counts: Tensor,
    num_labels: int,
    num_predicates: int,
) -> None:
    """Check the joined labels of a batch, whose images have `num_boxes` `(B,)` boxes and `counts` `(B,)` relations."""
    sizes = num_boxes.repeat_interleave(counts)[:, None]
    ends, predicates = relations[:, :2], relations[:, 2:]
    _check_range(classes[:, None], num_labels, num_boxes, "['class_labels']", "config.num_labels")
    _check_range(ends, sizes, counts, "['relations'][:, :2]", "the number of boxes")
    _check_range(predicates, num_predicates, counts, "['relations'][:, 2]", "config.num_predicates")
    valid = (boxes >= -1) & (boxes <= 2)  # false for nan
    valid[:, 2:] &= boxes[:, 2:] >= 0
    if not valid.all():
        row = _first_false_row(valid)
        raise ValueError(
            f"labels[{_image_of(row, num_boxes)}]['boxes'] must be finite (cx, cy, w, h) relative to the image (divided by "
            f"its width and height, not pixels), with w, h ≥ 0 and nothing outside [-1, 2], got {boxes[row].tolist()}."
        )


def _check_range(indices: Tensor, sizes: Tensor | int, counts: Tensor, field: str, bound: str) -> None:
    """Refuse indices `(rows, k)` outside [0, sizes), `counts` `(B,)` rows of which belong to each image."""
    valid = (indices >= 0) & (indices < sizes)
    if not valid.all():
        row = _first_false_row(valid)
        size = sizes if isinstance(sizes, int) else sizes[row].item()
        wrong = indices[row][~valid[row]].tolist()
        raise ValueError(f"labels[{_image_of(row, counts)}]{field} must lie in [0, {size}) ({bound}), got {wrong}.")


def _first_false_row(valid: Tensor) -> int:
    return int((~valid).any(dim=1).nonzero()[0])


def _image_of(row: int, counts: Tensor) -> int:
    """The image a row of the batch belongs to when each has `counts` `(B,)` of them."""
    return int((counts.cumsum(0) <= row).sum())


def _loss_weight(label: Mapping[str, Any], image: int) -> float:
    weight = label.get("loss_weight")
    try:
        value = 1.0 if weight is None else float(weight)
    except (TypeError, ValueError, RuntimeError):
        value = math.nan
    if not 0 <= value <= torch.finfo(torch.float32).max:  # false for nan
        raise ValueError(
            f"labels[{image}]['loss_weight'] must be one finite number of at least 0 that float32 can hold, got {weight!r}."
        )
    return value


_STREAMS = (
    ("subject_logits", "subject_boxes"),
    ("object_logits", "object_boxes"),
    ("predicate_logits", "relation_boxes"),
)


@dataclass
class LayerPredictions:
    """What L decoder layers predict, in float32 or better: what costs and losses have in common.

    Args:
        logits: For each layer those of subject, object and predicate, `(B, R, C+1 or P+1)`. They are not joined to one
            tensor: at the published size a copy of them takes as long as the assignment.
        log_probabilities: The same after log-softmax, without gradients.
        boxes: Boxes of subject, object and relation, `(3, L, B, R, 4)`, (cx, cy, w, h) in [0, 1].
    """

    logits: list[list[Tensor]]
    log_probabilities: list[list[Tensor]]
    boxes: Tensor

    @classmethod
    def from_layers(cls, layers: Sequence[LayerOutputs]) -> "LayerPredictions":
        """Read the six output tensors of each layer, earlier layers first."""
        logits = [[at_least_float32(layer[name]) for name, _ in _STREAMS] for layer in layers]
        log_probabilities = [[values.detach().log_softmax(dim=-1) for values in layer] for layer in logits]
        boxes = torch.stack([torch.stack([layer[name] for layer in layers]) for _, name in _STREAMS])
        return cls(logits, log_probabilities, at_least_float32(boxes))

    @property
    def num_layers(self) -> int:
        """L."""
        return self.boxes.shape[1]

    @property
    def num_queries(self) -> int:
        """R."""
        return self.boxes.shape[3]


@dataclass
class RelationAssigner:
    """Decides which queries are trained on which relation: minimum-cost matching of relations, some of them repeated.

    Args:
        scheme: `"one_to_one"`; `"static"`, every relation repeated `topk` times; or `"dynamic"`, repeated as often as
            the sum of the `topk` best qualities, rounded down, at least once (SpeaQ section 3.3).
        topk: K.
        quality: How the IoUs of subject and object become one quality: `"max"`, `"min"`, `"geometric_mean"`, `"mean"`.
        predicate_weight: Weight of the target predicate's probability in the quality, `None` to leave it out.
        per_layer: Match every layer on its own; otherwise one matching on the costs of all layers together.
        class_cost: Weight of the class probabilities in the cost.
        bbox_cost: Weight of the L1 distances in the cost.
        giou_cost: Weight of the generalized IoUs in the cost.
        predicate_to_group: Group of each predicate, `(P,)`; `None` switches groups off.
        query_groups: Number of consecutive relation queries of each group.
    """

    scheme: str = "dynamic"
    topk: int = 4
    quality: str = "max"
    predicate_weight: float | None = -0.5
    per_layer: bool = True
    class_cost: float = 1.0
    bbox_cost: float = 5.0
    giou_cost: float = 2.0
    predicate_to_group: Sequence[int] | None = None
    query_groups: Sequence[int] | None = None

    @classmethod
    def from_config(cls, config: SpeaQConfig) -> "RelationAssigner":
        """Read the assignment options, and cut the groups, from a configuration.

        Raises:
            ValueError: When there are groups to cut but no predicate counts to cut them from.
        """
        predicate_to_group = query_groups = None
        if config.num_query_groups > 1:
            predicate_to_group, query_groups = _cut_groups(config)
        return cls(
            scheme=config.assignment,
            topk=config.assignment_topk,
            quality=config.assignment_quality,
            predicate_weight=config.assignment_predicate_weight,
            per_layer=config.match_per_layer,
            class_cost=config.class_cost,
            bbox_cost=config.bbox_cost,
            giou_cost=config.giou_cost,
            predicate_to_group=predicate_to_group,
            query_groups=query_groups,
        )

    def __call__(
        self, layers: Sequence[LayerOutputs], targets: Sequence[dict[str, Any]] | RelationTargets
    ) -> list[list[Assignment]]:
        """Match every layer and image.

        Args:
            layers: The six output tensors of each layer, earlier layers first.
            targets: The `labels` list of [`SpeaQForSceneGraphGeneration.forward`].

        Returns:
            Per layer, per image: matched queries `(M,)` in ascending order, the relation of the image that each is
            matched with `(M,)`, and how often each relation was repeated `(r,)`; all int64 on the CPU.
        """
        with torch.no_grad():
            predictions = LayerPredictions.from_layers(layers)
        if not isinstance(targets, RelationTargets):
            num_labels, _, num_predicates = (values.shape[-1] - 1 for values in predictions.log_probabilities[0])
            targets = RelationTargets.from_labels(targets, num_labels, num_predicates, predictions.boxes.device)
        return self.match(predictions, targets).split(targets.counts)

    @torch.no_grad()
    def match(self, predictions: LayerPredictions, targets: RelationTargets) -> MatchedPairs:
        """The same for all layers and images together, from predictions that are prepared already."""
        requires_backends(self, ["scipy"])
        blocks = self._cut_blocks(predictions.num_queries, targets)
        with _full_precision(predictions.boxes.device):
            costs, copies = self._costs_and_copies(predictions, targets, blocks)
        pairs = [pair for block, cost in zip(blocks, costs, strict=True) for pair in block.solve(cost, copies)]
        matched = MatchedPairs.join(pairs, copies)
        return matched if self.per_layer else matched.repeat(predictions.num_layers)

    def _cut_blocks(self, num_queries: int, targets: RelationTargets) -> list[QueryBlock]:
        """Relations that compete for the same queries, for all images together."""
        sizes, to_group = [num_queries], np.zeros(1 + max(targets.predicates, default=0), dtype=np.int64)
        if self.predicate_to_group is not None:
            sizes, to_group = self.query_groups, np.array(self.predicate_to_group)
        if sum(sizes) != num_queries:
            raise ValueError(f"`query_groups` share {sum(sizes)} queries, but the outputs have {num_queries}.")
        most_copies = 1 if self.scheme == "one_to_one" else max(self.topk, 1)
        images = np.arange(len(targets.counts)).repeat(targets.counts)
        return cut_blocks(images, to_group[np.array(targets.predicates, dtype=np.int64)], sizes, most_copies)

    def _costs_and_copies(
        self, predictions: LayerPredictions, targets: RelationTargets, blocks: Sequence[QueryBlock]
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Costs `(L or 1, t, q)` of each block and copies `(L or 1, T)`, moved to the CPU in one transfer."""
        pairs = _PairComparison(self, predictions, targets)
        copies = np.ones((predictions.num_layers if self.per_layer else 1, len(targets.predicates)), dtype=np.int64)
        parts = [part for block in blocks for part in pairs.compute(block)]  # costs and copies of each block
        if not parts:
            return [], copies
        flat = torch.cat([part.flatten() for part in parts]).cpu().numpy()
        arrays = np.split(flat, np.cumsum([part.numel() for part in parts])[:-1])
        arrays = [array.reshape(part.shape) for array, part in zip(arrays, parts, strict=True)]
        for block, values in zip(blocks, arrays[1::2], strict=True):
            copies[:, block.relations] = values
        # A diverged model must reach the loss, where the training loop sees it, not fail in the solver.
        return [np.nan_to_num(cost, nan=1e9, posinf=1e9, neginf=-1e9) for cost in arrays[::2]], copies


class _PairComparison:
    """Compares relations with the queries they may be matched with.

    Args:
        options: The assignment options.
        predictions: Of all layers.
        targets: The relations of the batch.
    """

    def __init__(self, options: RelationAssigner, predictions: LayerPredictions, targets: RelationTargets) -> None:
        self.options, self.targets = options, targets
        self.log_probabilities, self.num_queries = predictions.log_probabilities, predictions.num_queries
        self.predicted_planes = box_planes(predictions.boxes)  # (9, 3, L, B, R)
        self.target_planes = box_planes(targets.boxes)[:, :, None, :, None]  # (9, 3, 1, T, 1)

    def compute(self, block: QueryBlock) -> tuple[Tensor, Tensor]:
        """Costs `(L or 1, t, q)` and copies `(L or 1, t)` of a block, so many relations at once as memory is spent on."""
        pairs = 3 * len(self.log_probabilities) * self.num_queries
        size = max(_PAIRS_AT_ONCE // pairs, 1)
        parts = [self._compute(block, slice(row, row + size)) for row in range(0, len(block.relations), size)]
        costs, copies = (torch.cat(values, dim=1) for values in zip(*parts, strict=True))
        return costs, copies

    def _compute(self, block: QueryBlock, rows: slice) -> tuple[Tensor, Tensor]:
        relations, images = (
            torch.from_numpy(values[rows]).to(self.targets.labels.device) for values in (block.relations, block.images)
        )
        # Several times as fast as an index in brackets, which copies number by number.
        predicted = self.predicted_planes[..., block.queries].index_select(3, images)
        distances, ious, gious = compare_planes(predicted, self.target_planes[:, :, :, relations])  # (3, L, t, q)
        classes = self.targets.labels[:, relations]
        costs = distances.sum(dim=0).mul_(self.options.bbox_cost).sub_(gious.sum(dim=0), alpha=self.options.giou_cost)
        for stream in range(3):
            probabilities = self._probabilities(stream, images, block.queries, classes[stream])
            costs.sub_(probabilities, alpha=self.options.class_cost)
        copies = self._copies(block, rows, ious[:2], images, classes[2])
        return (costs, copies) if self.options.per_layer else (costs.sum(dim=0, keepdim=True), copies[:1])

    def _probabilities(self, stream: int, images: Tensor, queries: slice, classes: Tensor) -> Tensor:
        """Probabilities `(L, t, q)` of the classes `(t,)` in the queries of the images `(t,)`."""
        # A slice between two index arrays puts their dimension first: (t, q).
        return torch.stack([layer[stream][images, queries, classes] for layer in self.log_probabilities]).exp_()

    def _copies(self, block: QueryBlock, rows: slice, ious: Tensor, images: Tensor, predicates: Tensor) -> Tensor:
        """How often each relation is repeated, `(L, t)` whole numbers; `ious` `(2, L, t, q)` of subjects and objects."""
        options = self.options
        if options.scheme != "dynamic":
            return torch.full_like(ious[0, ..., 0], options.topk if options.scheme == "static" else 1)
        quality, outside = _join_qualities(ious[0], ious[1], options.quality), block.out_of_group(rows)
        if outside is not None:
            quality = quality.masked_fill(torch.from_numpy(outside).to(quality.device), 0.0)
        if options.predicate_weight is not None:
            # Queries of other groups, whose overlap does not count, still contribute this term.
            weighted = self._probabilities(2, images, slice(None), predicates).mul_(options.predicate_weight)
            weighted[..., block.queries] += quality
            quality = weighted
        best = quality.topk(min(options.topk, quality.shape[-1])).values.sum(dim=-1)
        return best.nan_to_num(nan=1.0).trunc().clamp(min=1)


def _full_precision(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, enabled=False)


def _cut_groups(config: SpeaQConfig) -> tuple[list[int], list[int]]:
    """Group of each predicate `(P,)` and number of relation queries of each group."""
    counts = config.group_predicate_counts
    if counts is None:
        raise ValueError(
            f"`num_query_groups={config.num_query_groups}` needs `group_predicate_counts` (or `predicate_counts`) to "
            "cut the predicates into groups: pass how often each predicate occurs, or set `num_query_groups=1`."
        )
    groups = cut_predicate_groups(counts, config.num_query_groups)
    if not all(groups):
        logger.warning_once(
            f"{sum(not group for group in groups)} of `num_query_groups={config.num_query_groups}` groups have no "
            "predicate, because few predicates make up most of `group_predicate_counts`. Use fewer groups."
        )
    predicate_to_group = [0] * len(counts)
    for index, group in enumerate(groups):
        for predicate in group:
            predicate_to_group[predicate] = index
    sizes = cut_query_groups(counts, groups, config.num_object_queries)
    return predicate_to_group, [size * config.relation_query_multiplier for size in sizes]


def _join_qualities(subject_iou: Tensor, object_iou: Tensor, quality: str) -> Tensor:
    joined = {
        "max": torch.maximum,
        "min": torch.minimum,
        "geometric_mean": lambda a, b: (a * b).sqrt(),
        "mean": lambda a, b: (a + b) / 2,
    }
    if quality not in joined:
        raise ValueError(f"`quality` must be one of {sorted(joined)}, got {quality!r}.")
    return joined[quality](subject_iou, object_iou)


@dataclass
class _Matches:
    """What the queries are trained on: classes for all of them, and the matched pairs (M), layer after layer."""

    layers: Tensor  # (M,) layer of each matched query
    images: Tensor  # (M,)
    queries: Tensor  # (M,)
    relations: Tensor  # (M,) row in the batch's relations
    counts: list[int]  # matched pairs of each layer
    classes: list[Tensor]  # subject, object, predicate: each (L, B, R), background where unmatched

    @classmethod
    def from_pairs(cls, pairs: MatchedPairs, targets: RelationTargets, predictions: LayerPredictions) -> "_Matches":
        """Move the matched pairs to the device, and give every query its target classes.

        Args:
            pairs: Of all layers and images.
            targets: The relations of the batch.
            predictions: For their sizes.
        """
        joined = np.stack((pairs.layers, pairs.images, pairs.queries, pairs.relations))
        layers, images, queries, relations = torch.from_numpy(joined).to(targets.labels.device)
        classes = []
        for values, label in zip(predictions.log_probabilities[0], targets.labels, strict=True):
            target = label.new_full(predictions.boxes.shape[1:4], values.shape[-1] - 1)
            target[layers, images, queries] = label[relations]
            classes.append(target)
        return cls(layers, images, queries, relations, pairs.counts(), classes)

    def pick(self, values: Tensor) -> Tensor:
        """Rows `(M, …)` of the matched queries in `values` `(L, B, R, …)`."""
        return values[self.layers, self.images, self.queries]

    def sum_per_layer(self, values: Tensor) -> Tensor:
        """Sums `(…, L)` of `values` `(…, M)`; unlike a scatter, in the same order on every device."""
        return torch.stack([part.sum(dim=-1) for part in values.split(self.counts, dim=-1)], dim=-1)


@dataclass
class SpeaQCriterion:
    """Sum of class, box and predicate losses over all decoder layers.

    Cross-entropies divide by the sum of the class weights of their targets, box losses by the number of matched pairs;
    both are counted over all processes and never involve `loss_weight`, so weights of 1 change nothing and a weight w
    on every image scales every loss by w. With several processes a process returns its own share times their number:
    averaging losses and gradients over processes, as data-parallel training does, gives those of one big batch.

    Args:
        assigner: Decides which queries are positives.
        num_labels: Object classes C.
        predicate_weights: Class weights of the predicates, background last (P+1).
        eos_coefficient: Class weight of "no object".
        coefficients: Weight of each loss in the total, by its name without layer suffix.
        loss_weight_scope: `"all"`: an image's weight scales all its terms. `"relation_matched"`: as the published code
            for mixed training does, only the relation terms of matched queries are weighted, and the predicate loss
            looks at these alone, divided by their number.
    """

    assigner: RelationAssigner
    num_labels: int
    predicate_weights: Sequence[float]
    eos_coefficient: float
    coefficients: dict[str, float]
    loss_weight_scope: str = "all"

    @classmethod
    def from_config(cls, config: SpeaQConfig) -> "SpeaQCriterion":
        """Read the loss options from a configuration."""
        coefficients = {"loss_predicate": config.predicate_loss_coefficient}
        for stream in ("subject", "object", "relation"):
            coefficients[f"loss_class_{stream}"] = config.class_loss_coefficient
            coefficients[f"loss_bbox_{stream}"] = config.bbox_loss_coefficient
            coefficients[f"loss_giou_{stream}"] = config.giou_loss_coefficient
        return cls(
            assigner=RelationAssigner.from_config(config),
            num_labels=config.num_labels,
            predicate_weights=_predicate_weights(config),
            eos_coefficient=config.eos_coefficient,
            coefficients=coefficients,
            loss_weight_scope=config.loss_weight_scope,
        )

    @torch.compiler.disable  # the matching runs in NumPy and SciPy
    def __call__(
        self, layers: Sequence[LayerOutputs], labels: Sequence[dict[str, Any]]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss.

        Args:
            layers: The six output tensors of each layer, earlier layers first.
            labels: One dict per image, see [`SpeaQForSceneGraphGeneration.forward`].

        Returns:
            The weighted sum and every term before its coefficient, named as in [`SpeaQSceneGraphOutput`]. When labels
            have a `source`, also the last layer's terms of each source alone, before the images' weights and over the
            images of this process: `loss_predicate/synthetic` and so on.

        Raises:
            ValueError: When `labels` do not fit the images or the vocabularies.
            TypeError: When `labels` hold something else than dicts, or floats where integers belong.
        """
        batch_size, device = len(layers[-1]["subject_logits"]), layers[-1]["subject_logits"].device
        if len(labels) != batch_size:
            raise ValueError(f"`labels` needs one entry per image ({batch_size}), got {len(labels)}.")
        with _full_precision(device):
            predictions = LayerPredictions.from_layers(layers)
            targets = RelationTargets.from_labels(labels, self.num_labels, len(self.predicate_weights) - 1, device)
            matches = _Matches.from_pairs(self.assigner.match(predictions, targets), targets, predictions)
            class_weights = self._class_weights(predictions.boxes)
            terms = _Terms.compute(predictions, targets, matches, class_weights)
            normalizers = _normalizers(matches, class_weights)
            losses = self._class_losses(terms, targets, matches, normalizers)
            losses |= self._box_losses(terms, targets, matches, normalizers[3])
            total = sum(self.coefficients[name] * values.sum() for name, values in losses.items())
            by_source = self._source_losses(terms, matches, class_weights, [label.get("source") for label in labels])
        return total, _name_layers(losses) | by_source

    def _class_weights(self, like: Tensor) -> list[Tensor]:
        objects = like.new_ones(self.num_labels + 1)
        objects[-1] = self.eos_coefficient
        return [objects, objects, like.new_tensor(self.predicate_weights)]

    def _class_losses(
        self, terms: "_Terms", targets: RelationTargets, matches: _Matches, normalizers: Tensor
    ) -> dict[str, Tensor]:
        """Cross-entropies of subject, object and predicate, each `(L,)`; `normalizers` are those of `_normalizers`."""
        weights = targets.loss_weights if self.loss_weight_scope == "all" else torch.ones_like(targets.loss_weights)
        losses = {
            name: (values * weights[:, None]).sum(dim=(1, 2)) / normalizer
            for (name, values), normalizer in zip(terms.entropies.items(), normalizers[:3], strict=True)
        }
        if self.loss_weight_scope == "relation_matched":
            picked = matches.pick(terms.entropies["loss_predicate"]) * targets.loss_weights[matches.images]
            any_match = normalizers[4] > 0
            matched = matches.sum_per_layer(picked) / normalizers[3]
            losses["loss_predicate"] = torch.where(any_match, matched, losses["loss_predicate"])
        return losses

    def _box_losses(
        self, terms: "_Terms", targets: RelationTargets, matches: _Matches, num_matched: Tensor
    ) -> dict[str, Tensor]:
        """L1 and generalized IoU losses of the matched boxes, each `(L,)`."""
        weights = targets.loss_weights[matches.images].expand(3, -1).clone()
        if self.loss_weight_scope == "relation_matched":
            weights[:2] = 1.0
        losses = {}
        for kind, values in terms.distances.items():
            sums = matches.sum_per_layer(values * weights) / num_matched  # (3, L)
            losses |= _name_streams(kind, sums)
        return losses

    @torch.no_grad()
    def _source_losses(
        self, terms: "_Terms", matches: _Matches, class_weights: list[Tensor], sources: Sequence[str | None]
    ) -> dict[str, Tensor]:
        """Losses of the last layer over the images of each source in this process, whatever their weights."""
        names = list(dict.fromkeys(source for source in sources if source is not None))
        if not names:
            return {}
        entropies, distances, images = terms.last_layer(matches)
        is_from = [[source == name for source in sources] for name in names]
        is_from = torch.tensor(is_from, dtype=class_weights[0].dtype, device=images.device)  # (S, B)
        is_pair_from = is_from[:, images]  # (S, M)
        num_matched = is_pair_from.sum(dim=1).clamp(min=1)
        losses = {}
        for (name, values), classes, weights in zip(entropies.items(), matches.classes, class_weights, strict=True):
            divisor = is_from @ weights[classes[-1]].sum(dim=1)
            losses[name] = is_from @ values.sum(dim=1) / divisor.masked_fill(divisor == 0, 1.0)
        if self.loss_weight_scope == "relation_matched":
            first = sum(matches.counts[:-1])
            picked = matches.pick(terms.entropies["loss_predicate"])[first:]
            losses["loss_predicate"] = is_pair_from @ picked / num_matched
        for kind, values in distances.items():
            losses |= _name_streams(kind, values @ is_pair_from.T / num_matched)
        return {
            f"{term}/{name}": value
            for term, values in losses.items()
            for name, value in zip(names, values, strict=True)
        }


@dataclass
class _Terms:
    """What the losses are sums of, before the images' weights."""

    entropies: dict[str, Tensor]  # by loss: (L, B, R), with the class weights
    distances: dict[str, Tensor]  # "bbox" and "giou": (3, M) of the matched subject, object and relation boxes

    @classmethod
    def compute(
        cls, predictions: LayerPredictions, targets: RelationTargets, matches: _Matches, class_weights: list[Tensor]
    ) -> "_Terms":
        """Cross-entropies of all queries and distances of the matched boxes."""
        names = ("loss_class_subject", "loss_class_object", "loss_predicate")
        layers = list(zip(predictions.logits, predictions.log_probabilities, strict=True))
        entropies = {
            name: torch.stack(
                [
                    _WeightedEntropy.apply(logits[stream], log_probabilities[stream], target, class_weights[stream])
                    for (logits, log_probabilities), target in zip(layers, matches.classes[stream], strict=True)
                ]
            )
            for stream, name in enumerate(names)
        }
        predicted = torch.stack([matches.pick(boxes) for boxes in predictions.boxes])  # (3, M, 4)
        target = targets.boxes[:, matches.relations]
        giou = generalized_box_iou(center_to_corners_format(predicted), center_to_corners_format(target))
        return cls(entropies, {"bbox": (predicted - target).abs().sum(dim=-1), "giou": 1 - giou})

    def last_layer(self, matches: _Matches) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Entropies `(B, R)` and distances `(3, M)` of the last layer, and the image `(M,)` of each matched pair."""
        first = sum(matches.counts[:-1])
        entropies = {name: values[-1] for name, values in self.entropies.items()}
        distances = {kind: values[:, first:] for kind, values in self.distances.items()}
        return entropies, distances, matches.images[first:]


class _WeightedEntropy(torch.autograd.Function):
    """Cross-entropies `(B, R)` of one layer from logits whose log-probabilities are known.

    The gradient is written once, where that of `cross_entropy` is filled with zeros first and then read again: at the
    published size this is half of the backward pass of the criterion.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, logits: Tensor, log_probabilities: Tensor, classes: Tensor, weights: Tensor
    ) -> Tensor:
        """Of `logits` and `log_probabilities` `(B, R, C+1)` and target `classes` `(B, R)`, weighted by class `(C+1,)`."""
        weights = weights[classes]
        ctx.save_for_backward(log_probabilities, classes, weights)
        return log_probabilities.gather(-1, classes[..., None])[..., 0].mul_(weights).neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """Probabilities less the one-hot targets."""
        log_probabilities, classes, weights = ctx.saved_tensors
        scale = (gradient * weights)[..., None]
        gradient = log_probabilities.exp().mul_(scale)
        return gradient.scatter_add_(-1, classes[..., None], -scale), None, None, None


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision in float32; float32 and float64 as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _name_streams(kind: str, losses: Tensor) -> dict[str, Tensor]:
    """Name the losses `(3, …)` of the subject, object and relation boxes."""
    return {
        f"loss_{kind}_{stream}": loss for stream, loss in zip(("subject", "object", "relation"), losses, strict=True)
    }


def _predicate_weights(config: SpeaQConfig) -> list[float]:
    if config.predicate_class_weights is not None:
        return list(config.predicate_class_weights)
    if config.predicate_counts is None:
        return [1.0] * config.num_predicates + [config.predicate_eos_coefficient]
    return reweight_predicates(
        config.predicate_counts,
        config.predicate_reweight_alpha,
        config.predicate_reweight_beta,
        config.predicate_eos_coefficient,
        bounded=config.loss_weight_scope == "relation_matched",
    )


def _normalizers(matches: _Matches, class_weights: list[Tensor]) -> Tensor:
    """Divisors `(5, L)`: class weights of the targets of subject, object and predicate; matched pairs, at least one;
    matched pairs. They are sums over all processes divided by the number of processes.
    """
    sums = [weights[classes].sum(dim=(1, 2)) for weights, classes in zip(class_weights, matches.classes, strict=True)]
    num_matched = sums[0].new_tensor(matches.counts)
    normalizers, num_processes = torch.stack([*sums, num_matched, num_matched]), 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        num_processes = torch.distributed.get_world_size()
        torch.distributed.all_reduce(normalizers)
    normalizers[3] = normalizers[3].clamp(min=1)
    # With a background weight of 0 a batch without relations has nothing to divide by, and nothing to divide.
    normalizers[:3] = normalizers[:3].masked_fill(normalizers[:3] == 0, 1.0)
    return normalizers / num_processes


def _name_layers(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name each layer's share of the losses `(L,)`: the last without suffix, the earlier ones with `_0`, `_1`, …."""
    named = {}
    for name, values in losses.items():
        *earlier, named[name] = values
        named |= {f"{name}_{layer}": value for layer, value in enumerate(earlier)}
    return named
