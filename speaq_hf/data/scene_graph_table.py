# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A whole data set, all splits, in flat NumPy arrays: what counting and comparing millions of rows needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from .visual_genome import object_names, predicate_names


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
    def from_datasets(cls, splits: Mapping[str, Dataset]) -> SceneGraphTable:
        """Joins the splits of a set.

        Args:
            splits: At least one scene graph dataset (features of `scene_graph_features`) by split name.

        Returns:
            The table; images in the order of the splits and their rows.

        Raises:
            ValueError: There is no split, or the splits differ in their vocabularies.
        """
        if not splits:
            raise ValueError("expected at least one split, got none")
        objects, predicates = _common_names(splits)
        columns = ["image_id", "width", "height", "objects", "relations"]
        table = pa.concat_tables(
            split.select_columns(columns).with_format("arrow")[:] for split in splits.values()
        ).combine_chunks()
        categories, boxes = (pc.struct_field(table["objects"], name) for name in ("category", "bbox"))
        box_image = _owners(categories)
        relation_image = _owners(table["relations"])
        relations = _flat(table["relations"], 2).astype(np.int64).reshape(-1, 3)
        first_box = np.searchsorted(box_image, np.arange(len(table)))[relation_image]
        return cls(
            object_names=objects,
            predicate_names=predicates,
            split_names=list(splits),
            image_split=np.repeat(np.arange(len(splits)), [len(split) for split in splits.values()]),
            image_ids=np.asarray(table["image_id"]),
            image_sizes=np.column_stack([np.asarray(table["width"]), np.asarray(table["height"])]),
            boxes_xyxy=_flat(boxes, 2).reshape(-1, 4),
            labels=_flat(categories, 1).astype(np.int64),
            box_image=box_image,
            relations=relations + np.stack([first_box, first_box, np.zeros_like(first_box)], axis=1),
            relation_image=relation_image,
        )


def _common_names(splits: Mapping[str, Dataset]) -> tuple[list[str], list[str]]:
    names = {split: (object_names(dataset), predicate_names(dataset)) for split, dataset in splits.items()}
    first, vocabulary = next(iter(names.items()))
    differing = [split for split, other in names.items() if other != vocabulary]
    if differing:
        raise ValueError(f"the splits of a set must share their vocabularies, {differing} differ from '{first}'")
    return vocabulary


def _owners(lists: pa.ChunkedArray) -> np.ndarray:
    """Position of the list that each of the flattened values belongs to."""
    return np.repeat(np.arange(len(lists)), np.asarray(pc.list_value_length(lists)))


def _flat(lists: pa.ChunkedArray, depth: int) -> np.ndarray:
    for _ in range(depth):
        lists = pc.list_flatten(lists)
    return np.asarray(lists)
