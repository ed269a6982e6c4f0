# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Images of different sizes as one tensor, and the mask that says where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .large_tensors_speaq import empty_tensor


Size = tuple[int, int]


def padded_size(sizes: Sequence[Size], pad_size: Mapping[str, int] | Any | None = None) -> Size:
    """The (height, width) that images of the given sizes are padded to.

    Args:
        sizes: (height, width) of at least one image.
        pad_size: `height` and `width` that take the place of the largest ones.

    Raises:
        ValueError: An image is larger than `pad_size`.
    """
    height, width = (max(sides) for sides in zip(*sizes, strict=True))
    if not pad_size:
        return height, width
    padded = pad_size["height"], pad_size["width"]
    if height > padded[0] or width > padded[1]:
        raise ValueError(
            f"`pad_size` {padded[0]}x{padded[1]} is smaller than the largest image, {height}x{width} (height x width); "
            "raise it, or unset it to pad to the largest image."
        )
    return padded


def pad_images(images: Sequence[Tensor], pad_size: Mapping[str, int] | Any | None = None) -> Tensor:
    """One tensor of several images, zeros at the right and bottom.

    Args:
        images: B tensors `(3, h, w)` of one number format.
        pad_size: See `padded_size`.

    Returns:
        `(B, 3, H, W)`. It shares its memory with a single image that needs no padding.
    """
    sizes = [tuple(image.shape[-2:]) for image in images]
    height, width = padded_size(sizes, pad_size)
    if sizes == [(height, width)]:
        return images[0][None]
    padded = empty_tensor((len(images), 3, height, width), images[0].dtype, images[0].device)
    for target, image in zip(padded, images, strict=True):
        target[:, : image.shape[1], : image.shape[2]] = image
    return clear_padding(padded, sizes)


def clear_padding(padded: Tensor, sizes: Sequence[Size]) -> Tensor:
    """Sets to zero, in place, what lies outside of the images in `(B, 3, H, W)`, which are of the given (height, width)."""
    for image, (height, width) in zip(padded, sizes, strict=True):
        image[:, height:] = 0
        image[:, :height, width:] = 0
    return padded


def pixel_mask(sizes: Sequence[Size], height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Where the images of a padded batch are.

    Args:
        sizes: (height, width) of the B images.
        height: Of the batch.
        width: Of the batch.
        device: Of the mask.

    Returns:
        `(B, H, W)` int64, 1 = image, 0 = padding.
    """
    mask = empty_tensor((len(sizes), height, width), torch.int64, device)
    for image, (image_height, image_width) in zip(mask, sizes, strict=True):
        image[:image_height, :image_width] = 1
        image[image_height:] = 0
        image[:image_height, image_width:] = 0
    return mask
