# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A polite request to stop, as cluster schedulers send it, that a training loop can act on between two steps."""

import atexit
import ctypes
import multiprocessing
import os
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


class ReaderSignals:
    """What SIGTERM does to the processes that read images; a `DataLoader` takes it as `worker_init_fn`.

    It often reaches a whole process group or job. The training process answers with a checkpoint, up to which it needs its
    readers: they ignore it. They must not once that process comes to its end, by an error too: there `multiprocessing` sends
    it to all of them and waits until they are gone.
    """

    def __init__(self) -> None:
        # Without a lock, which a signal handler could wait for in vain.
        self._training_has_ended = multiprocessing.RawValue(ctypes.c_bool, False)
        # What is registered last is called first, so that it is set before `multiprocessing` sends the signal.
        atexit.register(self._release)

    def __call__(self, _: int) -> None:
        """Set the handler, in a reader."""
        signal.signal(signal.SIGTERM, self._answer)

    def _answer(self, number: int, frame: FrameType | None) -> None:
        if self._training_has_ended.value:
            os._exit(0)  # PyTorch would report any other code as an error of its own

    def _release(self) -> None:
        self._training_has_ended.value = True


leave_to_parent = ReaderSignals()
