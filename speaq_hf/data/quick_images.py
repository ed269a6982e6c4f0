# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Images for training that are read and resized in half the time, with pixels that differ a little.

PyTorch resizes by the same rule as Pillow, antialiased, and rounds otherwise: values differ by at most 2 of 255, after one
resize one in thousands of them. A JPEG at least twice as large as any size it is resized to, with even sides, is decoded
smaller, which moves the values of a photo by half a level on average, at edges by up to 10; those of noise by 4. Sizes, boxes
and all that is drawn at random are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from .images import read_reduced_row_image


@dataclass(frozen=True)
class QuickImage:
    """Has those methods of a Pillow image that `SceneGraphAugmentation` needs.

    Args:
        pixels: `(h, w, 3)` uint8, of the image in full or reduced.
        size: (width, height) of the image in full.
    """

    pixels: Tensor
    size: tuple[int, int]

    @property
    def width(self) -> int:
        """Of the image in full."""
        return self.size[0]

    @property
    def height(self) -> int:
        """Of the image in full."""
        return self.size[1]

    def transpose(self, method: Image.Transpose) -> QuickImage:
        """The image mirrored left to right.

        Raises:
            ValueError: It is to be turned otherwise.
        """
        if method != Image.Transpose.FLIP_LEFT_RIGHT:
            raise ValueError(f"expected Image.Transpose.FLIP_LEFT_RIGHT, got {method!r}; read the image with Pillow")
        return replace(self, pixels=self.pixels.flip(1))

    def resize(self, size: tuple[int, int], resample: Image.Resampling = Image.Resampling.BILINEAR) -> QuickImage:
        """The image with another (width, height).

        Raises:
            ValueError: Another filter than the bilinear one is asked for.
        """
        if resample != Image.Resampling.BILINEAR:
            raise ValueError(f"expected Image.Resampling.BILINEAR, got {resample!r}; read the image with Pillow")
        width, height = size
        # Channels last in memory, which is the quick case.
        planes = self.pixels.permute(2, 0, 1)[None]
        resized = functional.interpolate(planes, (height, width), mode="bilinear", antialias=True)
        return QuickImage(resized[0].permute(1, 2, 0), (width, height))

    def crop(self, box: tuple[int, int, int, int]) -> QuickImage:
        """The part of the image within (left, upper, right, lower), which must lie inside of it."""
        left, upper, right, lower = map(int, box)
        full = self.full()
        return QuickImage(full.pixels[upper:lower, left:right], (right - left, lower - upper))

    def full(self) -> QuickImage:
        """The image with as many pixels as its size says."""
        return self if self.pixels.shape[:2] == (self.height, self.width) else self.resize(self.size)

    def planes(self) -> Tensor:
        """The pixels as `(3, height, width)`, contiguous."""
        return self.full().pixels.permute(2, 0, 1).contiguous()


@dataclass(frozen=True)
class QuickReader:
    """Rows to `QuickImage`, for `CompactTransform`.

    Args:
        shortest_edge: The longest short edge that the augmentation resizes to, in pixels; no image is reduced below.
    """

    shortest_edge: int

    def __call__(self, row: Mapping[str, Any]) -> QuickImage:
        """Reads the image of a row; see `read_row_image`."""
        image, size = read_reduced_row_image(row, self.shortest_edge)
        return QuickImage(torch.from_numpy(np.array(image)), size)
