# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The log of a run: one JSON object per line, and means over the steps between two lines."""

import json
import logging
import math
import os
import time
from pathlib import Path
from typing import IO, Any

import torch
from accelerate import Accelerator
from torch import Tensor

from speaq_hf.complete_files import complete_file

from .optimization_step import StepResult
from .writing import naming_target


logger = logging.getLogger(__name__)


class JsonLinesLog:
    """A file of JSON objects, one per line, each with a `step`. Numbers that are not finite become null.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, entry: dict[str, Any]) -> None:
        """Append a line."""
        line = json.dumps({name: _json_value(value) for name, value in entry.items()})
        with naming_target(self.path), open(self.path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
            _sync(file)  # line by line, so that a power cut leaves at most half of the last one

    def read(self) -> list[dict[str, Any]]:
        """All lines that can be read; others are named in a warning. A crash can leave half a line at the end, which is
        left out."""
        if not self.path.is_file():
            return []
        complete, _, _ = self.path.read_bytes().rpartition(b"\n")
        entries = [self._parse(line, number) for number, line in enumerate(complete.split(b"\n"), 1) if line.strip()]
        return [entry for entry in entries if entry is not None]

    def drop_after(self, step: int) -> None:
        """Forget what was logged after a step, because the run goes on from there."""
        entries = [entry for entry in self.read() if entry["step"] <= step]
        with naming_target(self.path), complete_file(self.path) as unfinished:
            with open(unfinished, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(entry) + "\n" for entry in entries)
                _sync(file)

    def _parse(self, line: bytes, number: int) -> dict[str, Any] | None:
        try:
            entry = json.loads(line)
        except ValueError:  # JSONDecodeError and UnicodeDecodeError are two
            entry = None
        if isinstance(entry, dict) and type(entry.get("step")) is int:
            return entry
        logger.warning("%s, line %d is damaged and left out: %.80r", self.path, number, line)
        return None


class StepMeter:
    """Means of the last decoder layer's losses, and the speed, since the last reading.

    Skipped steps, which changed nothing, do not enter the losses.
    """

    def __init__(self) -> None:
        self._losses: dict[str, Tensor] = {}
        self._finite_steps = self._images = 0
        self._start = time.perf_counter()

    def add(self, result: StepResult) -> None:
        """Add a step."""
        for name, value in result.losses.items():
            if not name.partition("/")[0].rpartition("_")[2].isdigit():
                value = value if result.is_finite else torch.zeros_like(value)
                self._losses[name] = self._losses.get(name, 0) + value
        self._finite_steps += result.is_finite
        self._images += len(result.image_ids)

    def read(self, accelerator: Accelerator) -> dict[str, float]:
        """Means over steps and processes, and `images_per_second` of all processes; then start anew. NaN if there are none.

        Every process must call it.
        """
        names, sums = list(self._losses), torch.stack(list(self._losses.values()))
        # A process holds its share times their number, so that their mean is the loss of the whole batch.
        passes = self._finite_steps * accelerator.gradient_accumulation_steps
        means = accelerator.reduce(sums / passes, reduction="mean")
        speed = self._images * accelerator.num_processes / (time.perf_counter() - self._start)
        self.__init__()
        return dict(zip(names, means.tolist(), strict=True)) | {"images_per_second": round(speed, 2)}


def _sync(file: IO[str]) -> None:
    """Wait until it is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def _json_value(value: Any) -> Any:
    """Strict JSON has no NaN."""
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
