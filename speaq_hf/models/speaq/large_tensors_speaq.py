# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Memory for images, which is large enough for its allocation to take longer than filling it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


_NUMPY_TYPES = {torch.float32: np.float32, torch.int64: np.int64, torch.uint8: np.uint8}


def empty_tensor(shape: Sequence[int], dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """A contiguous tensor whose content is arbitrary.

    Args:
        shape: Its shape.
        dtype: Its number format.
        device: Its device.
    """
    if torch.device(device).type != "cpu" or dtype not in _NUMPY_TYPES:
        return torch.empty(shape, dtype=dtype, device=device)
    # NumPy asks Linux for pages of 2 MiB, PyTorch takes those of 4 KiB: for a batch of four images 17 ms instead of 3.
    return torch.from_numpy(np.empty(shape, _NUMPY_TYPES[dtype]))
