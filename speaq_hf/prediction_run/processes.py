# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Which of the processes that share a run this one is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import torch


Item = TypeVar("Item")


class Processes:
    """The processes that `accelerate launch` or `torchrun` started together, or this one alone.

    They speak to each other at the start only; later, files in a common folder say who is done, so that none waits for another
    while there is work.
    """

    def __init__(self) -> None:
        size = int(os.environ.get("WORLD_SIZE", "1"))
        self._state = _distributed_state(size) if size > 1 else None
        self.index = self._state.process_index if self._state else 0
        self.count = self._state.num_processes if self._state else 1

    @property
    def device(self) -> torch.device | None:
        """The accelerator of this process; None where it is alone and may choose."""
        return self._state.device if self._state else None

    @property
    def is_first(self) -> bool:
        """Whether this process prepares what all need."""
        return self.index == 0

    def wait(self) -> None:
        """Waits until all processes have come here."""
        if self._state:
            self._state.wait_for_everyone()

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's share of items that all processes know in the same order."""
        return items[self.index :: self.count]


def is_launched() -> bool:
    """Whether a program started this process that takes an exit code other than 0 for a crash."""
    return "LOCAL_RANK" in os.environ or "ACCELERATE_MIXED_PRECISION" in os.environ


def _distributed_state(size: int) -> Any:
    try:
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env
    except ImportError as error:
        raise ValueError(f"several processes need accelerate: pip install accelerate ({error})") from error
    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())
    if state.num_processes != size:  # each would believe to be alone, and all would write the same files
        raise ValueError(f"WORLD_SIZE is {size}, but accelerate sees {state.num_processes} processes")
    return state
