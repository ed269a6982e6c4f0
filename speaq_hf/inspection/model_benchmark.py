# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""How long a model takes for an image, stage by stage, and how much memory."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from ..predictor import SceneGraphPredictor


@dataclass(frozen=True)
class Timing:
    """Seconds of several runs of one thing.

    Args:
        median: The middle one.
        low: The first quartile.
        high: The third quartile.
        count: How many runs.
    """

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """The summary of one or more durations."""
        if len(seconds) == 1:
            return cls(seconds[0], seconds[0], seconds[0], 1)
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, low, high, len(seconds))


@dataclass(frozen=True)
class BatchSpeed:
    """What a batch size costs.

    Args:
        batch_size: Images of a batch, all the same.
        stages: Timing of "preprocess", "forward", "post-process" and "total", for the whole batch.
        images_per_second: Batch size / median of the total.
        peak_memory: Bytes at most: of the accelerator while this batch size ran; on a CPU of the process, all that it has ever
            held, None where the system does not tell.
    """

    batch_size: int
    stages: dict[str, Timing]
    images_per_second: float
    peak_memory: int | None


def measure(function: Callable[[], Any], repeats: int, warm_up: int = 1, device: torch.device | None = None) -> Timing:
    """Time a function.

    Args:
        function: What is called.
        repeats: Runs that count, at least 1.
        warm_up: Runs before them that do not.
        device: Whose work is waited for at the end of each run; None: the function waits itself.

    Returns:
        The timing.
    """
    seconds = []
    for run in range(warm_up + repeats):
        start = time.perf_counter()
        function()
        synchronize(device)
        if run >= warm_up:
            seconds.append(time.perf_counter() - start)
    return Timing.of(seconds)


def measure_batch(
    predictor: SceneGraphPredictor, image: Image.Image, batch_size: int, repeats: int = 10, warm_up: int = 2
) -> BatchSpeed:
    """Time a model on copies of one image.

    Args:
        predictor: The model where and in the number format that it is to be measured in.
        image: Upright and RGB.
        batch_size: How many copies.
        repeats: Runs that count, at least 1.
        warm_up: Runs before them that do not.

    Returns:
        What was measured.

    Raises:
        ValueError: A number is too small.
    """
    for name, value, least in (("batch_size", batch_size, 1), ("repeats", repeats, 1), ("warm_up", warm_up, 0)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    device = predictor.device
    reset_peak_memory(device)
    runs = [_run(predictor, [image] * batch_size) for _ in range(warm_up + repeats)][warm_up:]
    stages = {stage: Timing.of([run[stage] for run in runs]) for stage in runs[0]}
    return BatchSpeed(batch_size, stages, batch_size / stages["total"].median, peak_memory(device))


def synchronize(device: torch.device | None) -> None:
    """Wait until an accelerator has done its work; a CPU always has."""
    if device is not None and device.type != "cpu":
        torch.accelerator.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Let `peak_memory` of an accelerator begin anew; the peak of a process cannot be forgotten."""
    if device.type != "cpu":
        reset = getattr(torch.get_device_module(device), "reset_peak_memory_stats", None)  # MPS has none
        if reset is not None:
            reset(device)


def peak_memory(device: torch.device) -> int | None:
    """Most bytes that the tensors on an accelerator have held or, on a CPU, this process; None: not known here."""
    if device.type != "cpu":
        read = getattr(torch.get_device_module(device), "max_memory_allocated", None)
        return None if read is None else read(device)
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _run(predictor: SceneGraphPredictor, images: list[Image.Image]) -> dict[str, float]:
    """Seconds of each stage of one prediction."""
    times = [time.perf_counter()]

    def stop() -> None:
        synchronize(predictor.device)
        times.append(time.perf_counter())

    prepared = predictor.prepare(images)
    stop()
    outputs = predictor.compute(prepared)
    stop()
    predictor.make_graphs(outputs, prepared.sizes)
    stop()
    stages = [end - start for start, end in zip(times, times[1:], strict=False)]
    names = ("preprocess", "forward", "post-process")
    return dict(zip(names, stages, strict=True)) | {"total": times[-1] - times[0]}
