# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`speaq generate-data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .user_errors import user_errors


DEFAULT_NUM_IMAGES = 1000
FREE_WITH_WORLD = ("root", "world", "num_images", "num_workers", "overwrite")


def generate_data(
    context: typer.Context,
    root: Annotated[Path, typer.Argument(help="Folder to write the data set to, empty or of a generated set.")],
    world: Annotated[
        str | None,
        typer.Option(
            help='A benchmark that fixes everything else, "scene-world-v1": both domains, in ROOT/real and ROOT/synthetic.'
        ),
    ] = None,
    num_images: Annotated[
        int | None,
        typer.Option(
            "--num-images",
            "-n",
            help=f"How many images; default {DEFAULT_NUM_IMAGES}, of a benchmark all.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same images.")] = 0,
    image_size: Annotated[int, typer.Option(help="Width and height in pixels.")] = 256,
    domain: Annotated[
        str, typer.Option(help='"synthetic": flat renders; "real": camera-like, Visual Genome\'s file names.')
    ] = "synthetic",
    max_objects: Annotated[int, typer.Option(help="Most objects of an image.")] = 8,
    max_relations: Annotated[int, typer.Option(help="Most relations of an image.")] = 8,
    predicate_zipf: Annotated[
        float | None, typer.Option(help="Exponent of the predicates' long tail, 0 to 3.")
    ] = None,
    held_out_share: Annotated[
        float, typer.Option(help="Share of the rarer triplets that only test images show.")
    ] = 0.12,
    missing_relations: Annotated[float, typer.Option(help="Share of training relations left out.")] = 0.0,
    duplicate_relations: Annotated[float, typer.Option(help="Share of training relations listed twice.")] = 0.0,
    box_jitter: Annotated[float, typer.Option(help="Deviation of training boxes, as a share of the side.")] = 0.0,
    num_workers: Annotated[int | None, typer.Option(help="Processes; default one per core.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a set generated before.")] = False,
) -> None:
    """Draw a synthetic scene graph data set.

    Its files have the formats of Visual Genome.

    Example: speaq generate-data data/synthetic_genome --num-images 5000 --seed 1
    """
    if world is not None:
        _refuse_fixed_options(context, world)
        _generate_world(root, world, num_images, num_workers, overwrite)
        return
    num_images = DEFAULT_NUM_IMAGES if num_images is None else num_images
    with user_errors("train"):
        from ..data.annotation_noise import AnnotationNoise
        from ..data.generator import generate_synthetic_genome
        from ..data.scenes import SceneComplexity
        from ..data.triplet_distribution import TripletDistribution

        generate_synthetic_genome(
            root,
            num_images,
            seed,
            image_size=image_size,
            domain=domain,
            complexity=SceneComplexity(max_objects=max_objects, max_relations=max_relations),
            distribution=TripletDistribution(predicate_zipf, held_out_share),
            noise=AnnotationNoise(missing_relations, duplicate_relations, box_jitter),
            num_workers=num_workers,
            overwrite=overwrite,
            progress=True,
        )
    typer.echo(f"Wrote {num_images} images with annotations to {root}")


def _refuse_fixed_options(context: typer.Context, world: str) -> None:
    # By name: some versions of typer bring a click of their own.
    given = [name for name in context.params if context.get_parameter_source(name).name == "COMMANDLINE"]
    fixed = [f"--{name.replace('_', '-')}" for name in given if name not in FREE_WITH_WORLD]
    if fixed:
        raise typer.BadParameter(f"--world {world} fixes {', '.join(fixed)}: leave one or the other away")


def _generate_world(root: Path, world: str, num_images: int | None, num_workers: int | None, overwrite: bool) -> None:
    with user_errors("train"):
        from ..data.scene_world import generate_scene_world

        folders = generate_scene_world(
            root, world, num_images=num_images, num_workers=num_workers, overwrite=overwrite, progress=True
        )
    for domain, folder in folders.items():
        typer.echo(f"Wrote the {domain} domain of {world} to {folder}")
