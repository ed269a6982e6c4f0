# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Images per second of a device in inference and in training, as a share of its matrix products, and what costs most.

python -m benchmarks.accelerator [--device DEVICE] [--size 800x1333] [--batches 1 8 32] [--training-batches 2 8] [--output FILE.json]

Number formats take turns: float32 with full products ("fp32") and with those of 19 bits where the device has them ("tf32"),
bfloat16 (mixed precision in training), each also compiled with `--compile`. The network's operations are counted by torch, the
device's best rate is that of square products of each format. A profile names the five operations that take most of the time.
`python -m benchmarks.inference --device DEVICE` and `python -m benchmarks.scale --device DEVICE` are the other two programs for
a device: the same alternatives as on a CPU, and memory.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.comparison import as_json, compare, environment, say, timing_table, write_report
from benchmarks.inference import parse_size
from benchmarks.made_models import made_config, made_model
from benchmarks.scale_point import make_training_step
from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration
from speaq_hf.inspection.model_benchmark import Timing, synchronize
from speaq_hf.models.speaq.inference_speaq import SpeaQFusedLinear
from speaq_hf.predictor import preferred_device


FORMATS = ("fp32", "tf32", "bf16")
COMPILED = ", compiled"
_LONG_ENOUGH = 0.05  # seconds of a product
_RELATIONS = 20


@dataclass(frozen=True)
class Job:
    """What is computed where.

    Args:
        config: Of the network.
        size: Height and width of its inputs.
        device: Where.
        repeats: Rounds that count.
        formats: Number formats and whether the network is compiled: "bf16, compiled".
        products: Rows and columns of the products that show the device's best rate, smallest first.
    """

    config: SpeaQConfig
    size: tuple[int, int]
    device: torch.device
    repeats: int
    formats: Sequence[str]
    products: Sequence[int] = (512, 1024, 2048, 4096, 8192)

    def images(self, batch: int) -> Tensor:
        """Noise, `(batch, 3, height, width)`."""
        return torch.rand(batch, 3, *self.size, device=self.device)


@contextmanager
def products(number_format: str) -> Iterator[None]:
    """Within, products of float32 numbers are computed in full, or with "tf32" in fewer digits where the device can."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    is_short = number_format.startswith("tf32")
    torch.set_float32_matmul_precision("high" if is_short else "highest")
    torch.backends.cudnn.allow_tf32 = is_short
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def best_rate(number_format: str, sizes: Sequence[int], device: torch.device) -> float:
    """Floating-point operations per second of the best square product, as torch or as our linear layers compute it."""
    dtype = torch.bfloat16 if number_format == "bf16" else torch.float32
    best = 0.0
    for size in sizes:
        layer = nn.Linear(size, size, bias=False, device=device, dtype=dtype).requires_grad_(False)
        rows = torch.rand(size, size, device=device).to(dtype)
        with products(number_format):
            runs = [
                _seconds(partial(kind, rows), device) for _ in range(5) for kind in (layer, SpeaQFusedLinear(layer))
            ]
        best = max(best, 2 * size**3 / min(runs))
        if min(runs) > _LONG_ENOUGH:
            break
    return best


def _seconds(function: Callable[[], Any], device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - start


def count_operations(config: SpeaQConfig, size: tuple[int, int]) -> int:
    """Floating-point operations of one image in the network as it is loaded, products and convolutions only."""
    with torch.device("meta"):
        model = SpeaQForSceneGraphGeneration(config).eval()
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            model(torch.empty(1, 3, *size))
    return counter.get_total_flops()


def measure_inference(job: Job, batch: int) -> dict[str, Timing]:
    """Times of the network for a batch in every format; formats that do not fit are left out."""
    images = job.images(batch)
    model = made_model(job.config).to(job.device)
    calls = {name: _inference(model, images, name) for name in job.formats}
    return compare(_possible(calls), job.repeats, device=job.device)


def _inference(model: nn.Module, images: Tensor, name: str) -> Callable[[], None]:
    network = model.optimize_for_inference()
    if name.startswith("bf16"):
        network = network.to(torch.bfloat16)
    if name.endswith(COMPILED):
        network = torch.compile(network)

    @torch.inference_mode()
    def call() -> None:
        with products(name):
            network(images)

    return call


def measure_training(job: Job, batch: int) -> dict[str, Timing]:
    """Times of a training step for a batch in every format; formats that do not fit are left out."""
    model = _model_in_training(job)
    calls = {name: _training(model, job, batch, name) for name in job.formats}
    return compare(_possible(calls), job.repeats, device=job.device)


def _model_in_training(job: Job) -> SpeaQForSceneGraphGeneration:
    return made_model(job.config).to(job.device).train().optimize_for_training()


def _training(model: nn.Module, job: Job, batch: int, name: str) -> Callable[[], None]:
    network = torch.compile(model) if name.endswith(COMPILED) else model
    step = make_training_step(network, job.images(batch), _RELATIONS, bfloat16=name.startswith("bf16"))

    def call() -> None:
        with products(name):
            step()

    return call


def _possible(calls: dict[str, Callable[[], None]]) -> dict[str, Callable[[], None]]:
    """Those that the device has enough memory for."""
    possible = {}
    for name, call in calls.items():
        try:
            call()
        except torch.OutOfMemoryError:
            say(f"{name}: does not fit into the device's memory, beside the weights of the other formats")
        else:
            possible[name] = call
    return possible


def top_costs(call: Callable[[], None], device: torch.device, count: int = 5) -> list[dict[str, Any]]:
    """The operations that take most of the time of a call, which has run before.

    Returns:
        Name, seconds, share of all and number of calls of each.
    """
    on_device = device.type != "cpu"
    activities = [ProfilerActivity.CPU]
    if on_device:
        activities += [activity for activity in torch.profiler.supported_activities() if activity not in activities]
    with profile(activities=activities) as profiler:
        call()
        synchronize(device)
    field = "self_device_time_total" if on_device else "self_cpu_time_total"
    events = sorted(profiler.key_averages(), key=lambda event: -getattr(event, field))
    total = sum(getattr(event, field) for event in events) or 1
    return [
        {
            "operation": event.key,
            "seconds": getattr(event, field) / 1e6,
            "share": getattr(event, field) / total,
            "calls": event.count,
        }
        for event in events[:count]
    ]


def tell_rates(
    timings: dict[str, Timing], batch: int, operations: int | None = None, rates: dict[str, float] | None = None
) -> dict[str, dict[str, float]]:
    """Print and return images per second and, for inference, the share of the device's best rate."""
    report = {}
    for name, timing in timings.items():
        per_second = batch / timing.median
        report[name] = {"images_per_second": per_second}
        line = f"{name:18}{per_second:10.2f} images/s"
        if operations is not None and rates is not None:
            share = operations * per_second / rates[name.removesuffix(COMPILED)]
            report[name]["share_of_best_rate"] = share
            line += f"{share:8.0%} of the best product"
        say(line)
    return report


def tell_costs(title: str, costs: list[dict[str, Any]]) -> None:
    """Print a profile."""
    say(f"\nmost of the time of {title}")
    for cost in costs:
        say(f"{cost['operation'][:60]:62}{1e3 * cost['seconds']:9.2f} ms{cost['share']:8.1%}{cost['calls']:7} calls")


def run(job: Job, batches: Sequence[int], training_batches: Sequence[int]) -> dict[str, Any]:
    """Measure everything."""
    rates = {name: best_rate(name, job.products, job.device) for name in FORMATS}
    operations = count_operations(job.config, job.size)
    say(", ".join(f"{name} {rate / 1e12:.2f} TFLOP/s" for name, rate in rates.items()) + " in the best product")
    say(f"{operations / 1e9:.3g} GFLOP per image of {job.size[0]} x {job.size[1]}")
    report: dict[str, Any] = {"best_rates": rates, "operations": operations, "inference": {}, "training": {}}
    for task, measure, sizes in (
        ("inference", measure_inference, batches),
        ("training", measure_training, training_batches),
    ):
        for batch in sizes:
            say(f"\n{task}, batch {batch}")
            timings = measure(job, batch)
            if not timings:
                continue
            reference = next(iter(timings))
            say(timing_table(timings, reference))
            shares = (operations, rates) if task == "inference" else ()
            told = tell_rates(timings, batch, *shares)
            numbers = as_json(timings, reference)
            report[task][batch] = {name: numbers[name] | told[name] for name in timings}
    report["costs"] = _profiles(job, batches, training_batches)
    return report


def _profiles(job: Job, batches: Sequence[int], training_batches: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
    """Top costs of the smallest and the largest batch of inference, and of the smallest of training, in the last format."""
    name = job.formats[-1]
    calls = {
        f"inference, batch {batch}, {name}": lambda batch=batch: _inference(
            made_model(job.config).to(job.device), job.images(batch), name
        )
        for batch in dict.fromkeys((min(batches), max(batches)))
    }
    calls[f"training, batch {min(training_batches)}, {name}"] = lambda: _training(
        _model_in_training(job), job, min(training_batches), name
    )
    costs = {}
    for title, make in calls.items():
        possible = _possible({title: make()})
        if possible:
            costs[title] = top_costs(possible[title], job.device)
            tell_costs(title, costs[title])
    return costs


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    device = preferred_device()
    is_slow = device.type == "cpu"
    parser.add_argument("--device", default=str(device))
    parser.add_argument("--size", type=parse_size, help="Default: 800x1333, on a CPU 320x480.")
    parser.add_argument("--batches", type=int, nargs="+", help="Default: 1 8 32, on a CPU 1 2.")
    parser.add_argument("--training-batches", type=int, nargs="+", help="Default: 2 8, on a CPU 1.")
    parser.add_argument("--repeats", type=int, default=3 if is_slow else 20)
    parser.add_argument("--compile", action="store_true", help="Each format also compiled.")
    parser.add_argument("--quick", action="store_true", help="A small network on small images.")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args(words)
    device = torch.device(arguments.device)
    is_slow = device.type == "cpu"
    formats = [name for name in FORMATS for name in ([name, name + COMPILED] if arguments.compile else [name])]
    size = (64, 96) if arguments.quick else arguments.size or ((320, 480) if is_slow else (800, 1333))
    batches = [1, 2] if arguments.quick else arguments.batches or ([1, 2] if is_slow else [1, 8, 32])
    training_batches = [2] if arguments.quick else arguments.training_batches or ([1] if is_slow else [2, 8])
    repeats = 1 if arguments.quick else arguments.repeats
    products = {"products": (256,)} if arguments.quick else {}
    job = Job(made_config(arguments.quick), size, device, repeats, formats, **products)
    report = run(job, batches, training_batches)
    write_report({"environment": environment(device), "size": size} | report, arguments.output)


if __name__ == "__main__":
    main()
