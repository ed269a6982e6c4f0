# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""SIGINT and SIGTERM as one exception, after which a program can still say what is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class InterruptedRun(KeyboardInterrupt):
    """Somebody asked the program to end.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number  # what shells expect of a program that a signal ended


@contextmanager
def interruptible() -> Iterator[None]:
    """Raises `InterruptedRun` at the first SIGINT or SIGTERM inside the block; later ones, while files are closed, do nothing."""
    if threading.current_thread() is not threading.main_thread():  # signals reach no other
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    for later in (signal.SIGINT, signal.SIGTERM):
        signal.signal(later, signal.SIG_IGN)
    raise InterruptedRun(number)
