# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Examples of different sizes to one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import BaseImageProcessor

from ..models.speaq.padding_speaq import pad_images, pixel_mask


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
        pixel_values = pad_images(images, self.pad_size)
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        return {
            "pixel_values": pixel_values,
            "pixel_mask": pixel_mask(sizes, *pixel_values.shape[-2:]),
            "labels": [example["labels"] for example in examples],
        }


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
