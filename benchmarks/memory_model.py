# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Memory of batches that were not measured, from those that were: a part for the model, one per image, one per cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls


# Of a card's memory; the rest is for the device's own context and for what lies between tensors.
USABLE = 0.95
GIBIBYTE = 2**30


@dataclass(frozen=True)
class MemoryModel:
    """Bytes = model + batch · (image + cells · cell).

    Args:
        model: Weights, and in training gradients and the optimizer's averages.
        image: Of one image, whatever its size: queries, predictions, losses.
        cell: Of one cell of the feature map, 32 x 32 pixels.
    """

    model: float
    image: float
    cell: float

    @classmethod
    def fit(cls, points: Sequence[Mapping[str, Any]]) -> MemoryModel:
        """The coefficients, none negative, with the smallest relative error.

        Args:
            points: `batch`, `cells` (of one image) and `peak` (bytes) of at least three measurements.

        Raises:
            ValueError: There are fewer.
        """
        if len(points) < 3:
            raise ValueError(f"expected at least 3 measurements to fit 3 numbers to, got {len(points)}")
        rows = np.array([[1, point["batch"], point["batch"] * point["cells"]] for point in points], dtype=float)
        peaks = np.array([point["peak"] for point in points], dtype=float)
        coefficients, _ = nnls(rows / peaks[:, None], np.ones(len(peaks)))
        return cls(*coefficients.tolist())

    def peak(self, batch: int, cells: int) -> float:
        """Bytes of a batch of images with `cells` cells each."""
        return self.model + batch * (self.image + cells * self.cell)

    def largest_batch(self, memory: float, cells: int) -> int:
        """How many images of `cells` cells fit in `memory` bytes; 0: none."""
        per_image = self.image + cells * self.cell
        return max(0, int((USABLE * memory - self.model) // per_image)) if per_image > 0 else 0

    def error(self, point: Mapping[str, Any]) -> float:
        """Relative error, positive when too much is predicted, of a measurement that was not fitted."""
        return self.peak(point["batch"], point["cells"]) / point["peak"] - 1
