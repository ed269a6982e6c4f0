# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Training batches that are cheap to hand from one process to another, and from the processor to an accelerator.

`CompactTransform` and `CompactCollator` run in the reading processes, `BatchExpansion` where the model is. Together they
give what `SceneGraphTransform` and `SceneGraphCollator` give, to the last bit on a CPU. On the way pixels are bytes, sizes
stand for the mask, and the labels of a batch are four tensors, not seven for each image: 3 bytes per pixel instead of 20.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import BaseImageProcessor

from ..models.speaq.annotation_speaq import prepare_labels
from ..models.speaq.normalization_speaq import PixelNormalization
from ..models.speaq.padding_speaq import clear_padding, pad_images, pixel_mask
from .augmentation import RowTransform, SceneGraphAugmentation, coco_annotation, example_from_row
from .images import read_row_image
from .quick_images import QuickImage


class CompactBatch(NamedTuple):
    """B examples, with N objects and R relations in all.

    Args:
        pixels: `(B, 3, H, W)` uint8, zeros at the right and bottom of smaller images.
        images: `(B, 7)` int64: (height, width) of each image without padding, (height, width) of its file, its id, and its
            numbers of objects and of relations.
        loss_weights: `(B,)` float32.
        class_labels: `(N,)` int64.
        boxes: `(N, 4)` float32 (cx, cy, w, h) in [0, 1].
        relations: `(R, 3)` int64 rows (subject, object, predicate); subject and object count the objects of the image.
        sources: Data set of each image; None if there is only one.
    """

    pixels: Tensor
    images: Tensor
    loss_weights: Tensor
    class_labels: Tensor
    boxes: Tensor
    relations: Tensor
    sources: list[str | None]


class CompactTransform(RowTransform):
    """Rows of a scene graph dataset to augmented examples, for `CompactCollator`.

    Args:
        augmentation: Applied to every image; it decides the final size.
        seed: Of the augmentation, see `RowTransform`.
        read_image: A row to its RGB image; `QuickReader` takes half the time.
    """

    def __init__(
        self,
        augmentation: SceneGraphAugmentation,
        seed: int = 0,
        read_image: Callable[[Mapping[str, Any]], Image.Image | QuickImage] = read_row_image,
    ) -> None:
        super().__init__(augmentation, seed)
        self.read_image = read_image

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Transforms rows.

        Args:
            batch: Columns of B rows, see `SceneGraphTransform`.

        Returns:
            `pixels`: B tensors `(3, h, w)` uint8. `labels`: B dicts as those of `SceneGraphTransform`, of arrays.

        Raises:
            UnreadableImageError: An image cannot be read.
        """
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        pixels, labels = zip(*map(self._transform, rows), strict=True)
        return {"pixels": list(pixels), "labels": list(labels)}

    def _transform(self, row: Mapping[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        image = self.read_image(row)
        example = self.augment(row, example_from_row(row, image))
        size = example.image.height, example.image.width
        label = prepare_labels(coco_annotation(example, row), size, 0)
        label |= {"size": np.asarray(size), "orig_size": np.asarray([image.height, image.width])}
        return planes(example.image), label


def planes(image: Image.Image | QuickImage) -> Tensor:
    """The pixels of an RGB image as `(3, h, w)` uint8."""
    if isinstance(image, QuickImage):
        return image.planes()
    # Pillow writes line by line, red, green, blue: half the time of turning its usual order of bytes.
    lines = np.frombuffer(image.tobytes("raw", "RGB;L"), np.uint8).reshape(image.height, 3, image.width)
    return torch.from_numpy(lines.transpose(1, 0, 2).copy())


class CompactCollator:
    """Examples to a batch that `BatchExpansion` reads.

    Args:
        image_processor: Its `pad_size` (height and width), if set, takes the place of the batch's largest size.
    """

    def __init__(self, image_processor: BaseImageProcessor | None = None) -> None:
        self.pad_size = getattr(image_processor, "pad_size", None)

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, CompactBatch]:
        """Batches examples.

        Args:
            examples: B dicts as `CompactTransform` makes them.

        Raises:
            ValueError: One is larger than the `pad_size`.
        """
        labels = [example["labels"] for example in examples]
        joined = {name: _joined(labels, name) for name in ("class_labels", "boxes", "relations")}
        batch = CompactBatch(
            pixels=pad_images([example["pixels"] for example in examples], self.pad_size),
            images=torch.from_numpy(np.stack([_image_facts(label) for label in labels])),
            loss_weights=torch.from_numpy(np.stack([label["loss_weight"] for label in labels])),
            sources=[label.get("source") for label in labels],
            **joined,
        )
        return {"compact": batch}


def _joined(labels: list[dict[str, Any]], name: str) -> Tensor:
    return torch.from_numpy(np.concatenate([label[name] for label in labels]))


def _image_facts(label: dict[str, Any]) -> np.ndarray:
    counts = [len(label["class_labels"]), len(label["relations"])]
    return np.concatenate([label["size"], label["orig_size"], label["image_id"], counts])


class BatchExpansion:
    """Batches of `CompactCollator` to model inputs: moves the pixels, normalises them there, and splits the labels.

    Args:
        image_processor: Says how to normalise.
        device: Of pixels and mask; labels stay where they are.
    """

    def __init__(self, image_processor: BaseImageProcessor, device: torch.device | str = "cpu") -> None:
        self.normalize = PixelNormalization.of_processor(image_processor)
        self.device = device

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Expands a batch.

        Args:
            batch: `compact`, and whatever else, which is passed on.

        Returns:
            `pixel_values`, `pixel_mask` and `labels`, see `SceneGraphCollator`.
        """
        compact: CompactBatch = batch["compact"]
        sizes = [tuple(size) for size in compact.images[:, :2].tolist()]
        pixels = compact.pixels.to(self.device, non_blocking=True)
        inputs = {
            "pixel_values": clear_padding(self.normalize(pixels), sizes),
            "pixel_mask": pixel_mask(sizes, *pixels.shape[-2:], self.device),
            "labels": split_labels(compact),
        }
        return inputs | {name: value for name, value in batch.items() if name != "compact"}


def split_labels(batch: CompactBatch) -> list[dict[str, Any]]:
    """The B label dicts of a batch, as `SceneGraphTransform` makes them."""
    num_objects, num_relations = batch.images[:, 5:].T.tolist()
    columns = {
        "image_id": batch.images[:, 4:5],
        "class_labels": batch.class_labels.split(num_objects),
        "boxes": batch.boxes.split(num_objects),
        "relations": batch.relations.split(num_relations),
        "loss_weight": batch.loss_weights,
        "orig_size": batch.images[:, 2:4],
        "size": batch.images[:, :2],
    }
    labels = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    for label, source in zip(labels, batch.sources, strict=True):
        if source is not None:
            label["source"] = source
    return labels
