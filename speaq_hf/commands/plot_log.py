# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`speaq plot-log`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .user_errors import user_errors


def plot_log(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of training runs, or their log.jsonl.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="Picture to write (png, pdf, svg); default RUN/curves.png, for several runs beside the first."
        ),
    ] = None,
) -> None:
    """Draw the losses and metrics of training runs.

    Of several runs the curves lie over each other.

    Example: speaq plot-log outputs/speaq_vg outputs/isg_vg --output curves.pdf
    """
    with user_errors("viz"):
        from ..training_runs.training_curves import save_training_curves

        typer.echo(f"Wrote {save_training_curves(*runs, output=output)}")
