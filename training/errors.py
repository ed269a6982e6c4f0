# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Mistakes of a user end a program with one readable message instead of a traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


# By which the library says that an argument or a file is wrong.
USER_ERRORS = (ValueError, OSError)


@contextmanager
def exit_on_user_error(
    kinds: tuple[type[Exception], ...] = USER_ERRORS, code: int = 1, every_process: bool = False
) -> Iterator[None]:
    """End the program with an exit code and the message of an exception.

    Args:
        kinds: Which exceptions.
        code: The exit code.
        every_process: Whether each process has errors of its own, as of the images it reads; otherwise the first process of
            a machine speaks for all.
    """
    try:
        yield
    except kinds as error:
        if every_process or os.environ.get("LOCAL_RANK", "0") == "0":
            rank = f"[rank {os.environ['RANK']}] " if every_process and "RANK" in os.environ else ""
            print(f"{rank}error: {_message(error)}", file=sys.stderr, flush=True)
        raise SystemExit(code) from error


def _message(error: Exception) -> str:
    """What an error says; of one that a reading process raised, without the traceback that PyTorch puts before it."""
    text = str(error)
    if text.startswith("Caught ") and "Original Traceback" in text:
        return text.strip().splitlines()[-1].partition(": ")[2]
    return text
