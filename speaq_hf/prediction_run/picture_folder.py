# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A picture of each graph: the image with its boxes, and the graph beside it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from ..complete_files import complete_file
from ..scene_graph import SceneGraph
from .safe_names import safe_name
from .shown_graph import shown_graph
from .sources import SourceImage


_DPI = 110


class PictureFolder:
    """A folder of PNG files, named like the ids of their images.

    Args:
        folder: Made with the first picture.
        max_relations: Most relations of a picture.
        min_score: Lowest relation score drawn.
    """

    def __init__(self, folder: str | os.PathLike, max_relations: int = 15, min_score: float = 0.05) -> None:
        self.folder, self.max_relations, self.min_score = Path(folder), max_relations, min_score

    def path(self, source: SourceImage) -> Path:
        """Where the picture of an image is, or will be."""
        return self.folder / f"{safe_name(source.id)}.png"

    def check_new(self, sources: Iterable[SourceImage]) -> None:
        """Makes sure that nothing would be replaced.

        Raises:
            FileExistsError: There is a picture of one of the images.
        """
        for source in sources:
            if self.path(source).exists():
                raise FileExistsError(
                    f"{self.path(source)} exists; --resume keeps such pictures, --overwrite replaces them"
                )

    def write(self, source: SourceImage, image: Image.Image, graph: SceneGraph) -> None:
        """Draws one picture, complete or not at all."""
        path = self.path(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        shown = shown_graph(graph, self.max_relations, self.min_score)
        figure = shown.plot(image, max_relations=self.max_relations)
        with complete_file(path) as unfinished:
            figure.savefig(unfinished, dpi=_DPI, format="png")
