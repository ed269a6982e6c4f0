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


@app.command("plot-log")
def plot_log(
    run: Annotated[Path, typer.Argument(help="Folder of a training run, or its log.jsonl.")],
    output: Annotated[
        Path | None, typer.Option(help="Picture to write (png, pdf, svg); default RUN/curves.png.")
    ] = None,
) -> None:
    """Draw the losses and metrics of a training run."""
    from .training_curves import save_training_curves

    try:
        typer.echo(f"Wrote {save_training_curves(run, output)}")
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error


def main() -> None:
    """Entry point of the `speaq` command."""
    app()


if __name__ == "__main__":
    main()
