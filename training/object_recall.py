# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Recall of a detector: how many of the annotated objects are among its best detections."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speaq_hf.models.speaq.box_ops_speaq import box_iou


class ObjectRecall:
    """Share of the annotated objects of all images that are found by the K best detections of their image.

    Best detections first, each finds the object of its class with which it overlaps most, if that is enough and no better
    detection found it.

    Args:
        ks: Values of K.
        iou_threshold: Intersection over union that is enough, in (0, 1].
    """

    def __init__(self, ks: Sequence[int] = (10, 50, 100), iou_threshold: float = 0.5) -> None:
        self.ks, self.iou_threshold = tuple(ks), iou_threshold
        self.num_found = np.zeros(len(self.ks), np.int64)
        self.num_objects = self.num_images = 0

    def add_batch(self, predictions: Sequence[Mapping[str, Tensor]], references: Sequence[Mapping[str, Any]]) -> None:
        """Count images.

        Args:
            predictions: `boxes` `(q, 4)` xyxy pixels, `labels` `(q,)` and `scores` `(q,)` of each image.
            references: `boxes` `(n, 4)` xyxy pixels and `labels` `(n,)` of each image.
        """
        for prediction, reference in zip(predictions, references, strict=True):
            ranks = self._ranks(prediction, reference)
            self.num_found += [sum(rank < k for rank in ranks) for k in self.ks]
            self.num_objects += len(reference["labels"])
            self.num_images += 1

    def merge(self, other: "ObjectRecall") -> "ObjectRecall":
        """Add the counts of another process."""
        self.num_found += other.num_found
        self.num_objects += other.num_objects
        self.num_images += other.num_images
        return self

    def compute(self) -> dict[str, float | int]:
        """`recall@K` in [0, 1] for every K (NaN without objects), `num_objects` and `num_images`."""
        recalls = self.num_found / self.num_objects if self.num_objects else np.full(len(self.ks), np.nan)
        named = {f"recall@{k}": float(recall) for k, recall in zip(self.ks, recalls, strict=True)}
        return named | {"num_objects": self.num_objects, "num_images": self.num_images}

    def _ranks(self, prediction: Mapping[str, Tensor], reference: Mapping[str, Any]) -> list[int]:
        """Ranks, 0-based, of the detections that find an object."""
        order = prediction["scores"].argsort(descending=True, stable=True)[: max(self.ks)]
        overlap = box_iou(prediction["boxes"][order, None].cpu(), reference["boxes"])  # (K, n)
        same_class = prediction["labels"][order, None].cpu() == reference["labels"]
        overlap = torch.where(same_class, overlap, 0.0).nan_to_num(0.0).numpy()
        ranks = []
        for rank in np.flatnonzero(overlap.max(axis=1, initial=0.0) >= self.iou_threshold):
            found = overlap[rank].argmax()
            if overlap[rank, found] >= self.iou_threshold:  # no better detection has taken it
                overlap[:, found] = 0.0
                ranks.append(int(rank))
        return ranks
