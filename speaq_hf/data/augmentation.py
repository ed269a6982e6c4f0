# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Training augmentation of scene graphs, and the transform that turns dataset rows into model inputs.

An augmentation step is a callable `(example, generator) -> example`; steps compose. All randomness comes from the
generator, which `SceneGraphTransform` derives from (seed, epoch or pass, source, image id) for each row: what happens to an
image does not depend on how many images were read before, in which process, or after which restart.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BaseImageProcessor
from transformers.image_utils import SizeDict

from ..models.speaq.annotation_speaq import MIN_BOX_SIDE, renumber_relations
from ..models.speaq.image_processing_speaq import get_resized_size
from .images import read_row_image


@dataclass(frozen=True)
class SceneGraphExample:
    """One image with its annotation.

    Args:
        image: RGB image.
        boxes: Corners (n, 4), (x1, y1, x2, y2) in pixels of `image`.
        labels: Object classes (n,).
        relations: Rows (subject, object, predicate) (r, 3); subject and object index `boxes`.
    """

    image: Image.Image
    boxes: np.ndarray
    labels: np.ndarray
    relations: np.ndarray


Step = Callable[[SceneGraphExample, np.random.Generator], SceneGraphExample]


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Mirrors the image left to right with the given probability."""

    probability: float = 0.5

    def __call__(self, example: SceneGraphExample, generator: np.random.Generator) -> SceneGraphExample:
        if generator.random() >= self.probability:
            return example
        boxes = example.boxes[:, [2, 1, 0, 3]]
        boxes[:, [0, 2]] = example.image.width - boxes[:, [0, 2]]
        return replace(example, image=example.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), boxes=boxes)


@dataclass(frozen=True)
class RandomShortestEdge:
    """Resizes the short edge to a random one of `sizes`, keeping the long edge within `longest_edge` pixels."""

    sizes: Sequence[int]
    longest_edge: int | None = None

    def __call__(self, example: SceneGraphExample, generator: np.random.Generator) -> SceneGraphExample:
        image = example.image
        size = SizeDict(
            shortest_edge=int(self.sizes[generator.integers(len(self.sizes))]), longest_edge=self.longest_edge
        )
        height, width = get_resized_size((image.height, image.width), size)
        if (height, width) == (image.height, image.width):
            return example
        boxes = example.boxes * (np.array([width, height] * 2) / ([image.width, image.height] * 2))
        return replace(example, image=image.resize((width, height), Image.Resampling.BILINEAR), boxes=boxes)


@dataclass(frozen=True)
class RandomCrop:
    """Cuts out a window whose height and width are drawn from [min(shortest, side), min(longest, side)] pixels.

    Boxes are clipped to the window; those left without area go, together with their relations.
    """

    shortest: int
    longest: int

    def __call__(self, example: SceneGraphExample, generator: np.random.Generator) -> SceneGraphExample:
        size = np.array(example.image.size)  # (width, height)
        window = generator.integers(np.minimum(self.shortest, size), np.minimum(self.longest, size) + 1)
        corner = generator.integers(size - window + 1)
        image = example.image.crop((*corner, *(corner + window)))
        boxes = (example.boxes - np.tile(corner, 2)).clip(0, np.tile(window, 2))
        keep = (boxes[:, 2:] - boxes[:, :2] > MIN_BOX_SIDE).all(axis=1)
        return SceneGraphExample(image, boxes[keep], example.labels[keep], renumber_relations(example.relations, keep))


@dataclass(frozen=True)
class OnePredicatePerPair:
    """Keeps one random relation of each (subject, object) pair: a query can name only one predicate."""

    def __call__(self, example: SceneGraphExample, generator: np.random.Generator) -> SceneGraphExample:
        relations = example.relations
        order = generator.permutation(len(relations))
        pair = relations[order, 0] * len(example.boxes) + relations[order, 1]
        _, first = np.unique(pair, return_index=True)
        return replace(example, relations=relations[np.sort(order[first])])


@dataclass(frozen=True)
class Compose:
    """Applies steps in order."""

    steps: Sequence[Step]

    def __call__(self, example: SceneGraphExample, generator: np.random.Generator) -> SceneGraphExample:
        for step in self.steps:
            example = step(example, generator)
        return example


@dataclass(frozen=True)
class Sometimes:
    """Applies a step with the given probability."""

    step: Step
    probability: float = 0.5

    def __call__(self, example: SceneGraphExample, generator: np.random.Generator) -> SceneGraphExample:
        return self.step(example, generator) if generator.random() < self.probability else example


@dataclass(frozen=True)
class SceneGraphAugmentation:
    """The training augmentation of DETR, which SpeaQ and Iterative SGG use; the defaults are the published ones.

    One predicate per pair; flip; with `crop_probability` a resize to one of `crop_short_edges` and a crop; resize to one of
    `short_edges`. The image leaves with its final size.

    Args:
        short_edges: Final lengths of the short edge, in pixels.
        longest_edge: Upper limit of the final long edge, in pixels.
        flip_probability: Chance of a horizontal flip, in [0, 1].
        crop_probability: Chance of the crop, in [0, 1].
        crop_short_edges: Lengths of the short edge before the crop, in pixels.
        crop_sides: Smallest and largest side of the crop, in pixels.

    Raises:
        ValueError: A length is below 1 pixel, `crop_sides` decreases, or a probability is outside [0, 1].
    """

    short_edges: Sequence[int] = tuple(range(480, 801, 32))
    longest_edge: int = 1333
    flip_probability: float = 0.5
    crop_probability: float = 0.5
    crop_short_edges: Sequence[int] = (400, 500, 600)
    crop_sides: tuple[int, int] = (384, 600)

    def __post_init__(self) -> None:
        for field in ("short_edges", "crop_short_edges", "crop_sides"):
            values = getattr(self, field)
            if not len(values) or min(values) < 1:
                raise ValueError(f"`{field}` must hold lengths of at least 1 pixel, got {values!r}")
        if len(self.crop_sides) != 2 or self.crop_sides[0] > self.crop_sides[1]:
            raise ValueError(f"`crop_sides` must be (smallest, largest) in pixels, got {self.crop_sides!r}")
        if self.longest_edge < 1:
            raise ValueError(f"`longest_edge` must be at least 1 pixel, got {self.longest_edge}")
        for field in ("flip_probability", "crop_probability"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"`{field}` must be in [0, 1], got {getattr(self, field)}")

    @cached_property
    def _steps(self) -> Compose:
        crop = Compose([RandomShortestEdge(self.crop_short_edges), RandomCrop(*self.crop_sides)])
        return Compose(
            [
                OnePredicatePerPair(),
                RandomHorizontalFlip(self.flip_probability),
                Sometimes(crop, self.crop_probability),
                RandomShortestEdge(self.short_edges, self.longest_edge),
            ]
        )

    def __call__(self, example: SceneGraphExample, generator: np.random.Generator) -> SceneGraphExample:
        """Returns the augmented example; all randomness comes from `generator`."""
        return self._steps(example, generator)


class SharedEpoch:
    """An epoch number in shared memory: workers that were started earlier see it change, and copies are the same number."""

    def __init__(self) -> None:
        self._value = torch.zeros((), dtype=torch.int64).share_memory_()

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedEpoch:
        return self  # datasets copies its transform; the copy must follow `set_epoch` on the original

    def set(self, epoch: int) -> None:
        """Sets the number in every process."""
        self._value.fill_(epoch)

    def get(self) -> int:
        """Returns the number."""
        return int(self._value)


class RowTransform:
    """Rows of a scene graph dataset to augmented examples, each with random numbers of its own.

    Boxes are taken as pixels of the image file, even if its size differs from the row's `width` and `height`: the published
    program does the same.

    Args:
        augmentation: Applied to every image. None: every image and relation as it is.
        seed: With the epoch, the row's `source` and its `image_id` it determines the augmentation of an image. A row's
            `pass_number` takes the place of the epoch: where an image comes more than once in an epoch, see
            `RatioBatchSampler.passes`, it must not look the same each time.
    """

    def __init__(self, augmentation: Step | None = None, seed: int = 0) -> None:
        if seed < 0:
            raise ValueError(f"`seed` must be at least 0, got {seed}")
        self.augmentation = augmentation
        self.seed = seed
        self._epoch = SharedEpoch()

    def set_epoch(self, epoch: int) -> None:
        """Changes what the augmentation draws, also in worker processes that run already. Call it between epochs."""
        self._epoch.set(epoch)

    def augment(self, row: Mapping[str, Any], example: SceneGraphExample) -> SceneGraphExample:
        """Augments the example that a row is read as."""
        return example if self.augmentation is None else self.augmentation(example, self._generator(row))

    def _generator(self, row: Mapping[str, Any]) -> np.random.Generator:
        source = zlib.crc32((row.get("source") or "").encode())
        pass_number = row.get("pass_number", self._epoch.get())
        return np.random.default_rng([self.seed, pass_number, source, int(row["image_id"])])


class SceneGraphTransform(RowTransform):
    """Rows of a scene graph dataset to model inputs, for `dataset.with_transform(transform)`.

    Args:
        image_processor: Normalises and, without augmentation, resizes; converts the annotation.
        augmentation: Applied to every image; it decides the final size, the processor does not resize. None: evaluation,
            every image and relation as it is.
        seed: Of the augmentation, see `RowTransform`.

    Example:
        >>> transform = SceneGraphTransform(image_processor, SceneGraphAugmentation(), seed=0)  # doctest: +SKIP
        >>> train = load_visual_genome(root, "train").with_transform(transform)  # doctest: +SKIP
        >>> transform.set_epoch(1)  # reaches running workers  # doctest: +SKIP
    """

    def __init__(
        self, image_processor: BaseImageProcessor, augmentation: SceneGraphAugmentation | None = None, seed: int = 0
    ) -> None:
        super().__init__(augmentation, seed)
        self.image_processor = image_processor

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Transforms rows.

        Args:
            batch: Columns of B rows: `image` (decoded, or path and bytes), `image_id`, `objects`, `relations`, and
                optionally `source`, `loss_weight`, `pass_number`.

        Returns:
            `pixel_values`: B tensors (3, h, w), not padded. `labels`: B dicts of tensors: `class_labels (n,)`,
            `boxes (n, 4)` (cx, cy, w, h) in [0, 1], `relations (r, 3)`, `loss_weight ()`, `image_id (1,)`, `size (2,)`
            the (height, width) of `pixel_values`, `orig_size (2,)` that of the image file; and the string `source` if the
            rows have one.

        Raises:
            UnreadableImageError: An image cannot be read.
        """
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        examples = [example_from_row(row, read_row_image(row)) for row in rows]
        original_sizes = [(example.image.height, example.image.width) for example in examples]
        examples = [self.augment(row, example) for row, example in zip(rows, examples, strict=True)]
        return self._process(examples, rows, original_sizes)

    def _process(
        self,
        examples: list[SceneGraphExample],
        rows: list[dict[str, Any]],
        original_sizes: list[tuple[int, int]],
    ) -> dict[str, list[Any]]:
        resized_already = {} if self.augmentation is None else {"do_resize": False}
        inputs = self.image_processor(
            [example.image for example in examples],
            annotations=[coco_annotation(example, row) for example, row in zip(examples, rows, strict=True)],
            return_tensors=None,  # images of different sizes cannot be stacked yet
            do_pad=False,
            **resized_already,
        )
        labels = [_as_tensors(label) for label in inputs["labels"]]
        for label, original_size in zip(labels, original_sizes, strict=True):
            label["orig_size"] = torch.tensor(original_size)
        return {"pixel_values": [torch.as_tensor(image) for image in inputs["pixel_values"]], "labels": labels}


def example_from_row(row: Mapping[str, Any], image: Image.Image) -> SceneGraphExample:
    """A row with its image, which was read before."""
    # The reshapes give empty lists their columns back.
    return SceneGraphExample(
        image=image,
        boxes=np.asarray(row["objects"]["bbox"], np.float64).reshape(-1, 4),
        labels=np.asarray(row["objects"]["category"], np.int64),
        relations=np.asarray(row["relations"], np.int64).reshape(-1, 3),
    )


def coco_annotation(example: SceneGraphExample, row: Mapping[str, Any]) -> dict[str, Any]:
    """What an example shows, as image processors take it, with what the row says about its image and its part in the loss."""
    boxes_xywh = np.concatenate([example.boxes[:, :2], example.boxes[:, 2:] - example.boxes[:, :2]], axis=1)
    annotation = {
        "image_id": row["image_id"],
        "annotations": [
            {"bbox": box, "category_id": label}
            for box, label in zip(boxes_xywh.tolist(), example.labels.tolist(), strict=True)
        ],
        "relations": example.relations.tolist(),
    }
    return annotation | {key: row[key] for key in ("source", "loss_weight") if row.get(key) is not None}


def _as_tensors(label: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value if isinstance(value, str) else torch.as_tensor(value) for key, value in label.items()}
