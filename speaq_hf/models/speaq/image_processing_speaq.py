# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Image processors for SpeaQ: images and annotations to model inputs, model outputs to scene graphs.

Two classes with one behaviour, as in transformers: `SpeaQImageProcessorPil` resizes with PIL, `SpeaQImageProcessor` with
torchvision. Without torchvision the second name stands for the first class.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    ImageInput,
    PILImageResampling,
    SizeDict,
    is_pil_image,
)
from transformers.utils import is_torchvision_available

from .annotation_speaq import prepare_labels
from .image_pixels_speaq import to_eight_bits
from .normalization_speaq import PixelNormalization
from .padding_speaq import pad_images, pixel_mask
from .post_processing_speaq import check_names, post_process_object_detection, post_process_scene_graph
from .remote_code_speaq import add_entries, copy_processor_code, processor_entries
from .scene_graph_speaq import SceneGraph


def get_resized_size(image_size: tuple[int, int], size: SizeDict) -> tuple[int, int]:
    """Size of an image after resizing, with Detectron2's rounding.

    The short edge becomes `shortest_edge`, unless the long edge would then exceed `longest_edge`; both sides are
    rounded half up once, at the end. (transformers truncates the long side: 600x800 gives 800x1066, not 800x1067.)

    Args:
        image_size: (height, width) in pixels.
        size: `shortest_edge` with or without `longest_edge`, or `height` and `width`.

    Returns:
        (height, width), each at least 1.

    Raises:
        ValueError: `size` has other keys, or a value below 1.
    """
    if any(side < 1 for _, side in size):
        raise ValueError(f"The values of `size` must be at least 1 pixel, got {dict(size)}.")
    if size.height and size.width:
        return size.height, size.width
    if not size.shortest_edge:
        raise ValueError(
            f"`size` must have the keys 'shortest_edge' (and 'longest_edge'), or 'height' and 'width', got {dict(size)}."
        )
    scale = size.shortest_edge / min(image_size)
    # The short side is exact, not `scale * side`, which may miss it by a rounding error.
    scaled = [float(size.shortest_edge) if side == min(image_size) else scale * side for side in image_size]
    if size.longest_edge and max(scaled) > size.longest_edge:
        shrink = size.longest_edge / max(scaled)
        scaled = [side * shrink for side in scaled]
    height, width = (max(int(side + 0.5), 1) for side in scaled)
    return height, width


def _to_eight_bits(image: ImageInput) -> ImageInput:
    """Scales 16-bit images, which would otherwise be clipped to white, to 8 bits; makes arrays 3-D and writeable."""
    if is_pil_image(image):
        return to_eight_bits(image)
    if image.dtype == np.uint16 or image.dtype == torch.uint16:
        image = (np.asarray(image) / 257.0).round().astype(np.uint8)  # 65535 = 257 * 255
    if isinstance(image, np.ndarray):
        image = np.require(image, requirements="W")  # PyTorch warns about read-only arrays
    return image[None] if image.ndim == 2 else image


def _as_image_list(images: ImageInput) -> ImageInput:
    """Wraps 2-D (grayscale) arrays, for which transformers expects a channel dimension."""
    if isinstance(images, (np.ndarray, Tensor)) and images.ndim == 2:
        return [images[None]]
    if isinstance(images, (list, tuple)):
        return [
            image[None] if isinstance(image, (np.ndarray, Tensor)) and image.ndim == 2 else image for image in images
        ]
    return images


class SpeaQImageProcessingMixin:
    """All that does not depend on the backend. A backend contributes `resize` for one image.

    Args:
        id2label: Object class names, keys from 0 without gaps, used by `post_process_scene_graph` and saved with the processor.
        id2predicate: Predicate names, likewise.
        **kwargs: Settings of transformers' image processors: `do_resize`, `size`, `resample`, `do_rescale`,
            `rescale_factor`, `do_normalize`, `image_mean`, `image_std`, `do_pad`, `pad_size`, `do_convert_rgb`.
    """

    resample = PILImageResampling.BILINEAR
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    size = {"shortest_edge": 800, "longest_edge": 1333}
    default_to_square = False
    do_convert_rgb = True
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_pad = True
    model_input_names = ["pixel_values", "pixel_mask"]

    def __init__(
        self, id2label: Mapping[int, str] | None = None, id2predicate: Mapping[int, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.id2label = None if id2label is None else check_names("id2label", id2label)
        self.id2predicate = None if id2predicate is None else check_names("id2predicate", id2predicate)

    def save_pretrained(
        self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any
    ) -> list[str]:
        """Saves the settings, and beside them the code of the processor for those who do not have speaq_hf.

        Args:
            save_directory: Folder to write to.
            push_to_hub: Whether to upload the files too.
            kwargs: Of `push_to_hub`; `repo_id` defaults to the name of the folder.

        Returns:
            The file with the settings.
        """
        files = super().save_pretrained(save_directory)
        if self._is_ours():
            copy_processor_code(save_directory)
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", Path(save_directory).name), **kwargs)
        return files

    def to_dict(self) -> dict[str, Any]:
        """The settings as they are saved, with which code reads them."""
        settings = super().to_dict()
        return add_entries(settings, processor_entries()) if self._is_ours() else settings

    def _is_ours(self) -> bool:
        """Processors that somebody derives from these are saved with that person's code, or with none."""
        return type(self).__module__ == __name__

    def preprocess(
        self,
        images: ImageInput,
        annotations: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        return_tensors: str | None = "pt",
        **kwargs: Any,
    ) -> BatchFeature:
        """Turns images, and what is annotated in them, into the model's inputs.

        Args:
            images: One image or several: PIL, numpy, torch, path or URL; any colour mode. PIL images are turned
                upright by their EXIF tag, whether opened here or by the caller. Arrays hold values in
                [0, 255] (16-bit integers: [0, 65535]), or in [0, 1] with `do_rescale=False`.
            annotations: One per image, in pixels of that image once upright:
                `{"image_id": int, "annotations": [{"bbox": [x, y, w, h], "category_id": int}, ...],
                "relations": [[subject, object, predicate], ...]}` with optional `loss_weight` and `source`; subject and
                object are positions in `annotations`. Boxes are clipped to the image; those left without area, and
                those with `iscrowd`, are dropped together with their relations.
            return_tensors: "pt" or "np"; `None` leaves images of different sizes a list when `do_pad=False`.
            **kwargs: Any setting of the constructor, for this call only.

        Returns:
            `pixel_values` `(B, 3, H, W)`; with `do_pad` `pixel_mask` `(B, H, W)`, 1 = image; with annotations `labels`, a
            list of dicts with `class_labels` `(n,)`, `boxes` `(n, 4)` (cx, cy, w, h) relative to the un-padded image,
            `relations` `(r, 3)`, `loss_weight`, `image_id`, `orig_size` and, after resizing, `size` (height, width), and
            `source` where it was given.

        Raises:
            ValueError: There is no image, or one without pixels, an annotation is malformed (the message names image and
                field), `size` has a value below 1, or images of different sizes are to be stacked with `do_pad=False`.
            TypeError: `annotations` is neither a dict nor a list of them.
        """
        return super().preprocess(_as_image_list(images), annotations, return_tensors=return_tensors, **kwargs)

    def process_image(self, image: ImageInput, **kwargs: Any) -> np.ndarray | Tensor:
        """One image in any form to channel-first RGB `(3, H, W)`."""
        return super().process_image(_to_eight_bits(image), **kwargs)

    def resize(self, image: np.ndarray | Tensor, size: SizeDict, **kwargs: Any) -> np.ndarray | Tensor:
        """Resizes one image `(3, H, W)` to `get_resized_size`."""
        height, width = get_resized_size(tuple(image.shape[-2:]), size)
        if (height, width) == tuple(image.shape[-2:]):
            return image
        return super().resize(image, SizeDict(height=height, width=width), **kwargs)

    def post_process_scene_graph(
        self,
        outputs: Any,
        target_sizes: Tensor | Sequence[tuple[int, int]],
        top_k: int | None = 100,
        predicates_per_query: int = 1,
        nms_threshold: float = 0.5,
        score_threshold: float = 0.0,
        id2label: Mapping[int, str] | None = None,
        id2predicate: Mapping[int, str] | None = None,
    ) -> list[SceneGraph]:
        """Turns the model's outputs into one scene graph per image, see `post_processing_speaq.post_process_scene_graph`.

        Args:
            outputs: What `SpeaQForSceneGraphGeneration` returned for B images.
            target_sizes: (height, width) in pixels of each of the B original images.
            top_k: Number of relations to keep per image, at least 1; `None` keeps all.
            predicates_per_query: How many predicates each relation query proposes.
            nms_threshold: IoU in [0, 1] above which two boxes of one class are one object; 1 keeps all boxes.
            score_threshold: Lowest relation score kept, in [0, 1].
            id2label: Object class names; `None` takes the processor's, and if it has none LABEL_0, LABEL_1, ...
            id2predicate: Predicate names; `None` takes the processor's, and if it has none PREDICATE_0, ...

        Returns:
            One graph per image, relations best first.

        Raises:
            ValueError: An output is missing, misshapen or not finite, or an argument is out of range.
            TypeError: An argument is not of the type above.
        """
        return post_process_scene_graph(
            outputs,
            target_sizes,
            top_k=top_k,
            predicates_per_query=predicates_per_query,
            nms_threshold=nms_threshold,
            score_threshold=score_threshold,
            id2label=self.id2label if id2label is None else id2label,
            id2predicate=self.id2predicate if id2predicate is None else id2predicate,
        )

    def post_process_object_detection(
        self,
        outputs: Any,
        threshold: float = 0.5,
        target_sizes: Tensor | Sequence[tuple[int, int]] | None = None,
        nms_threshold: float = 0.5,
    ) -> list[dict[str, Tensor]]:
        """Takes the objects alone, for `pipeline("object-detection")` and other code for detectors.

        Args:
            outputs: What `SpeaQForSceneGraphGeneration` returned for B images.
            threshold: Objects with a higher score are kept.
            target_sizes: (height, width) in pixels of each of the B images; `None` leaves boxes in [0, 1] of their image.
            nms_threshold: IoU in [0, 1] above which two boxes of one class are one object.

        Returns:
            Per image `scores` `(n,)`, `labels` `(n,)` and `boxes` `(n, 4)` as (x1, y1, x2, y2), best first.

        Raises:
            ValueError: An output is missing, misshapen or not finite, or an argument is out of range.
            TypeError: An argument is not of the type above.
        """
        return post_process_object_detection(outputs, threshold, target_sizes, nms_threshold)

    def _preprocess(
        self,
        images: list[np.ndarray] | list[Tensor],
        annotations: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
        do_resize: bool,
        size: SizeDict,
        resample: PILImageResampling | None,
        do_rescale: bool,
        rescale_factor: float,
        do_normalize: bool,
        image_mean: float | Iterable[float],
        image_std: float | Iterable[float],
        do_pad: bool,
        pad_size: SizeDict | None,
        return_tensors: str | None,
        **kwargs: Any,
    ) -> BatchFeature:
        original_sizes = [tuple(image.shape[-2:]) for image in images]
        _check_images(original_sizes)
        if do_resize:
            images = [self.resize(image, size, resample=resample) for image in images]
        sizes = [tuple(image.shape[-2:]) for image in images]
        labels = None if annotations is None else _prepare_batch_labels(annotations, original_sizes, sizes)
        scale = rescale_factor if do_rescale else 1.0
        normalize = PixelNormalization(scale, image_mean, image_std) if do_normalize else PixelNormalization(scale)
        images = [normalize(image) for image in images]
        data = _padded(images, pad_size) if do_pad else {"pixel_values": _stack_if_asked(images, return_tensors)}
        features = BatchFeature(data, tensor_type=return_tensors)
        if labels is not None:
            features["labels"] = [BatchFeature(label, tensor_type=return_tensors) for label in labels]
        return features


class SpeaQImageProcessorPil(SpeaQImageProcessingMixin, PilBackend):
    """SpeaQ image processor that resizes with PIL; needs no torchvision."""


if is_torchvision_available():
    from transformers.image_processing_backends import TorchvisionBackend

    class SpeaQImageProcessor(SpeaQImageProcessingMixin, TorchvisionBackend):
        """SpeaQ image processor that resizes with torchvision, on the CPU or on the `device` given to the call."""

else:
    # As transformers does for its own processors: the plain name works on every machine.
    SpeaQImageProcessor = SpeaQImageProcessorPil


def _check_images(sizes: list[tuple[int, int]]) -> None:
    if not sizes:
        raise ValueError("`images` must hold at least one image, got none.")
    for index, size in enumerate(sizes):
        if min(size) < 1:
            raise ValueError(f"`images[{index}]` must have at least one pixel, got (height, width) = {size}.")


def _prepare_batch_labels(
    annotations: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    original_sizes: list[tuple[int, int]],
    sizes: list[tuple[int, int]],
) -> list[dict[str, Any]]:
    annotations = [annotations] if isinstance(annotations, Mapping) else annotations
    if isinstance(annotations, str) or not hasattr(annotations, "__len__"):
        raise TypeError(f"`annotations` must be a dict or a list of dicts, got {type(annotations).__name__}.")
    if len(annotations) != len(sizes):
        raise ValueError(f"Expected one annotation per image, got {len(annotations)} for {len(sizes)} images.")
    return [
        prepare_labels(annotation, original_size, index) | {"size": np.asarray(size)}
        for index, (annotation, original_size, size) in enumerate(zip(annotations, original_sizes, sizes, strict=True))
    ]


def _padded(images: list[Tensor], pad_size: SizeDict | None) -> dict[str, Tensor]:
    pixel_values = pad_images(images, pad_size)
    sizes = [tuple(image.shape[-2:]) for image in images]
    return {
        "pixel_values": pixel_values,
        "pixel_mask": pixel_mask(sizes, *pixel_values.shape[-2:], pixel_values.device),
    }


def _stack_if_asked(images: list[Tensor], return_tensors: str | None) -> list[Tensor]:
    sizes = {tuple(image.shape[-2:]) for image in images}
    if return_tensors is not None and len(sizes) > 1:
        raise ValueError(
            f"Images of different sizes {sorted(sizes)} cannot be stacked: use `do_pad=True` or `return_tensors=None`."
        )
    return images
