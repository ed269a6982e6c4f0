# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The pipeline "scene-graph-generation": images in, relations as plain dictionaries or `SceneGraph`s out."""

from __future__ import annotations

import os
import types
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from transformers import AutoModelForObjectDetection, Pipeline

from .image_reading_speaq import DEFAULT_TIMEOUT, ImageSource, read_image
from .post_processing_speaq import check_integer, check_options
from .scene_graph_speaq import SceneGraph, Triplet
from .size_groups_speaq import predict_size_by_size, without_full_mask


TASK = "scene-graph-generation"

# One relation of an image, see `SpeaQSceneGraphPipeline.__call__`.
Relation = dict[str, Any]

_PREPROCESS_OPTIONS = {"timeout"}
_POSTPROCESS_OPTIONS = {"threshold", "top_k", "predicates_per_query", "nms_threshold", "return_scene_graphs"}
# `transformers.pipeline` hands these on to the class although it has made use of them itself.
_OPTIONS_OF_LOADING = {"local_files_only", "cache_dir", "force_download", "proxies"}


class SpeaQSceneGraphPipeline(Pipeline):
    """Predicts the scene graphs of images.

    Made by `pipeline("scene-graph-generation", model=...)`, with the arguments of every pipeline (`device`, `dtype`,
    `batch_size`, `num_workers`, `revision`, ...) and those of `__call__`, for all calls that do not say otherwise.

    Images of a batch are computed together as far as the image processor makes them equally large, so that the results
    are those of `batch_size=1`.
    """

    _load_processor = False
    _load_image_processor = True
    _load_video_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not hasattr(self.image_processor, "post_process_scene_graph"):
            raise TypeError(
                f"the pipeline {TASK} needs an image processor with `post_process_scene_graph`, such as "
                f"SpeaQImageProcessor, not {type(self.image_processor).__name__}"
            )
        self.model.eval()

    def __call__(
        self, inputs: ImageSource | Iterable[ImageSource], **options: Any
    ) -> list[Relation] | SceneGraph | list[Any] | Iterator[Any]:
        """Predicts the graph of one image or of several.

        Args:
            inputs: One image (path, address, PIL image, bytes, open file, array or tensor, see `read_image`), or several: a
                list or tuple, a generator, a data set or one of its columns. Rows of a data set that are dicts have it
                under `image`.
            **options: `threshold` (0): lowest relation score kept, in [0, 1]. `top_k` (100): number of relations kept per
                image, `None` for all. `predicates_per_query` (1): how many predicates each relation query proposes.
                `nms_threshold` (0.5): IoU in [0, 1] above which two boxes of one class are one object.
                `return_scene_graphs` (False): a `SceneGraph` per image in place of the list described below. `timeout` (30):
                seconds for an address. `batch_size`, `num_workers`: see transformers.

        Returns:
            For one image its relations, best first: `{"score", "subject": {"label", "score", "box"}, "predicate",
            "object": {"label", "score", "box"}}`, a box being `{"xmin", "ymin", "xmax", "ymax"}` in whole pixels of the
            upright image. For a list or tuple a list of such lists; for generators and data sets an iterator over them.

        Raises:
            UnreadableImageError: An image cannot be read; the message names it.
            ValueError: An option is out of range.
            TypeError: There is no such option, or it has another type, or something is no image.
        """
        inputs = _as_transformers_takes_it(inputs)
        return [] if isinstance(inputs, list) and not inputs else super().__call__(inputs, **options)

    def preprocess(self, image: ImageSource, timeout: float = DEFAULT_TIMEOUT) -> dict[str, Any]:
        """Reads an image and makes of it what the model takes.

        The inputs stand in a list, which transformers' batching leaves alone: it would stack images as if they were
        equally large.
        """
        if isinstance(image, Mapping) and "image" in image:
            image = image["image"]
        image = read_image(image, timeout=timeout)
        inputs = self.image_processor(image, return_tensors="pt")
        return {
            "images": [without_full_mask({name: tensor[0] for name, tensor in inputs.items()})],
            "target_size": torch.tensor([[image.height, image.width]]),
        }

    def _forward(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
        images = [image for part in inputs["images"] for image in (part if isinstance(part, list) else [part])]
        return {**predict_size_by_size(self.model, images), "target_size": inputs["target_size"]}

    def postprocess(
        self,
        outputs: dict[str, Tensor],
        threshold: float = 0.0,
        top_k: int | None = 100,
        predicates_per_query: int = 1,
        nms_threshold: float = 0.5,
        return_scene_graphs: bool = False,
    ) -> list[Relation] | SceneGraph:
        """Makes the graph of one image from what the model says of it."""
        processor, config = self.image_processor, self.model.config
        [graph] = processor.post_process_scene_graph(
            outputs,
            target_sizes=outputs["target_size"],
            top_k=top_k,
            predicates_per_query=predicates_per_query,
            nms_threshold=nms_threshold,
            score_threshold=threshold,
            # The model's: those of the processor may be of the vocabulary before `resize_labels`.
            id2label=config.id2label,
            id2predicate=config.id2predicate,
        )
        return graph if return_scene_graphs else [_as_dict(triplet) for triplet in graph.triplets()]

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Saves model and image processor, and the code of the pipeline for those who do not have speaq_hf.

        Args:
            save_directory: Folder to write to.
            **kwargs: Of the model's `save_pretrained`.
        """
        # What is registered in this process names a folder of this machine, and an Auto class of speaq_hf.
        self._registered_impl = {TASK: {"impl": type(self), "pt": (AutoModelForObjectDetection,), "type": "image"}}
        super().save_pretrained(save_directory, **kwargs)

    def _sanitize_parameters(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        options = {name: value for name, value in options.items() if name not in _OPTIONS_OF_LOADING}
        if unknown := sorted(options.keys() - _PREPROCESS_OPTIONS - _POSTPROCESS_OPTIONS):
            raise TypeError(
                f"the pipeline {TASK} has no option {', '.join(unknown)}, only "
                f"{', '.join(sorted(_PREPROCESS_OPTIONS | _POSTPROCESS_OPTIONS))}"
            )
        _check(options, self.model.config.num_predicates)
        before = {name: options[name] for name in options.keys() & _PREPROCESS_OPTIONS}
        return before, {}, {name: options[name] for name in options.keys() & _POSTPROCESS_OPTIONS}


def _as_transformers_takes_it(inputs: Any) -> Any:
    """One image as it is; several as a list, generator or data set of torch: of these `Pipeline` knows that they are several."""
    if isinstance(inputs, tuple):
        return list(inputs)
    one_image = str | bytes | bytearray | memoryview | os.PathLike | Mapping | np.ndarray | Tensor | Image.Image
    known = list | types.GeneratorType | Dataset
    if isinstance(inputs, one_image | known) or hasattr(inputs, "read"):
        return inputs
    return (image for image in inputs) if isinstance(inputs, Iterable) else inputs


def _check(options: Mapping[str, Any], num_predicates: int) -> None:
    """Says before the first image is read what would fail after it."""
    threshold = options.get("threshold", 0.0)
    if not isinstance(threshold, Real) or not 0 <= threshold <= 1:
        raise ValueError(f"`threshold` must be a relation score in [0, 1], got {threshold!r}.")
    check_options(options.get("top_k"), options.get("nms_threshold", 0.5), threshold)
    per_query = options.get("predicates_per_query", 1)
    check_integer("predicates_per_query", per_query)
    if not 1 <= per_query <= num_predicates:
        raise ValueError(f"`predicates_per_query` must be in [1, {num_predicates}], got {per_query}.")
    timeout = options.get("timeout", DEFAULT_TIMEOUT)
    if not isinstance(timeout, Real) or not timeout > 0:
        raise ValueError(f"`timeout` must be a positive number of seconds, got {timeout!r}.")


def _as_dict(triplet: Triplet) -> Relation:
    return {
        "score": triplet.score,
        "subject": _object(triplet.subject, triplet.subject_score, triplet.subject_box),
        "predicate": triplet.predicate,
        "object": _object(triplet.object, triplet.object_score, triplet.object_box),
    }


def _object(label: str, score: float, box: tuple[float, ...]) -> dict[str, Any]:
    sides = dict(zip(("xmin", "ymin", "xmax", "ymax"), map(round, box), strict=True))
    return {"label": label, "score": score, "box": sides}
