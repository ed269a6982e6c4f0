# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Where to write the names of boxes so that none covers another. Geometry only: any unit, y points down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


_LOW_BOX = 4  # label heights: in a lower box, a label inside would hide much of the object


def place_labels(boxes: np.ndarray, sizes: np.ndarray, frame: Sequence[float]) -> np.ndarray:
    """Finds a free place for the label of every box: at its corners and edges, else inside it, else as near as possible.

    Args:
        boxes: `(n, 4)` (x1, y1, x2, y2).
        sizes: `(n, 2)` width and height of the labels.
        frame: (x1, y1, x2, y2) that labels stay in; at least as wide and high as each of them.

    Returns:
        The areas of the labels `(n, 4)`. They overlap only where the frame has no free place left.
    """
    areas = np.zeros((len(boxes), 4))
    placed = np.zeros((0, 4))
    for i in np.argsort(box_areas(boxes), kind="stable"):  # the smallest box has the fewest places for its label
        areas[i] = _free_area(boxes[i], sizes[i], np.asarray(frame, dtype=float), placed)
        placed = np.vstack([placed, areas[i]])
    return areas


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """Areas `(n,)` of boxes `(n, 4)`."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def gaps(areas: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Distance `(c,)` of rectangles `(c, 4)` from a box `(4,)`; 0 where they touch."""
    outside = np.maximum(areas[:, :2] - box[2:], box[:2] - areas[:, 2:]).clip(min=0)
    return np.hypot(*outside.T)


def _free_area(box: np.ndarray, size: np.ndarray, frame: np.ndarray, placed: np.ndarray) -> np.ndarray:
    """The first place that covers no placed label; the one that covers least if there is none."""
    near = _in_frame(_places_at(box, size), size, frame)
    covered = _covered(near, placed)
    if not covered.min() == 0:
        far = _in_frame(_places_anywhere(size, frame), size, frame)
        far = far[np.argsort(gaps(far, box), kind="stable")]
        near, covered = np.vstack([near, far]), np.append(covered, _covered(far, placed))
    return near[covered.argmin()]


def _places_at(box: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Top left corners `(c, 2)` of the places at a box, the best first."""
    (x1, y1, x2, y2), (width, height) = box, size
    inside, above = y1, y1 - height
    ends = [above, inside] if y2 - y1 < _LOW_BOX * height else [inside, above]
    rows = [*ends, y2 - height, y2, *np.arange(y1 + height, y2 - height, height)]
    columns = [x1, x2 - width, (x1 + x2 - width) / 2]
    return np.array([(x, y) for y in rows for x in columns])


def _places_anywhere(size: np.ndarray, frame: np.ndarray) -> np.ndarray:
    columns = np.arange(frame[0], frame[2], size[0] / 4)
    rows = np.arange(frame[1], frame[3], size[1] / 2)
    return np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)


def _in_frame(corners: np.ndarray, size: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Areas `(c, 4)` of labels with these top left corners, moved into the frame."""
    corners = np.clip(corners, frame[:2], np.maximum(frame[2:] - size, frame[:2]))
    return np.concatenate([corners, corners + size], axis=1)


def _covered(areas: np.ndarray, placed: np.ndarray) -> np.ndarray:
    """How much of the placed labels `(p, 4)` each of the areas `(c, 4)` covers."""
    low = np.maximum(areas[:, None, :2], placed[None, :, :2])
    high = np.minimum(areas[:, None, 2:], placed[None, :, 2:])
    overlap = (high - low).clip(min=0).prod(axis=-1)
    return np.where(overlap > 1e-6, overlap, 0.0).sum(axis=1)  # labels side by side touch by rounding
