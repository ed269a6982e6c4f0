# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Eight-bit pixels to the numbers that a model was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .large_tensors_speaq import empty_tensor


@dataclass(frozen=True)
class PixelNormalization:
    """`(scale * pixels - mean) / std`, per channel, in float32.

    Args:
        scale: What brings pixels to the range of `mean` and `std`, 1/255 for [0, 1].
        mean: Mean colour, one number or one per channel.
        std: Spread, likewise.
    """

    scale: float = 1.0
    mean: float | Iterable[float] = 0.0
    std: float | Iterable[float] = 1.0

    @classmethod
    def of_processor(cls, processor: Any) -> PixelNormalization:
        """The normalisation that an image processor of transformers has in its settings."""
        scale = processor.rescale_factor if processor.do_rescale else 1.0
        return cls(scale, processor.image_mean, processor.image_std) if processor.do_normalize else cls(scale)

    def __call__(self, pixels: np.ndarray | Tensor) -> Tensor:
        """Normalises pixels `(..., 3, H, W)` of any number format and memory layout to a new contiguous float32 tensor."""
        pixels = torch.as_tensor(pixels)
        mean, std = (
            torch.as_tensor(value, dtype=torch.float32, device=pixels.device).view(-1, 1, 1)
            for value in (self.mean, self.std)
        )
        normalized = empty_tensor(pixels.shape, torch.float32, pixels.device)
        # Single bytes are moved to their channel first: as floats that would be four times as much to move.
        normalized.copy_(pixels.contiguous())
        return normalized.mul_(self.scale / std).sub_(mean / std)
