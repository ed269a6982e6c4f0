# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Mistakes of a user end a program with one readable message instead of a traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


# By which the library says that an argument or a file is wrong.
USER_ERRORS = (ValueError, OSError)


@contextmanager
def exit_on_user_error(kinds: tuple[type[Exception], ...] = USER_ERRORS, code: int = 1) -> Iterator[None]:
    """End the program with an exit code and the message of an exception.

    Args:
        kinds: Which exceptions.
        code: The exit code.
    """
    try:
        yield
    except kinds as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # the other processes of this machine would say the same
            print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(code) from error
