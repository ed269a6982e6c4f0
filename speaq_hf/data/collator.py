# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Examples of different sizes to one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import BaseImageProcessor


class SceneGraphCollator:
    """Pads images at the right and bottom to the largest height and width of the batch.

    The fill value is 0 after normalising, the mean colour, as in DETR. Boxes in the labels are relative to the un-padded
    image, so that padding leaves them alone.

    Args:
        image_processor: Its `pad_size` (height and width), if set, takes the place of the batch's largest size.
    """

    def __init__(self, image_processor: BaseImageProcessor | None = None) -> None:
        self.pad_size = getattr(image_processor, "pad_size", None)

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Batches examples.

        Args:
            examples: B dicts as `SceneGraphTransform` makes them: `pixel_values (3, h, w)`, normalised, and `labels`.

        Returns:
            `pixel_values (B, 3, H, W)`, `pixel_mask (B, H, W)` int64 with 1 = image and 0 = padding, and `labels`, the
            list of the B label dicts, unchanged.

        Raises:
            ValueError: An example is not an image tensor with labels, or larger than the `pad_size`.
        """
        images = [_checked_image(index, example) for index, example in enumerate(examples)]
        height, width = self._padded_size(images)
        pixel_values = images[0].new_zeros(len(images), 3, height, width)
        pixel_mask = torch.zeros(len(images), height, width, dtype=torch.int64)
        for index, image in enumerate(images):
            pixel_values[index, :, : image.shape[1], : image.shape[2]] = image
            pixel_mask[index, : image.shape[1], : image.shape[2]] = 1
        return {
            "pixel_values": pixel_values,
            "pixel_mask": pixel_mask,
            "labels": [example["labels"] for example in examples],
        }

    def _padded_size(self, images: list[Tensor]) -> tuple[int, int]:
        height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
        if not self.pad_size:
            return height, width
        if height > self.pad_size["height"] or width > self.pad_size["width"]:
            raise ValueError(
                f"the batch holds images up to {height} x {width}, larger than the processor's pad_size {self.pad_size}; "
                "raise pad_size, or unset it to pad to the largest image"
            )
        return self.pad_size["height"], self.pad_size["width"]


def _checked_image(index: int, example: dict[str, Any]) -> Tensor:
    missing = {"pixel_values", "labels"} - set(example)
    if missing:
        raise ValueError(
            f"example {index} of the batch lacks {sorted(missing)} (it has {sorted(example)}); "
            "give the dataset a SceneGraphTransform with dataset.with_transform(transform)"
        )
    image = example["pixel_values"]
    if not isinstance(image, Tensor) or image.ndim != 3 or image.shape[0] != 3:
        got = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise ValueError(f"example {index} of the batch: expected 'pixel_values' to be a tensor (3, h, w), got {got}")
    return image
