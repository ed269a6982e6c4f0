# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Overlap of boxes. Every function is finite on empty (zero-area) boxes and works on any leading batch shape."""

import torch
from torch import Tensor


def box_area(boxes_xyxy: Tensor) -> Tensor:
    """Area of boxes `(..., 4)` in corner form; 0 where a box is inverted. Returns `(...)`."""
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=0).prod(dim=-1)


def _intersection_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    top_left = torch.maximum(a[..., :2], b[..., :2])
    bottom_right = torch.minimum(a[..., 2:], b[..., 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
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
