# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`speaq convert-data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .user_errors import user_errors


def convert_data(
    source: Annotated[str, typer.Argument(help="Folder or file of a scene graph data set, or a Hub repository.")],
    target: Annotated[Path, typer.Argument(help="Folder to write.")],
    format: Annotated[str, typer.Option("--format", "-f", help="visual_genome, coco, imagefolder, arrow or parquet.")],
    source_format: Annotated[str | None, typer.Option(help="Where the source holds several formats.")] = None,
    images: Annotated[str | None, typer.Option(help="Folder of the source's images, if it is another.")] = None,
    keep_empty: Annotated[
        bool, typer.Option("--keep-empty", help="From Visual Genome's files, also images without relations.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a target that this command wrote and that holds nothing else.")
    ] = False,
) -> None:
    """Convert a scene graph data set to another format.

    All its splits are converted. The target must be a folder beside the source: not the source, not within it, and
    not one that contains it.

    Example: speaq convert-data data/visual_genome data/genome_coco --format coco
    """
    options = ({"images": images} if images else {}) | ({"keep_empty": True} if keep_empty else {})
    with user_errors("train"):
        from ..data.scene_graph_files import convert_scene_graphs

        converted = convert_scene_graphs(
            source, target, format, source_format=source_format, overwrite=overwrite, **options
        )
    counts = ", ".join(f"{count} {split}" for split, count in converted.items())
    typer.echo(f"Wrote {counts} images with their graphs to {target}")
