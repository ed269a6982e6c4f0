# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The `speaq` command: one sub-command per task, each a thin layer over the library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


app = typer.Typer(
    name="speaq",
    help="Scene graph generation with SpeaQ.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _speaq() -> None:
    """Scene graph generation with SpeaQ."""


@app.command("generate-data")
def generate_data(
    root: Annotated[Path, typer.Argument(help="Folder to write the data set to.")],
    num_images: Annotated[int, typer.Option("--num-images", "-n", help="How many images.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same images.")] = 0,
    image_size: Annotated[int, typer.Option(help="Width and height in pixels.")] = 256,
    style: Annotated[str, typer.Option(help='Look of the images: "clean", "photo" or "night".')] = "clean",
    max_objects: Annotated[int, typer.Option(help="Most objects of an image.")] = 8,
    max_relations: Annotated[int, typer.Option(help="Most relations of an image.")] = 8,
    num_workers: Annotated[int | None, typer.Option(help="Processes; default one per core.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a set generated before.")] = False,
) -> None:
    """Draw a synthetic scene graph data set in the file formats of Visual Genome."""
    from .data.generator import generate_synthetic_genome
    from .data.scenes import SceneComplexity

    try:
        generate_synthetic_genome(
            root,
            num_images,
            seed,
            image_size=image_size,
            style=style,
            complexity=SceneComplexity(max_objects=max_objects, max_relations=max_relations),
            num_workers=num_workers,
            overwrite=overwrite,
            progress=True,
        )
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"Wrote {num_images} images with annotations to {root}")


@app.command("convert-data")
def convert_data(
    source: Annotated[str, typer.Argument(help="Folder or file of a scene graph data set, or a Hub repository.")],
    target: Annotated[Path, typer.Argument(help="Folder to write.")],
    format: Annotated[str, typer.Option("--format", "-f", help="visual_genome, coco, imagefolder, arrow or parquet.")],
    source_format: Annotated[str | None, typer.Option(help="Where the source holds several formats.")] = None,
    images: Annotated[str | None, typer.Option(help="Folder of the source's images, if it is another.")] = None,
    keep_empty: Annotated[
        bool, typer.Option("--keep-empty", help="From Visual Genome's files, also images without relations.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the target.")] = False,
) -> None:
    """Convert a scene graph data set, with all its splits, to another format."""
    from .data.scene_graph_files import load_scene_graph_splits, save_scene_graphs

    options = ({"images": images} if images else {}) | ({"keep_empty": True} if keep_empty else {})
    try:
        splits = load_scene_graph_splits(source, format=source_format, **options)
        save_scene_graphs(splits, target, format, overwrite=overwrite)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    counts = ", ".join(f"{len(dataset)} {split}" for split, dataset in splits.items())
    typer.echo(f"Wrote {counts} images with their graphs to {target}")


def main() -> None:
    """Entry point of the `speaq` command."""
    app()


if __name__ == "__main__":
    main()
