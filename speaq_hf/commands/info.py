# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`speaq info`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .shared_options import Revision
from .user_errors import user_errors


def info(
    model: Annotated[
        str | None, typer.Argument(help="Folder of a model or of its training run, or a Hub name.")
    ] = None,
    revision: Revision = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is in a model, or what computes it.

    A model is not loaded for that; without one, versions, devices and memory are listed.

    Examples:

    speaq info

    speaq info outputs/speaq_vg

    speaq info owner/name --revision v1 --json
    """
    with user_errors():
        from ..checkpoints.checkpoint_files import CheckpointFiles
        from ..inspection.checkpoint_report import checkpoint_report
        from ..inspection.report_tables import checkpoint_text, system_text
        from ..inspection.system_report import system_report

        if model is None:
            report, text = system_report(), system_text
        else:
            report, text = checkpoint_report(CheckpointFiles.of(model, revision)), checkpoint_text
    typer.echo(json.dumps(report, indent=2) if as_json else text(report))
