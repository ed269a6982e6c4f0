# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Time and memory against the size of the problem, and what fits in how much memory.

python -m benchmarks.scale [--full] [--device DEVICE] [--repeats 5] [--output FILE.json]

Image size, batch, object queries N, relation queries per object query m, decoder layers L, relations per image and processes are
changed one at a time, each measurement in a process of its own. Then, for training in float32 and in mixed precision, with and
without activation checkpointing, memory is measured at a few sizes, a model linear in batch and cells is fitted, its error is
shown at another, and the largest batch at 800 x 1333 is computed for 8, 16, 24, 80 and 140 GiB; `--full`, and an accelerator,
measure those batches that the machine can hold. Weights are random; memory is that of tensors on an accelerator, of the process
less its libraries on a CPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.comparison import environment, say, write_report
from benchmarks.memory_model import GIBIBYTE, USABLE, MemoryModel
from benchmarks.scale_point import Point, measure_point
from speaq_hf.inspection.system_report import device_report
from speaq_hf.predictor import preferred_device


BUDGETS = (8, 16, 24, 80, 140)  # GiB
LARGE = (800, 1333)  # of the published training, at most
MODES = {
    "fp32": {},
    "fp32, checkpointing": {"checkpointing": True},
    "bf16": {"bfloat16": True},
    "bf16, checkpointing": {"bfloat16": True, "checkpointing": True},
}
FAILURE = "failure"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        inference: Of which one thing at a time is changed.
        training: Likewise.
        sizes: Heights and widths.
        batches: Images at once.
        queries: N.
        multipliers: m.
        layers: L.
        relations: Per image, in training.
        processes: At once.
        fitted: Batch, height and width of the trainings that the model of memory is fitted to.
        held_out: Of that which shows its error.
        modes: Ways to train that are fitted, of `MODES`.
    """

    inference: Point
    training: Point
    sizes: Sequence[tuple[int, int]]
    batches: Sequence[int] = (2, 4)
    queries: Sequence[int] = (100, 600)
    multipliers: Sequence[int] = (1, 4)
    layers: Sequence[int] = (1, 3)
    relations: Sequence[int] = (1, 100, 500)
    processes: Sequence[int] = (2,)
    fitted: Sequence[tuple[int, int, int]] = ((1, 320, 480), (1, 600, 800), (1, *LARGE), (2, *LARGE))
    held_out: tuple[int, int, int] = (2, 600, 800)
    modes: Sequence[str] = tuple(MODES)

    def sweeps(self) -> dict[str, list[Point]]:
        """Points by what is changed, the unchanged one first."""

        def vary(base: Point, field: str, values: Iterable[Any]) -> list[Point]:
            return [base, *(dataclasses.replace(base, **{field: value}) for value in values)]

        base = self.inference
        sizes = [dataclasses.replace(base, height=height, width=width) for height, width in self.sizes]
        return {
            "image size": [base, *sizes],
            "batch": vary(base, "batch", self.batches),
            "object queries N": vary(base, "queries", self.queries),
            "multiplier m": vary(base, "multiplier", self.multipliers),
            "decoder layers L": vary(base, "layers", self.layers),
            "relations per image": vary(self.training, "relations", self.relations),
            "processes": vary(base, "processes", self.processes),
        }


def default_plan(device: str) -> Plan:
    """A quarter of an hour on two cores, and 12 GB of memory."""
    inference = Point("inference", 320, 480, device=device)
    training = Point("training", 192, 256, device=device)
    return Plan(inference, training, sizes=[(480, 640), (600, 800), LARGE])


def full_plan(device: str) -> Plan:
    """The sizes of the published training."""
    return Plan(
        dataclasses.replace(default_plan(device).inference, height=480, width=640),
        dataclasses.replace(default_plan(device).training, height=480, width=640),
        sizes=[(240, 320), (320, 480), (600, 800), LARGE, (1333, 1333)],
        batches=(2, 4, 8, 16),
        queries=(50, 100, 600, 1200),
        multipliers=(1, 3, 4, 8),
        layers=(1, 2, 3, 9),
        relations=(1, 5, 50, 100, 200, 500),
        processes=(2, 4),
        fitted=((1, 480, 640), (2, 480, 640), (1, 600, 800), (1, *LARGE), (2, *LARGE)),
        held_out=(3, *LARGE),
    )


def quick_plan(device: str) -> Plan:
    """A small network, a few seconds."""
    small = {"queries": 10, "layers": 2, "small": True, "device": device}
    fitted = ((1, 64, 64), (4, 64, 64), (2, 128, 160))
    more = {
        "modes": ("bf16, checkpointing",),
        "queries": (20,),
        "multipliers": (1,),
        "layers": (1,),
        "relations": (1,),
        "batches": (2,),
    }
    return Plan(
        Point("inference", 64, 96, **small), Point("training", 64, 64, **small), [(96, 128)], fitted=fitted,
        held_out=(2, 96, 96), **more
    )  # fmt: skip


class Measurements:
    """Measures each point once.

    Args:
        repeats: Runs that count.
        warm_ups: Runs before them that do not.
    """

    def __init__(self, repeats: int, warm_ups: int = 1) -> None:
        self.repeats, self.warm_ups = repeats, warm_ups
        self.results: dict[Point, dict[str, Any]] = {}

    def of(self, point: Point) -> dict[str, Any]:
        """See `measure_point`; in addition `cells`."""
        if point not in self.results:
            self.results[point] = measure_point(point, self.repeats, self.warm_ups) | {"cells": point.cells}
        return self.results[point]


def run_sweeps(plan: Plan, measurements: Measurements) -> dict[str, list[dict[str, Any]]]:
    """Measure and tell what changes with each size."""
    reports = {}
    for name, points in plan.sweeps().items():
        say(f"\n{name:24}{'s per batch':>14}{'images/s':>12}{'memory, MB':>14}")
        reports[name] = [measurements.of(point) for point in points]
        for point, result in zip(points, reports[name], strict=True):
            say(f"{_value(name, point):24}{_cells_of_table(result)}")
    return reports


def _value(sweep: str, point: Point) -> str:
    values = {
        "image size": f"{point.height} x {point.width}",
        "batch": point.batch,
        "object queries N": point.queries,
        "multiplier m": point.multiplier,
        "decoder layers L": point.layers,
        "relations per image": point.relations,
        "processes": point.processes,
    }
    return f"{values[sweep]} ({point.task})"


def _cells_of_table(result: dict[str, Any]) -> str:
    if FAILURE in result:
        return f"  {result[FAILURE]}"
    return f"{result['seconds']:14.3f}{result['images_per_second']:12.2f}{result['peak'] / 1e6:14.0f}"


def fit_modes(plan: Plan, measurements: Measurements) -> dict[str, tuple[MemoryModel, float]]:
    """For every way to train that could be measured a model of its memory, and its error at the size held out."""
    models = {}
    say(f"\n{'memory of training':24}{'model, MB':>12}{'MB/image':>12}{'kB/cell':>12}{'error held out':>18}")
    for name in plan.modes:
        results = [measurements.of(_training(plan, size, MODES[name])) for size in (*plan.fitted, plan.held_out)]
        if any(FAILURE in result for result in results):
            say(f"{name:24}  {next(result[FAILURE] for result in results if FAILURE in result)}")
            continue
        model = MemoryModel.fit(results[:-1])
        models[name] = model, model.error(results[-1])
        say(
            f"{name:24}{model.model / 1e6:12.0f}{model.image / 1e6:12.0f}{model.cell / 1e3:12.0f}{models[name][1]:18.1%}"
        )
    return models


def _training(plan: Plan, size: tuple[int, int, int], mode: dict[str, bool]) -> Point:
    batch, height, width = size
    return dataclasses.replace(plan.training, batch=batch, height=height, width=width, **mode)


def largest_batches(
    plan: Plan, models: dict[str, tuple[MemoryModel, float]], measurements: Measurements, confirm: bool
) -> dict[str, dict[str, dict[str, Any]]]:
    """For every way to train and every memory the largest batch of large images, and how that is known."""
    budgets = [f"{size} GiB" for size in BUDGETS]
    say(f"\nlargest batch at {LARGE[0]} x {LARGE[1]}".ljust(33) + "".join(f"{name:>16}" for name in budgets))
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for name, (model, _) in models.items():
        table[name] = {
            budget: _largest_batch(_training(plan, (1, *LARGE), MODES[name]), model, size, measurements, confirm)
            for budget, size in zip(budgets, BUDGETS, strict=True)
        }
        entries = (f"{entry['batch']} {entry['known']}" for entry in table[name].values())
        say(f"{name:32}" + "".join(f"{entry:>16}" for entry in entries))
    return table


def _largest_batch(
    one: Point, model: MemoryModel, size: int, measurements: Measurements, confirm: bool
) -> dict[str, Any]:
    budget = size * GIBIBYTE
    batch = model.largest_batch(budget, one.cells)
    if confirm and batch and model.peak(batch, one.cells) < _free_memory(one.device):
        result = measurements.of(dataclasses.replace(one, batch=batch))
        while FAILURE not in result and result["peak"] > USABLE * budget and batch > 1:
            batch -= 1
            result = measurements.of(dataclasses.replace(one, batch=batch))
        if FAILURE not in result and result["peak"] <= USABLE * budget:
            return {"batch": batch, "known": "measured", "peak": result["peak"]}
    return {"batch": batch, "known": "computed"}


def _free_memory(device: str) -> float:
    """Bytes that a measurement may take without harm to whatever else runs."""
    if torch.device(device).type != "cpu":
        return USABLE * (device_report(torch.device(device))["memory"] or 0)
    return 0.8 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default=str(preferred_device()))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--full", action="store_true", help="The published sizes, half an hour and more on a CPU.")
    parser.add_argument("--quick", action="store_true", help="A small network, a few seconds.")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args(words)
    make_plan = quick_plan if arguments.quick else full_plan if arguments.full else default_plan
    plan = make_plan(arguments.device)
    sweeps = run_sweeps(plan, Measurements(arguments.repeats, warm_ups=3))
    measurements = Measurements(repeats=1, warm_ups=1)  # memory does not need more
    models = fit_modes(plan, measurements)
    confirm = not arguments.quick and (arguments.full or torch.device(arguments.device).type != "cpu")
    report = {
        "environment": environment(arguments.device),
        "sweeps": sweeps,
        "memory_models": {
            name: dataclasses.asdict(model) | {"error_held_out": error} for name, (model, error) in models.items()
        },
        "largest_batches": largest_batches(plan, models, measurements, confirm),
        "memory_points": list(measurements.results.values()),
    }
    write_report(report, arguments.output)


if __name__ == "__main__":
    main()
