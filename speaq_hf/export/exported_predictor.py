# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Predicts scene graphs with exported files, as with models."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..predictor import GraphOptions, PreparedImages, SceneGraphPredictor
from ..scene_graph import SceneGraph
from .exported_models import OnnxModel, ProgramModel


_READERS = {".onnx": OnnxModel, ".pt2": ProgramModel}


class ExportedGraphPredictor(SceneGraphPredictor):
    """Predicts with a file that makes the graphs itself; which relations they keep was decided when it was written."""

    def compute(self, prepared: PreparedImages) -> dict[str, Tensor]:
        """What the file says of a batch from `prepare`, image by image: the graphs, in tensors of equal length."""
        outputs = [
            self.model(**{name: value[None] for name, value in image.items()}, target_sizes=torch.tensor([size]))
            for image, size in zip(prepared.inputs, prepared.sizes, strict=True)
        ]
        return {name: torch.cat([output[name] for output in outputs]) for name in outputs[0]}

    def make_graphs(
        self, outputs: Mapping[str, Tensor], sizes: Sequence[tuple[int, int]], options: GraphOptions | None = None
    ) -> list[SceneGraph]:
        """The graphs without what fills the tensors up.

        Args:
            outputs: From `compute`.
            sizes: (height, width) of the B images in pixels.
            options: As the file was written with; None is the same.

        Returns:
            B graphs.

        Raises:
            ValueError: The options are others.
        """
        expected = self.model.metadata.graph
        if options not in (None, expected):
            raise ValueError(f"this file makes graphs with {expected}, which cannot be changed to {options}")
        return [
            self._graph({name: values[index] for name, values in outputs.items()}, size)
            for index, size in enumerate(sizes)
        ]

    def _graph(self, outputs: Mapping[str, Tensor], size: tuple[int, int]) -> SceneGraph:
        num_objects, num_relations = int(outputs["num_objects"]), int(outputs["num_relations"])
        counts = {"boxes": num_objects, "labels": num_objects, "scores": num_objects}
        fields = {
            name: values[: counts.get(name, num_relations)]
            for name, values in outputs.items()
            if name not in ("num_objects", "num_relations")
        }
        names = {"id2label": self.model.config.id2label, "id2predicate": self.model.config.id2predicate}
        return SceneGraph(**fields, **names, image_size=size)


def load_exported(file: str | os.PathLike) -> SceneGraphPredictor:
    """A predictor that computes with an exported file.

    Args:
        file: What `export_model` wrote.

    Returns:
        The predictor, ready for images.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or is not from this package.
        ImportError: It is an ONNX file, and onnxruntime is missing.
    """
    path = Path(file)
    if path.suffix not in _READERS:
        raise ValueError(f"the name of an exported file ends in {' or '.join(_READERS)}, got {path}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    model = _READERS[path.suffix](path)
    predictor = SceneGraphPredictor if model.metadata.graph is None else ExportedGraphPredictor
    return predictor(model, model.metadata.processor())
