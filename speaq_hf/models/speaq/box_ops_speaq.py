# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Overlap of boxes. Every function is finite on empty (zero-area) boxes and works on any leading batch shape."""

import torch
from torch import Tensor


# Corner by corner: of tensors `(..., 4)`, and products over their last dimension, torch computes several times more slowly.


def box_area(boxes_xyxy: Tensor) -> Tensor:
    """Area of boxes `(..., 4)` in corner form; 0 where a box is inverted. Returns `(...)`."""
    left, top, right, bottom = boxes_xyxy.unbind(dim=-1)
    return (right - left).clamp(min=0) * (bottom - top).clamp(min=0)


def _intersection_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    (left_a, top_a, right_a, bottom_a), (left_b, top_b, right_b, bottom_b) = a.unbind(dim=-1), b.unbind(dim=-1)
    width = torch.minimum(right_a, right_b) - torch.maximum(left_a, left_b)
    height = torch.minimum(bottom_a, bottom_b) - torch.maximum(top_a, top_b)
    intersection = width.clamp(min=0) * height.clamp(min=0)
    return intersection, box_area(a) + box_area(b) - intersection


def _safe_divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    positive = denominator > 0
    # `where` on the denominator too: the gradient of the branch not taken must not be nan.
    return torch.where(positive, numerator / torch.where(positive, denominator, 1.0), 0.0)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes that broadcast against each other.

    Args:
        a: Boxes `(..., 4)`, (x1, y1, x2, y2).
        b: Boxes `(..., 4)`, (x1, y1, x2, y2).

    Returns:
        `(...)` in [0, 1]; 0 where both boxes are empty.
    """
    return _safe_divide(*_intersection_and_union(a, b))


def generalized_box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Generalized intersection over union (Rezatofighi et al., CVPR 2019) of boxes that broadcast.

    Args:
        a: Boxes `(..., 4)`, (x1, y1, x2, y2).
        b: Boxes `(..., 4)`, (x1, y1, x2, y2).

    Returns:
        `(...)` in (-1, 1].
    """
    intersection, union = _intersection_and_union(a, b)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0).prod(dim=-1)
    return _safe_divide(intersection, union) - _safe_divide(hull - union, hull)


# Places of a box's numbers in the planes of `box_planes`.
_LEFT, _TOP, _RIGHT, _BOTTOM, _AREA = range(4, 9)


def box_planes(boxes: Tensor) -> Tensor:
    """Centre, size, corners and area of boxes `(..., 4)`, (cx, cy, w, h), each contiguous in memory: `(9, ...)`."""
    x, y, width, height = boxes.unbind(dim=-1)
    left, top, right, bottom = x - 0.5 * width, y - 0.5 * height, x + 0.5 * width, y + 0.5 * height
    area = (right - left).clamp(min=0) * (bottom - top).clamp(min=0)
    return torch.stack((x, y, width, height, left, top, right, bottom, area))


@torch.no_grad()
def compare_planes(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """L1 distance, IoU and generalized IoU of boxes that broadcast against each other, without gradients.

    The three share their parts and are computed in place, plane by plane: for all pairs of predictions and targets of
    a batch that is several times as fast as one function after the other on `(..., 4)`.

    Args:
        a: `(9, ...)` of [`box_planes`].
        b: `(9, ...)` of [`box_planes`].

    Returns:
        Three of `(...)`.
    """
    distance = (a[0] - b[0]).abs_()
    for axis in (1, 2, 3):
        distance += (a[axis] - b[axis]).abs_()
    intersection = _overlap(a, b, _LEFT, _RIGHT).mul_(_overlap(a, b, _TOP, _BOTTOM))
    union = (a[_AREA] + b[_AREA]).sub_(intersection)
    iou = _divide_(intersection, union)
    hull = _extent(a, b, _LEFT, _RIGHT).mul_(_extent(a, b, _TOP, _BOTTOM))
    giou = iou - _divide_(hull - union, hull)
    return distance, iou, giou


def _overlap(a: Tensor, b: Tensor, low: int, high: int) -> Tensor:
    return torch.minimum(a[high], b[high]).sub_(torch.maximum(a[low], b[low])).clamp_(min=0)


def _divide_(numerator: Tensor, denominator: Tensor) -> Tensor:
    # Where the denominator is 0 so is the numerator, and 0 over the smallest number is the wanted 0.
    return numerator.div_(denominator.clamp(min=torch.finfo(denominator.dtype).tiny))


def _extent(a: Tensor, b: Tensor, low: int, high: int) -> Tensor:
    return torch.maximum(a[high], b[high]).sub_(torch.minimum(a[low], b[low])).clamp_(min=0)
