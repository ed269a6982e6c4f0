# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`speaq app`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .user_errors import user_errors


def app(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder or Hub name of a model to choose, repeat for several; the packaged one is there, too."
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen at; 0.0.0.0 for other machines. Default: this machine alone.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Default: the first free one from 7860 on.")] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Make it reachable for everybody, through gradio's servers.")
    ] = False,
    write_space: Annotated[
        Path | None, typer.Option(help="Write the files of a Hugging Face Space to this folder, and start nothing.")
    ] = None,
    requirement: Annotated[
        str, typer.Option(help="What such a Space installs this package from: name, version or address.")
    ] = "speaq_hf[app]",
) -> None:
    """Start the web app: choose a picture, see its graph.

    Boxes and graph stand side by side, to point at, filter and download.

    Examples:

    speaq app --model outputs/demo/run/final

    speaq app --model owner/name --write-space my-space
    """
    models = model or []
    with user_errors("app"):
        if write_space is not None:
            from ..app.space_files import write_space as write_files

            typer.echo(f"Wrote a Space to {write_files(write_space, models, requirement=requirement)}")
            return
        from ..app.web_app import build_app, launch_app

        web_app = build_app(models)
        typer.echo(f"Open {launch_app(web_app, host=host, port=port, share=share)}")
    web_app.block_thread()
