# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""How commands report what a user can mend: in one sentence, with exit code 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def user_errors(extras: str = "") -> Iterator[None]:
    """Turns the errors of the library inside the block into messages without a traceback.

    Args:
        extras: The extras of the package that the command needs, separated by commas: what to install when a library is
            missing.

    Raises:
        typer.BadParameter: Instead of `ValueError`, `TypeError`, `OSError` and, with `extras`, `ImportError`.
    """
    try:
        yield
    except ImportError as error:
        if not extras:
            raise
        raise typer.BadParameter(_how_to_install(extras, str(error))) from error
    except (ValueError, TypeError, OSError) as error:
        raise typer.BadParameter(str(error)) from error


def _how_to_install(extras: str, error: str) -> str:
    """What is missing, and the command that installs it, unless the error says it."""
    return error if "pip install" in error else f'{error}; pip install "speaq_hf[{extras}]" first'
