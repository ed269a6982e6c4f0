# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Boxes that can be read, but were probably meant in another way: corners, or shares of the image."""

from __future__ import annotations

import numpy as np

from .graph_arrays import GraphArrays


_BORDER_TOLERANCE = 1  # pixels: annotation tools round
_SUSPICIOUS_SHARE = 0.25


def box_doubts(arrays: GraphArrays, corner_remedy: str | None = None) -> list[str]:
    """Sentences on boxes that look as if the file gave other numbers than its format has; mostly none.

    Args:
        arrays: The graphs.
        corner_remedy: What to do about corners that were read as x, y, width and height; None where corners are right.
    """
    finite = np.isfinite(arrays.boxes).all(axis=1)
    boxes, sizes = arrays.boxes[finite], arrays.sizes[arrays.box_owners[finite]]
    if not len(boxes):
        return []
    outside = (sizes > 0).all(axis=1) & (boxes[:, 2:] > sizes + _BORDER_TOLERANCE).any(axis=1)
    if _are_shares(boxes, sizes):
        return [
            f"all {len(boxes)} boxes are smaller than 1 pixel; if they are shares of the image from 0 to 1, multiply "
            "them by its width and height"
        ]
    if corner_remedy is not None and outside.sum() > _SUSPICIOUS_SHARE * len(outside):
        return [
            f"{outside.sum()} of {len(outside)} boxes reach beyond their image; if they are corners, {corner_remedy}"
        ]
    return []


def _are_shares(boxes: np.ndarray, sizes: np.ndarray) -> bool:
    """Corners read as sizes end at 2 at most."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return bool(
        (areas < 1).all() and (np.abs(boxes) <= 2).all() and (sizes.max(axis=1) > 2).any() and (areas > 0).any()
    )
