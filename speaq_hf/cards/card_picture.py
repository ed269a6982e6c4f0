# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The picture of a model card: an image, and the graph that the model predicts for it."""

from __future__ import annotations

import os
from pathlib import Path

from ..complete_files import complete_file
from ..image_reading import ImageSource, read_image
from ..predictor import GraphOptions, SceneGraphPredictor


_NUM_RELATIONS = 5
_DOTS_PER_INCH = 100


def draw_card_picture(predictor: SceneGraphPredictor, image: ImageSource, path: str | os.PathLike) -> None:
    """Draw the best relations of an image, boxes at the left and the graph at the right.

    Args:
        predictor: The model.
        image: See `read_image`.
        path: PNG file to write.

    Raises:
        ImportError: The extra `viz` is not installed.
        OSError: The picture cannot be written.
        ValueError: The image cannot be read.
    """
    image = read_image(image)
    (graph,) = predictor([image], GraphOptions(top_k=_NUM_RELATIONS))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with complete_file(path) as unfinished:
        graph.top(_NUM_RELATIONS).plot(image).savefig(unfinished, format="png", dpi=_DOTS_PER_INCH)
