# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The two domains of generated data: one world, seen by a renderer and by a camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .photography import render_photo
from .rendering import render_flat
from .scene_objects import Scene


FIRST_IMAGE_ID = 10_000_001  # of all domains: beyond Visual Genome's ids, so that sets can be mixed
MAX_IMAGES = 10_000_000  # of one set: the domains' ids never meet


@dataclass(frozen=True)
class GenomeFiles:
    """File names of a set below its root folder; the defaults are those of published synthetic sets."""

    images: str = "synthetic_images"
    annotations: str = "synthetic-SGG-with-attri.h5"
    categories: str = "synthetic-SGG-dicts-with-attri.json"
    image_data: str = "synthetic_image_data.json"


@dataclass(frozen=True)
class Domain:
    """What the images of a set have in common.

    Attributes:
        files: File names, those that readers of such data expect.
        first_image_id: Of every set; `FIRST_IMAGE_ID` plus a multiple of `MAX_IMAGES`.
        render: Draws a scene: (generator, scene, width, height) to the RGB picture and its (n, 4) pixel boxes.
        jpeg_quality: Least and greatest quality of the JPEGs.
    """

    files: GenomeFiles
    first_image_id: int
    render: Callable[[np.random.Generator, Scene, int, int], tuple[Image.Image, np.ndarray]]
    jpeg_quality: tuple[int, int]


DOMAINS: dict[str, Domain] = {
    "synthetic": Domain(GenomeFiles(), FIRST_IMAGE_ID, render_flat, (92, 92)),
    "real": Domain(
        GenomeFiles(
            images="VG_100K",
            annotations="VG-SGG-with-attri.h5",
            categories="VG-SGG-dicts-with-attri.json",
            image_data="image_data.json",
        ),
        FIRST_IMAGE_ID + MAX_IMAGES,
        render_photo,
        (35, 90),
    ),
}
