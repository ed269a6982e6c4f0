# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The input pipeline that a faithful port of the published program has: Detectron2's mapper, image by image, with floats.

It draws what `SceneGraphAugmentation` draws, so that its batches can be compared with ours: labels are the same, pixels
differ by the rounding of float32.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from speaq_hf.data import SceneGraphAugmentation


MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
SMALLEST_SIDE = 1e-5  # pixels; a box of less has no area

# How a transform changes one box (4,), (x1, y1, x2, y2) in pixels.
BoxTransform = Callable[[np.ndarray], np.ndarray]


def read_image(file: str) -> np.ndarray:
    """An image file as `(h, w, 3)` bytes, upright."""
    with Image.open(file) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def flip(image: np.ndarray) -> tuple[np.ndarray, BoxTransform]:
    """Mirrors an image left to right."""
    width = image.shape[1]
    return np.ascontiguousarray(np.flip(image, axis=1)), lambda box: np.array(
        [width - box[2], box[1], width - box[0], box[3]]
    )


def resize_shortest_edge(
    image: np.ndarray, edge: int, longest_edge: int | None = None
) -> tuple[np.ndarray, BoxTransform]:
    """Resizes with Pillow, by the rule of Detectron2's `ResizeShortestEdge`."""
    height, width = image.shape[:2]
    scale = edge / min(height, width)
    new_height, new_width = (edge, scale * width) if height < width else (scale * height, edge)
    if longest_edge is not None and max(new_height, new_width) > longest_edge:
        shrink = longest_edge / max(new_height, new_width)
        new_height, new_width = new_height * shrink, new_width * shrink
    new_height, new_width = int(new_height + 0.5), int(new_width + 0.5)
    resized = np.asarray(Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR))
    factors = np.array([new_width / width, new_height / height] * 2)
    return resized, lambda box: box * factors


def crop(image: np.ndarray, corner: np.ndarray, window: np.ndarray) -> tuple[np.ndarray, BoxTransform]:
    """Cuts out a window; corner and size are (x, y)."""
    (x, y), (width, height) = corner, window
    offset, limit = np.array([x, y, x, y]), np.array([width, height, width, height])
    return image[y : y + height, x : x + width], lambda box: (box - offset).clip(0, limit)


class PlainMapper:
    """Records to examples, as Detectron2's `DatasetMapper` with the published augmentation.

    Args:
        augmentation: Its numbers.
        finish: The augmented image `(h, w, 3)` to what is handed on.
        seed: Of the random decisions.
    """

    def __init__(
        self, augmentation: SceneGraphAugmentation, finish: Callable[[np.ndarray], Tensor], seed: int = 0
    ) -> None:
        self.augmentation, self.finish, self.seed = augmentation, finish, seed

    def __call__(self, record: dict[str, Any], pass_number: int) -> dict[str, Any]:
        """One example: `image` and `label`."""
        record = copy.deepcopy(record)
        seeds = [self.seed, pass_number, zlib.crc32(b""), record["image_id"]]
        generator = np.random.default_rng(seeds)
        relations = one_predicate_per_pair(record["relations"], generator)
        image, transforms = self.augment(read_image(record["file_name"]), generator)
        boxes, kept = [], {}
        for position, annotation in enumerate(record["annotations"]):
            box = np.array(annotation["bbox"])
            for transform in transforms:
                box = transform(box)
            height, width = image.shape[:2]
            box = box.clip(0, [width, height, width, height])
            if min(box[2:] - box[:2]) > SMALLEST_SIDE:
                kept[position] = len(boxes)
                boxes.append(box)
        labels = [record["annotations"][position]["category_id"] for position in kept]
        relations = [[kept[s], kept[o], p] for s, o, p in relations if s in kept and o in kept]
        label = make_label(boxes, labels, relations, image.shape[:2], record)
        return {"image": self.finish(image), "label": label}

    def augment(self, image: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, list[BoxTransform]]:
        """The augmented image and what happens to its boxes, in order."""
        settings, transforms = self.augmentation, []

        def apply(result: tuple[np.ndarray, BoxTransform]) -> np.ndarray:
            transforms.append(result[1])
            return result[0]

        if generator.random() < settings.flip_probability:
            image = apply(flip(image))
        if generator.random() < settings.crop_probability:
            image = apply(
                resize_shortest_edge(
                    image, settings.crop_short_edges[generator.integers(len(settings.crop_short_edges))]
                )
            )
            size = np.array(image.shape[1::-1])
            shortest, longest = (np.minimum(side, size) for side in settings.crop_sides)
            window = generator.integers(shortest, longest + 1)
            image = apply(crop(image, generator.integers(size - window + 1), window))
        edge = settings.short_edges[generator.integers(len(settings.short_edges))]
        return apply(resize_shortest_edge(image, edge, settings.longest_edge)), transforms


def one_predicate_per_pair(relations: list[list[int]], generator: np.random.Generator) -> list[list[int]]:
    """A random relation of each pair, in the order of the annotation."""
    chosen: dict[tuple[int, int], int] = {}
    for position in generator.permutation(len(relations)):
        chosen.setdefault(tuple(relations[position][:2]), position)
    return [relations[position] for position in sorted(chosen.values())]


def make_label(
    boxes: Sequence[np.ndarray],
    labels: Sequence[int],
    relations: Sequence[Sequence[int]],
    size: tuple[int, int],
    record: dict[str, Any],
) -> dict[str, Tensor]:
    """The label of an image of the given (height, width)."""
    corners = torch.tensor(np.array(boxes)).reshape(-1, 4)
    center, sides = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    scale = torch.tensor([size[1], size[0]] * 2)
    return {
        "class_labels": torch.tensor(labels, dtype=torch.int64),
        "boxes": (torch.cat([center, sides], dim=1) / scale).float(),
        "relations": torch.tensor(relations, dtype=torch.int64).reshape(-1, 3),
        "image_id": torch.tensor([record["image_id"]]),
        "orig_size": torch.tensor([record["height"], record["width"]]),
        "size": torch.tensor(size),
        "loss_weight": torch.tensor(1.0),
    }


def as_floats(image: np.ndarray) -> Tensor:
    """An image `(h, w, 3)` of bytes to `(3, h, w)`, normalised."""
    normalized = (image.astype(np.float32) / 255 - MEAN) / STD
    return torch.as_tensor(np.ascontiguousarray(normalized.transpose(2, 0, 1)))


def as_bytes(image: np.ndarray) -> Tensor:
    """An image `(h, w, 3)` of bytes to `(3, h, w)`, as Detectron2's mapper hands it to the model."""
    return torch.as_tensor(np.ascontiguousarray(image.transpose(2, 0, 1)))


class PlainRows(Dataset):
    """Examples by (row, pass).

    Args:
        records: Detectron2's dicts: `file_name`, `image_id`, `width`, `height`, `annotations`, `relations`.
        mapper: Makes examples of them.
    """

    def __init__(self, records: list[dict[str, Any]], mapper: PlainMapper) -> None:
        self.records, self.mapper = records, mapper

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, Any]:
        row, pass_number = draw
        return self.mapper(self.records[row], pass_number)


def pad(images: Sequence[Tensor], labels: list[dict[str, Tensor]]) -> dict[str, Any]:
    """Normalised images as one batch."""
    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    pixel_values = torch.zeros(len(images), 3, height, width)
    pixel_mask = torch.zeros(len(images), height, width, dtype=torch.int64)
    for index, image in enumerate(images):
        pixel_values[index, :, : image.shape[1], : image.shape[2]].copy_(image)
        pixel_mask[index, : image.shape[1], : image.shape[2]] = 1
    return {"pixel_values": pixel_values, "pixel_mask": pixel_mask, "labels": labels}


def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
    """Examples of `as_floats` to a batch."""
    return pad([example["image"] for example in examples], [example["label"] for example in examples])


def keep_list(examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Examples of `as_bytes` to a batch: Detectron2's `trivial_batch_collator`."""
    return examples


def preprocess(examples: list[dict[str, Any]]) -> dict[str, Any]:
    """Detectron2's `preprocess_image` of the model, for a batch of `keep_list`."""
    mean, std = (torch.tensor(255 * value).view(3, 1, 1) for value in (MEAN, STD))
    images = [(example["image"] - mean) / std for example in examples]
    return pad(images, [example["label"] for example in examples])


def prepare_for_inference(file: str, short_edge: int, longest_edge: int) -> dict[str, Any]:
    """One image file to the inputs of a model."""
    image, _ = resize_shortest_edge(read_image(file), short_edge, longest_edge)
    inputs = pad([as_floats(image)], [])
    return {name: inputs[name] for name in ("pixel_values", "pixel_mask")}
