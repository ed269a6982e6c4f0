# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Mistakes of annotators, for generated sets: forgotten and repeated relations, boxes that do not fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


SPLITS = ("train", "val", "test")
MIN_SIDE = 2  # pixels


@dataclass(frozen=True)
class AnnotationNoise:
    """How careless the annotation is; the pictures are not touched.

    Attributes:
        missing_relations: Probability that a relation is left out, in [0, 1]. An image can lose all of them; readers then
            drop it, unless told to keep it.
        duplicate_relations: Probability that a relation which is kept is listed twice, in [0, 1].
        box_jitter: Standard deviation of each edge of a box, as a share of the box's side across it, in [0, 0.5].
        splits: Splits it applies to. Readers that cut the validation images from the training split (as is usual for
            Visual Genome) find noise in them too.
    """

    missing_relations: float = 0.0
    duplicate_relations: float = 0.0
    box_jitter: float = 0.0
    splits: tuple[str, ...] = ("train",)

    def __post_init__(self) -> None:
        for name, limit in (("missing_relations", 1), ("duplicate_relations", 1), ("box_jitter", 0.5)):
            if not 0 <= getattr(self, name) <= limit:
                raise ValueError(f"Expected {name} in [0, {limit}], got {getattr(self, name)}.")
        unknown = sorted(set(self.splits) - set(SPLITS))
        if isinstance(self.splits, str) or unknown:
            raise ValueError(f"Expected splits to be a sequence of {SPLITS}, got {self.splits!r}.")

    def noisy_relations(self, rng: np.random.Generator, relations: np.ndarray) -> np.ndarray:
        """Relations as annotated: some rows are missing, some come once more at the end.

        Args:
            rng: Source of the choice.
            relations: (r, 3) rows of any kind.
        """
        forgotten, repeated = rng.random((2, len(relations)))
        kept = forgotten >= self.missing_relations
        return np.concatenate([relations[kept], relations[kept & (repeated < self.duplicate_relations)]])

    def noisy_boxes(self, rng: np.random.Generator, boxes: np.ndarray, width: int, height: int) -> np.ndarray:
        """Boxes as annotated: inside the image and at least 2 pixels wide and high.

        Args:
            rng: Source of the jitter.
            boxes: (n, 4) integer (x1, y1, x2, y2) in pixels.
            width: Image width in pixels.
            height: Image height in pixels.
        """
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        moved = boxes + np.rint(self.box_jitter * sides * rng.standard_normal(boxes.shape)).astype(boxes.dtype)
        limit = np.array([width, height])
        low = np.minimum(moved[:, :2], moved[:, 2:]).clip(0, limit - MIN_SIDE)
        high = np.maximum(moved[:, :2], moved[:, 2:]).clip(low + MIN_SIDE, limit)
        return np.concatenate([low, high], axis=1)
