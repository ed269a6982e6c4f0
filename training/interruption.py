# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A polite request to stop, as cluster schedulers send it, that a training loop can act on between two steps."""

import signal
import threading
from types import FrameType, TracebackType


class TrainingInterrupted(RuntimeError):
    """Training ended early because the process was asked to; a checkpoint was saved."""


class Interruption:
    """Inside the `with` block SIGTERM does not end the process but sets `is_requested`.

    Further ones change nothing: a scheduler and a launcher may each send one, and SIGKILL is left to the impatient.
    """

    def __init__(self) -> None:
        self.is_requested = False
        self._previous = None

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # signals reach no other
            self._previous = signal.signal(signal.SIGTERM, self._request)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.is_requested = True


def leave_to_parent(_: int) -> None:
    """In a reading process: ignore the SIGTERM that a whole process group gets; the training process ends its readers."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
