# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Times of several ways to do one thing, taken in turn so that whatever else the machine does meets all of them alike."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import json
import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from speaq_hf.complete_files import complete_file
from speaq_hf.inspection.model_benchmark import Timing, synchronize
from speaq_hf.inspection.system_report import device_report


LIBRARIES = ("torch", "transformers", "numpy", "scipy", "pillow")


def compare(
    alternatives: Mapping[str, Callable[[], Any]], repeats: int, warm_up: int = 1, device: torch.device | None = None
) -> dict[str, Timing]:
    """Time alternatives in rounds: each of them once per round, always in the same order.

    Args:
        alternatives: What is called, by name.
        repeats: Rounds that count, at least 1.
        warm_up: Rounds before them.
        device: Whose work is waited for at the end of each call.

    Returns:
        The timing of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(warm_up + repeats):
        for name, function in alternatives.items():
            start = time.perf_counter()
            function()
            synchronize(device)
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing.of(values[warm_up:]) for name, values in seconds.items()}


def peak_memory_in_new_process(prepare: Callable[..., Callable[[], Any]], *arguments: Any) -> dict[str, int]:
    """Memory that a call needs, measured in a process that does nothing else.

    Args:
        prepare: A function of a module; what it returns is called. What it allocates itself is not counted as the call's.
        arguments: Of `prepare`; they are pickled.

    Returns:
        Bytes: "before", what the process held before the call; "peak", the most it held; "call", the difference.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_memory, (prepare, arguments))


def _measure_memory(prepare: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...]) -> dict[str, int]:
    function = prepare(*arguments)
    forget_peak()
    before = resident_bytes()
    function()
    peak = peak_resident_bytes()
    return {"before": before, "peak": peak, "call": peak - before}


def forget_peak() -> None:
    """Let `peak_resident_bytes` begin anew: loading may have raised it above what comes next."""
    gc.collect()
    # What loading has freed would otherwise be taken for memory that is needed, or hide what is.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # of glibc alone
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def resident_bytes() -> int:
    """What this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def peak_resident_bytes() -> int:
    """The most that it has held since `forget_peak`."""
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def environment(device: torch.device | str = "cpu") -> dict[str, Any]:
    """What was measured on: processor or accelerator, threads, versions."""
    return {
        "device": device_report(torch.device(device)),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "system": platform.platform(),
        **{name: version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def timing_table(timings: Mapping[str, Timing], reference: str) -> str:
    """Lines of a table: median and quartiles in milliseconds, and how many times faster than the reference each is."""
    width = max(map(len, timings)) + 2
    lines = [f"{'':{width}}{'median':>10}{'quartiles':>20}{'times':>8}"]
    for name, timing in timings.items():
        quartiles = f"{1e3 * timing.low:.1f} to {1e3 * timing.high:.1f}"
        ratio = timings[reference].median / timing.median
        lines.append(f"{name:{width}}{1e3 * timing.median:>7.1f} ms{quartiles:>20}{ratio:>8.2f}")
    return "\n".join(lines)


def as_json(timings: Mapping[str, Timing], reference: str) -> dict[str, dict[str, float]]:
    """The same as plain numbers, in seconds."""
    return {
        name: dataclasses.asdict(timing) | {"times_faster": timings[reference].median / timing.median}
        for name, timing in timings.items()
    }


def write_report(report: Mapping[str, Any], file: Path | None) -> None:
    """Write what was measured as JSON; nowhere when there is no file."""
    if file is not None:
        with complete_file(file) as path:
            path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def say(text: str) -> None:
    """A line for whoever watches the program."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
