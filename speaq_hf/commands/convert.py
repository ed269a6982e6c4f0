# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`speaq convert`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .user_errors import user_errors


def convert(
    checkpoint: Annotated[Path, typer.Option(help="Detectron2-style .pth file.")],
    config: Annotated[Path, typer.Option(help="Its settings: JSON of dotted keys, or the published YAML.")],
    output: Annotated[Path, typer.Option(help="New folder for the converted model.")],
    categories: Annotated[Path | None, typer.Option(help="Vocabulary JSON, if not VG150's.")] = None,
) -> None:
    """Convert a Detectron2 checkpoint of SpeaQ or Iterative SGG.

    Example: speaq convert --checkpoint model_best.pth --config speaq.yaml --output speaq-r101-vg150
    """
    with user_errors():
        from ..project_files import project_folder

        sys.path.insert(0, str(project_folder()))
        from conversion.convert_detectron2 import convert as convert_checkpoint

        _, report = convert_checkpoint(checkpoint, config, output, categories)
    typer.echo(report.summary())
    typer.echo(f"Wrote {output}")
