# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A model with its image processor: images in, scene graphs out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, BaseImageProcessor, PreTrainedModel

from .checkpoints.loading_errors import damage_named
from .image_reading import ImageSource, read_image
from .models.auto import AutoModelForSceneGraphGeneration
from .models.speaq.size_groups_speaq import predict_size_by_size, without_full_mask
from .packaged_models import packaged_model
from .scene_graph import SceneGraph


@dataclass(frozen=True)
class GraphOptions:
    """Which relations a predicted graph keeps.

    Args:
        top_k: Number of relations per image, at least 1; `None` keeps all.
        threshold: Lowest relation score kept, in [0, 1].
        predicates_per_query: How many predicates each relation query proposes.
        nms_threshold: IoU in [0, 1] above which two boxes of one class are one object.
    """

    top_k: int | None = 100
    threshold: float = 0.0
    predicates_per_query: int = 1
    nms_threshold: float = 0.5


@dataclass(frozen=True)
class PreparedImages:
    """A batch ready for the model.

    Args:
        inputs: Pixel values of each, and where the processor pads to a size of its own a mask.
        sizes: (height, width) of the B images in pixels.
    """

    inputs: list[dict[str, Tensor]]
    sizes: list[tuple[int, int]]


class SceneGraphPredictor:
    """Predicts the scene graphs of images.

    Args:
        model: A model of this package, in whatever place and number format it shall compute.
        processor: Its image processor.
    """

    def __init__(self, model: PreTrainedModel, processor: BaseImageProcessor) -> None:
        self.model = model.eval()
        self.processor = processor

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.model).__name__} on {self.device})"

    @classmethod
    def from_pretrained(
        cls, model: str | os.PathLike | None = None, *, device: str | torch.device | None = None, **kwargs: Any
    ) -> SceneGraphPredictor:
        """Loads model and processor. The model is optimised for inference, if its class knows how and it is in one place.

        Args:
            model: Folder or Hub name; the small model that comes with the package when missing.
            device: Where to compute; default: the accelerator if there is one.
            kwargs: Of `from_pretrained`: `revision`, `token`, `cache_dir`, `dtype`, …; `dtype` is the model's alone. With
                `device_map` the model stays where that puts its parts.

        Returns:
            The predictor.

        Raises:
            OSError: There is no such model.
            ValueError: Its weights or its configuration are damaged, or both `device` and `device_map` are given.
        """
        is_placed = kwargs.get("device_map") is not None
        if is_placed and device is not None:
            raise ValueError(f"expected `device` or `device_map`, got both: {device} and {kwargs['device_map']}")
        source = packaged_model() if model is None else model
        with damage_named(source):
            loaded = AutoModelForSceneGraphGeneration.from_pretrained(source, **kwargs)
            kwargs.pop("dtype", None)
            processor = AutoImageProcessor.from_pretrained(source, **kwargs)
        if is_placed:
            return cls(loaded, processor)
        optimize = getattr(loaded, "optimize_for_inference", lambda: loaded)
        return cls(optimize().to(device or preferred_device()), processor)

    @property
    def device(self) -> torch.device:
        """Where inputs go. Weights that lie on disk are on no device; a model that has them fetches its inputs, too."""
        device = self.model.device
        return torch.device("cpu") if device.type == "meta" else device

    def __call__(self, images: Sequence[ImageSource], options: GraphOptions | None = None) -> list[SceneGraph]:
        """Predicts the graphs of a batch of images, of whatever sizes.

        Args:
            images: B images, see `read_image`.
            options: Which relations are kept.

        Returns:
            B graphs, boxes in pixels of the upright images.

        Raises:
            TypeError: It is one image, not a batch.
            UnreadableImageError: One of them cannot be read.
        """
        if isinstance(images, (str, bytes, os.PathLike, Image.Image)):
            raise TypeError(f"expected a list of images, got one {type(images).__name__}: pass [image]")
        return self.predict_prepared(self.prepare([read_image(image) for image in images]), options)

    def prepare(self, images: Sequence[Image.Image]) -> PreparedImages:
        """What comes before the model, for a thread of its own while the model computes something else.

        Args:
            images: B images in RGB, as `read_image` gives them.

        Returns:
            The batch, on the CPU.
        """
        batches = [self.processor(image, return_tensors="pt") for image in images]
        inputs = [without_full_mask({name: values[0] for name, values in batch.items()}) for batch in batches]
        return PreparedImages(inputs, [(image.height, image.width) for image in images])

    def predict_prepared(self, prepared: PreparedImages, options: GraphOptions | None = None) -> list[SceneGraph]:
        """Predicts the graphs of a batch from `prepare`. A graph does not depend on the other images of its batch."""
        return self.make_graphs(self.compute(prepared), prepared.sizes, options)

    @torch.inference_mode()
    def compute(self, prepared: PreparedImages) -> dict[str, Tensor]:
        """What the model says of a batch from `prepare`: the outputs that graphs are made of."""
        inputs = [{name: value.to(self.device) for name, value in image.items()} for image in prepared.inputs]
        return predict_size_by_size(self.model, inputs)

    def make_graphs(
        self, outputs: Mapping[str, Tensor], sizes: Sequence[tuple[int, int]], options: GraphOptions | None = None
    ) -> list[SceneGraph]:
        """What comes after the model.

        Args:
            outputs: From `compute`.
            sizes: (height, width) of the B images in pixels.
            options: Which relations are kept.

        Returns:
            B graphs, boxes in pixels.
        """
        options = options or GraphOptions()
        return self.processor.post_process_scene_graph(
            outputs,
            target_sizes=sizes,
            top_k=options.top_k,
            predicates_per_query=options.predicates_per_query,
            nms_threshold=options.nms_threshold,
            score_threshold=options.threshold,
            # The model's: those of the processor may be of the vocabulary before `resize_labels`.
            id2label=self.model.config.id2label,
            id2predicate=self.model.config.id2predicate,
        )


def preferred_device() -> torch.device:
    """The accelerator of this machine, else what torch computes on by default."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.get_default_device()
