# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Which frames of a video are predicted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FrameChoice:
    """Which frames of a video are predicted.

    Args:
        every: Each so many-th, at least 1.
        rate: At most so many per second; None: all of those.

    Raises:
        ValueError: A number is too small.
    """

    every: int = 1
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"--every must be at least 1, got {self.every}")
        if self.rate is not None and not self.rate > 0:
            raise ValueError(f"--fps must be greater than 0, got {self.rate}")
