# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What a file predicts for one image, and whether its boxes can be what they should be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np


BoxFormat = Literal["xyxy", "xywh"]
_BOX_NAMES = {"xyxy": "corners (x1, y1, x2, y2)", "xywh": "(x, y, width, height)"}
# A network that predicts centre and size as shares of the image reaches half an image beyond its border, and no further.
_LARGEST_EXCESS = 0.51  # rounding included
_FEWEST_SHARES = 3  # boxes; one or two may truly be that small and in the corner


@dataclass(frozen=True)
class PredictedImage:
    """One image of a prediction file.

    Args:
        image_id: Number of the image, as `integer_image_id` makes it of any id.
        graph: The predicted graph as `SceneGraphRecall.add_batch` takes it, arrays by field name; class numbers are those
            of the ground truth, boxes (x1, y1, x2, y2) in pixels.
        where: File, line and image, for messages.
        boxes_field: The file's field of boxes, for messages.
        box_format: How the file writes boxes.
        image_size: (height, width) in pixels; None if the file does not tell.
    """

    image_id: int
    graph: dict[str, np.ndarray]
    where: str
    boxes_field: str = "boxes"
    box_format: BoxFormat = "xyxy"
    image_size: tuple[int, int] | None = None

    def check_size(self, image_size: tuple[int, int]) -> None:
        """Checks that the boxes can be pixels of an image of this size.

        Args:
            image_size: (height, width) in pixels.

        Raises:
            ValueError: The file says another size, or a box lies more than half an image outside.
        """
        height, width = image_size
        if self.image_size not in (None, (height, width)):
            theirs = f"{self.image_size[1]} x {self.image_size[0]}"
            raise ValueError(
                f"{self.where}: its size (width x height) is {theirs}, that of the ground truth {width} x {height}; boxes "
                "must be in pixels of the same image"
            )
        check_boxes_inside(self.graph.get("boxes"), image_size, f"{self.where}: '{self.boxes_field}'", self.box_format)


def corners_of(boxes: np.ndarray, box_format: BoxFormat, where: str) -> np.ndarray:
    """Boxes of a file as corners.

    Args:
        boxes: `(n, 4)` as in the file.
        box_format: How the file writes boxes.
        where: Their place, for messages.

    Returns:
        `(n, 4)` (x1, y1, x2, y2).

    Raises:
        ValueError: A box ends before it begins.
    """
    corners = boxes if box_format == "xyxy" else np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    turned = (corners[:, 2:] < corners[:, :2]).any(axis=1)
    if turned.any():
        row = int(turned.argmax())
        other = next(name for key, name in _BOX_NAMES.items() if key != box_format)
        raise ValueError(
            f"{where} row {row} is {boxes[row].tolist()}: boxes are {_BOX_NAMES[box_format]}, and this one ends before it "
            f"begins; are they {other}?"
        )
    return corners


def check_boxes_inside(
    corners: np.ndarray | None, image_size: tuple[int, int], where: str, box_format: BoxFormat
) -> None:
    """Checks that boxes can be pixels of their image.

    Args:
        corners: `(n, 4)` (x1, y1, x2, y2); None if there are none.
        image_size: (height, width) in pixels.
        where: Their place, for messages.
        box_format: How the file writes boxes.

    Raises:
        ValueError: A box lies more than half an image outside, or at least three, and all, are fractions of a pixel.
    """
    if corners is None or not len(corners):
        return
    height, width = image_size
    size = f"the image is {width} x {height}"
    excess = np.maximum(corners[:, 2:] / [width, height] - 1, -corners[:, :2] / [width, height]).max(axis=1)
    if excess.max() > _LARGEST_EXCESS:
        row = int((excess > _LARGEST_EXCESS).argmax())
        guess = "pixels of a resized image" if box_format == "xyxy" else _BOX_NAMES["xyxy"]
        raise ValueError(
            f"{where} row {row} reaches from x1, y1 = {corners[row, :2].tolist()} to x2, y2 = {corners[row, 2:].tolist()}, "
            f"but {size}: boxes are {_BOX_NAMES[box_format]} in its pixels; are they {guess}?"
        )
    if len(corners) < _FEWEST_SHARES:
        return
    if 0 < corners.max() <= 1 and (corners != np.rint(corners)).any() and min(height, width) > 1:
        raise ValueError(f"{where}: no box reaches beyond 1, but {size}: boxes are in pixels, not shares of the image")


def each_image_once(images: Iterable[PredictedImage]) -> Iterator[PredictedImage]:
    """The images, one after the other; a ValueError as soon as one comes again."""
    places: dict[int, str] = {}
    for image in images:
        if image.image_id in places:
            raise ValueError(f"{image.where}: this image is predicted twice, first in {places[image.image_id]}")
        places[image.image_id] = image.where
        yield image
