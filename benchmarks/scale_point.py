# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Time and memory of one size of problem, in processes that do nothing else."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.comparison import forget_peak, peak_resident_bytes, resident_bytes
from benchmarks.made_models import made_config, made_model
from speaq_hf.inspection.model_benchmark import peak_memory, reset_peak_memory, synchronize


# Set in each process of a point: they start timing together.
_barrier: Any = None


@dataclass(frozen=True)
class Point:
    """A size of problem.

    Args:
        task: "inference" or "training".
        height: Of the network's input.
        width: Likewise.
        batch: Images at once.
        queries: Object queries N.
        multiplier: Relation queries per object query m.
        layers: Decoder layers L.
        relations: Annotated relations per image.
        bfloat16: Inference in bfloat16, training in mixed precision.
        checkpointing: Whether training computes activations again instead of keeping them.
        processes: How many do the same at once, sharing the processor's cores.
        small: Whether a small network takes the published one's place.
        device: Where.
    """

    task: str
    height: int
    width: int
    batch: int = 1
    queries: int = 300
    multiplier: int = 2
    layers: int = 6
    relations: int = 20
    bfloat16: bool = False
    checkpointing: bool = False
    processes: int = 1
    small: bool = False
    device: str = "cpu"

    @property
    def cells(self) -> int:
        """Cells of the feature map of one image."""
        return -(-self.height // 32) * -(-self.width // 32)


def measure_point(point: Point, repeats: int = 1, warm_ups: int = 1) -> dict[str, Any]:
    """Measure a size of problem.

    Args:
        point: The size.
        repeats: Runs that count.
        warm_ups: Runs before them that do not.

    Returns:
        The fields of the point; `seconds` per batch, median; `images_per_second` of all processes; `peak` bytes of all of
        them, model included, without what the libraries take; or `failure`, why there are none.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # so that a process does not have to import torch
    count = point.processes
    barrier = context.Barrier(count)
    try:
        with ProcessPoolExecutor(count, context, initializer=_remember, initargs=(barrier,)) as pool:
            futures = [pool.submit(_measure_here, point, repeats, warm_ups) for _ in range(count)]
            results = [future.result() for future in futures]
    except (BrokenProcessPool, torch.OutOfMemoryError):
        return dataclasses.asdict(point) | {"failure": "its process was ended, mostly for want of memory"}
    return dataclasses.asdict(point) | {
        "seconds": statistics.median(result["seconds"] for result in results),
        "images_per_second": sum(point.batch / result["seconds"] for result in results),
        "peak": sum(result["peak"] for result in results),
    }


def _remember(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _measure_here(point: Point, repeats: int, warm_ups: int) -> dict[str, float]:
    device = torch.device(point.device)
    threads = len(os.sched_getaffinity(0)) if torch.get_num_threads() > 1 else 1
    torch.set_num_threads(max(1, threads // point.processes))
    _load_libraries()
    libraries = resident_bytes()
    step = _make_step(point, device)
    for _ in range(warm_ups):
        step()
    synchronize(device)
    _barrier.wait()
    forget_peak()
    reset_peak_memory(device)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    peak = peak_resident_bytes() - libraries if device.type == "cpu" else peak_memory(device)
    _barrier.wait()
    return {"seconds": statistics.median(seconds), "peak": peak or 0}


def _load_libraries() -> None:
    """What torch loads for its first convolution and its first gradient is not the model's memory."""
    layer = nn.Conv2d(3, 8, 3)
    layer(torch.rand(1, 3, 32, 32)).sum().backward()


def _make_step(point: Point, device: torch.device) -> Callable[[], None]:
    config = made_config(
        point.small,
        num_object_queries=point.queries,
        relation_query_multiplier=point.multiplier,
        decoder_layers=point.layers,
    )
    model = made_model(config).to(device)
    pixel_values = torch.rand(point.batch, 3, point.height, point.width, device=device)
    if point.task == "inference":
        return _inference_step(model, pixel_values, point)
    model.train().optimize_for_training()
    if point.checkpointing:
        model.activation_checkpointing_enable()
    return make_training_step(model, pixel_values, point.relations, point.bfloat16)


def _inference_step(model: nn.Module, pixel_values: Tensor, point: Point) -> Callable[[], None]:
    model = model.optimize_for_inference()
    if point.bfloat16:
        model = model.to(torch.bfloat16)

    @torch.inference_mode()
    def step() -> None:
        model(pixel_values)

    return step


def make_training_step(
    model: nn.Module, pixel_values: Tensor, relations: int, bfloat16: bool = False
) -> Callable[[], None]:
    """A function that trains on one batch.

    Args:
        model: A scene graph model in training mode, compiled or not.
        pixel_values: `(B, 3, H, W)`.
        relations: Annotated relations per image.
        bfloat16: Whether in mixed precision.
    """
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-5, fused=True)
    labels = [_label(model.config, relations, seed, pixel_values.device) for seed in range(len(pixel_values))]

    def step() -> None:
        with torch.autocast(pixel_values.device.type, torch.bfloat16, enabled=bfloat16):
            loss = model(pixel_values, labels=labels).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()

    return step


def _label(config: Any, relations: int, seed: int, device: torch.device) -> dict[str, Tensor]:
    """Annotation of an image with about as many objects as Visual Genome has per relation."""
    generator = torch.Generator().manual_seed(seed)
    objects = min(2 + relations, 60)
    sizes = 0.05 + 0.4 * torch.rand(objects, 2, generator=generator)
    centres = sizes / 2 + (1 - sizes) * torch.rand(objects, 2, generator=generator)
    ends = torch.randint(objects, (relations, 2), generator=generator)
    predicates = torch.randint(config.num_predicates, (relations, 1), generator=generator)
    label = {
        "class_labels": torch.randint(config.num_labels, (objects,), generator=generator),
        "boxes": torch.cat((centres, sizes), dim=1),
        "relations": torch.cat((ends, predicates), dim=1),
    }
    return {name: value.to(device) for name, value in label.items()}
