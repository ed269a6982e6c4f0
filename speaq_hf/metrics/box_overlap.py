# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Overlap of boxes (x1, y1, x2, y2) in pixels, as numpy."""

import numpy as np


def intersection_over_union(a: np.ndarray, b: np.ndarray, offset: int = 0) -> np.ndarray:
    """Intersection over union of boxes that broadcast against each other.

    Args:
        a: `(..., 4)` boxes.
        b: `(..., 4)` boxes.
        offset: Pixels that count as the width of a box whose sides have equal x, 0 or 1.

    Returns:
        `(...)` in [0, 1]; 0 where both boxes are empty.
    """
    overlap_x = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]) + offset
    overlap_y = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]) + offset
    intersection = overlap_x.clip(min=0) * overlap_y.clip(min=0)
    union = _area(a, offset) + _area(b, offset) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def pairwise_iou(a: np.ndarray, b: np.ndarray, offset: int = 0) -> np.ndarray:
    """Intersection over union `(n, m)` of every box of `a` `(n, 4)` with every box of `b` `(m, 4)`."""
    return intersection_over_union(a[:, None], b[None, :], offset)


def union_boxes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest boxes `(n, 4)` that hold the boxes of `a` `(n, 4)` and of `b` `(n, 4)`."""
    return np.concatenate([np.minimum(a[:, :2], b[:, :2]), np.maximum(a[:, 2:], b[:, 2:])], axis=1)


def _area(boxes: np.ndarray, offset: int) -> np.ndarray:
    return (boxes[..., 2] - boxes[..., 0] + offset).clip(min=0) * (boxes[..., 3] - boxes[..., 1] + offset).clip(min=0)
