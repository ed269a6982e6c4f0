# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`speaq generate-data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .user_errors import user_errors


def generate_data(
    root: Annotated[Path, typer.Argument(help="Folder to write the data set to, empty or of a generated set.")],
    num_images: Annotated[int, typer.Option("--num-images", "-n", help="How many images.")] = 1000,
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
    """Draw a synthetic scene graph data set in the file formats of Visual Genome."""
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
