# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Where the time of a call goes: stages of a pipeline, and parts of a network while it computes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from speaq_hf.inspection.model_benchmark import Timing, synchronize


class StageClock:
    """Collects the seconds of named stages, run after run.

    Args:
        device: Whose work is waited for at both ends of a stage.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device
        self.runs: list[dict[str, float]] = []
        self._last = 0.0

    def begin_run(self) -> None:
        """What is timed from now on belongs to another run."""
        self.runs.append({})

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        self._mark()
        start = self._last
        yield
        self._mark()
        self._add(name, self._last - start)

    def watch(self, network: nn.Module, parts: Mapping[str, nn.Module], rest: str) -> None:
        """Time parts of a network, which run one after the other, whenever it computes.

        Args:
            network: What is called.
            parts: Its parts by the names of their stages.
            rest: Name of what comes after the last of them.
        """
        starts: dict[str, float] = {}

        def start_of(name: str) -> Any:
            def hook(*_: Any) -> None:
                self._mark()
                starts[name] = self._last

            return hook

        def end_of(name: str) -> Any:
            def hook(*_: Any) -> None:
                self._mark()
                self._add(name, self._last - starts[name])

            return hook

        def after_the_last(*_: Any) -> None:
            before = self._last
            self._mark()
            self._add(rest, self._last - before)
            self._add("network", self._last - starts["network"])

        network.register_forward_pre_hook(start_of("network"))
        network.register_forward_hook(after_the_last)
        for name, part in parts.items():
            part.register_forward_pre_hook(start_of(name))
            part.register_forward_hook(end_of(name))

    def timings(self, warm_up: int = 0) -> dict[str, Timing]:
        """Of each stage, without the first runs."""
        runs = self.runs[warm_up:]
        return {name: Timing.of([run[name] for run in runs]) for name in runs[0]} if runs else {}

    def _mark(self) -> None:
        synchronize(self.device)
        self._last = time.perf_counter()

    def _add(self, name: str, seconds: float) -> None:
        self.runs[-1][name] = self.runs[-1].get(name, 0.0) + seconds
