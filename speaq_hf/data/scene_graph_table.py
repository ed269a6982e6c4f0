# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A whole data set, all splits, in flat NumPy arrays: what counting and comparing millions of rows needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from .formats.graph_arrays import GraphArrays, Vocabulary


@dataclass(frozen=True)
class SceneGraphTable:
    """Images, boxes and relations; n images, b boxes, r relations. Classes are 0-based and within the names.

    Args:
        object_names: Object classes.
        predicate_names: Predicates.
        split_names: Splits.
        image_split: (n,) indices of `split_names`.
        image_ids: (n,), -1 where unknown.
        image_sizes: (n, 2) width and height in pixels, 0 where unknown.
        boxes_xyxy: (b, 4) corners in pixels.
        labels: (b,) object classes.
        box_image: (b,) image of each box, non-decreasing.
        relations: (r, 3) rows (subject, object, predicate); the first two are rows of `boxes_xyxy`.
        relation_image: (r,) image of each relation, non-decreasing.
    """

    object_names: list[str]
    predicate_names: list[str]
    split_names: list[str]
    image_split: np.ndarray
    image_ids: np.ndarray
    image_sizes: np.ndarray
    boxes_xyxy: np.ndarray
    labels: np.ndarray
    box_image: np.ndarray
    relations: np.ndarray
    relation_image: np.ndarray

    @property
    def boxes_per_image(self) -> np.ndarray:
        """Number of boxes of every image (n,)."""
        return np.bincount(self.box_image, minlength=len(self.image_ids))

    @property
    def relations_per_image(self) -> np.ndarray:
        """Number of relations of every image (n,)."""
        return np.bincount(self.relation_image, minlength=len(self.image_ids))

    def graph(self, image: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes (k, 4), labels (k,) and relations (m, 3) of one image; the relations index its own boxes."""
        first, end = np.searchsorted(self.box_image, [image, image + 1])
        first_relation, end_relation = np.searchsorted(self.relation_image, [image, image + 1])
        relations = self.relations[first_relation:end_relation] - [first, first, 0]
        return self.boxes_xyxy[first:end], self.labels[first:end], relations

    @classmethod
    def from_datasets(cls, datasets: Mapping[str, Dataset]) -> SceneGraphTable:
        """Reads scene graph datasets.

        Args:
            datasets: Splits by name, at least one, all with the same vocabulary.

        Returns:
            The table; images in the order of the datasets and their rows.
        """
        arrays = {name: GraphArrays.from_dataset(dataset) for name, dataset in datasets.items()}
        return cls.from_arrays(arrays, Vocabulary.of(next(iter(datasets.values()))))

    @classmethod
    def from_arrays(cls, splits: Mapping[str, GraphArrays], vocabulary: Vocabulary) -> SceneGraphTable:
        """Joins the splits of a set.

        Args:
            splits: At least one, checked.
            vocabulary: Names of their classes.

        Returns:
            The table; images in the order of the splits and their rows.
        """
        parts = list(splits.values())
        joined = GraphArrays.joined(parts)
        first_box = (np.cumsum(joined.box_counts) - joined.box_counts)[joined.relation_owners]
        return cls(
            object_names=vocabulary.objects,
            predicate_names=vocabulary.predicates,
            split_names=list(splits),
            image_split=np.repeat(np.arange(len(parts)), [len(part.image_ids) for part in parts]),
            image_ids=joined.image_ids,
            image_sizes=joined.sizes,
            boxes_xyxy=joined.boxes,
            labels=joined.labels,
            box_image=joined.box_owners,
            relations=joined.relations + np.stack([first_box, first_box, np.zeros_like(first_box)], axis=1),
            relation_image=joined.relation_owners,
        )
