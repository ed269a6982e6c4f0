# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Scene graphs of many images as flat arrays: what every format is read into, checked as, and written from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetInfo, NamedSplit

from ..defects import Place
from ..visual_genome import object_names, predicate_names, scene_graph_features


@dataclass(frozen=True)
class Vocabulary:
    """Class names in index order."""

    objects: list[str]
    predicates: list[str]

    @classmethod
    def of(cls, dataset: Dataset) -> Vocabulary:
        """The names in the features of a scene graph dataset; a ValueError if there are none."""
        return cls(object_names(dataset), predicate_names(dataset))


@dataclass(frozen=True)
class GraphRow:
    """One image and its graph, as a file describes it.

    Args:
        where: File and row.
        image: Absolute path of the image file, "" if there is none.
        image_id: Identifies the image within its split.
        width: In pixels.
        height: In pixels.
        boxes: Corners (x1, y1, x2, y2) in pixels (n, 4).
        labels: Object classes (n,), 0-based.
        relations: Rows (subject, object, predicate) (r, 3), the first two index the boxes.
    """

    where: Place
    image: str
    image_id: int
    width: int
    height: int
    boxes: np.ndarray
    labels: Sequence[int]
    relations: np.ndarray


@dataclass(frozen=True)
class GraphArrays:
    """Boxes and relations of several images, image after image.

    Args:
        image_ids: (n,) int64.
        sizes: Width and height (n, 2) in pixels.
        box_counts: Boxes of each image (n,).
        boxes: Corners in pixels (b, 4) float32.
        labels: Object classes (b,), 0-based.
        relation_counts: Relations of each image (n,).
        relations: Rows (subject, object, predicate) (r, 3) int64; subject and object count within the image.
    """

    image_ids: np.ndarray
    sizes: np.ndarray
    box_counts: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    relation_counts: np.ndarray
    relations: np.ndarray

    @classmethod
    def from_rows(cls, rows: Sequence[GraphRow]) -> GraphArrays:
        """Joins rows, of which there is at least one."""
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which `check` reports
            boxes = np.concatenate([row.boxes.reshape(-1, 4) for row in rows]).astype(np.float32)
        return cls(
            np.array([row.image_id for row in rows], np.int64),
            np.array([(row.width, row.height) for row in rows], np.int64),
            np.array([len(row.boxes) for row in rows]),
            boxes,
            np.array([label for row in rows for label in row.labels], np.int64),
            np.array([len(row.relations) for row in rows]),
            np.concatenate([row.relations.reshape(-1, 3) for row in rows]).astype(np.int64),
        )

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> GraphArrays:
        """Takes the graphs out of a scene graph dataset; a transform or format set on it does not matter.

        Raises:
            ValueError: A value is null, or `predicates` is not the last column of `relations`.
        """
        names = ["image_id", "width", "height", "objects", "relations", "predicates"]
        table = dataset.with_format("arrow").select_columns(names)[:]
        columns = {name: _without_nulls(table.column(name), name) for name in names}
        bbox, category = columns["objects"].flatten()
        box_counts, boxes = _flat_rows(bbox, 4, "objects.bbox")
        relation_counts, relations = _flat_rows(columns["relations"], 3, "relations")
        label_counts, labels = _flat_rows(category, 1, "objects.category")
        predicate_counts, predicates = _flat_rows(columns["predicates"], 1, "predicates")
        _check_aligned("objects.category", label_counts, "objects.bbox", box_counts)
        _check_aligned("predicates", predicate_counts, "relations", relation_counts)
        if (predicates[:, 0] != relations[:, 2]).any():
            relation = _first(predicates[:, 0] != relations[:, 2])
            row, index = cls._locate(relation, relation_counts)
            raise ValueError(
                f"row {row}: 'predicates' must be the last column of 'relations', but entry {index} differs"
            )
        sizes = np.column_stack([columns[name].to_numpy() for name in ("width", "height")])
        image_ids = columns["image_id"].to_numpy()
        return cls(image_ids, sizes, box_counts, boxes, labels[:, 0], relation_counts, relations.astype(np.int64))

    @classmethod
    def joined(cls, parts: Sequence[GraphArrays]) -> GraphArrays:
        """The images of all parts, of which there is at least one, one after the other."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*(vars(part).values() for part in parts), strict=True)))

    @property
    def box_owners(self) -> np.ndarray:
        """Position of each box's image (b,)."""
        return np.repeat(np.arange(len(self.image_ids)), self.box_counts)

    @property
    def relation_owners(self) -> np.ndarray:
        """Position of each relation's image (r,)."""
        return np.repeat(np.arange(len(self.image_ids)), self.relation_counts)

    def check(self, vocabulary: Vocabulary, where: Callable[[int], str]) -> None:
        """Makes sure that the graphs can be trained on.

        Args:
            vocabulary: Names of the classes.
            where: Gives file and row of the image at a position, for messages.

        Raises:
            ValueError: Sizes below 1 pixel, boxes that are not finite or end before they begin, classes outside the
                vocabulary, relations to missing boxes, or two images with one id.
        """
        self._check_images(where)
        self._check_boxes(vocabulary, where)
        self._check_relations(vocabulary, where)

    def _check_images(self, where: Callable[[int], str]) -> None:
        image = _first((self.sizes < 1).any(axis=1))
        if image is not None:
            raise ValueError(f"{where(image)}: width and height must be at least 1, got {self.sizes[image].tolist()}")
        _, first = np.unique(self.image_ids, return_index=True)
        image = _first(~np.isin(np.arange(len(self.image_ids)), first))
        if image is not None:
            other = _first(self.image_ids == self.image_ids[image])
            raise ValueError(f"{where(image)}: image id {self.image_ids[image]} is also that of {where(other)}")

    def _check_boxes(self, vocabulary: Vocabulary, where: Callable[[int], str]) -> None:
        proper = np.isfinite(self.boxes).all(axis=1) & (self.boxes[:, 2:] >= self.boxes[:, :2]).all(axis=1)
        box = _first(~proper)
        if box is not None:
            image, index = self._locate(box, self.box_counts)
            raise ValueError(
                f"{where(image)}: box {index} must have finite corners x1 <= x2, y1 <= y2 (width and height not "
                f"negative), got {self.boxes[box].tolist()}"
            )
        box = _first((self.labels < 0) | (self.labels >= len(vocabulary.objects)))
        if box is not None:
            image, index = self._locate(box, self.box_counts)
            raise ValueError(
                f"{where(image)}: category {self.labels[box]} of box {index} is not in "
                f"0..{len(vocabulary.objects) - 1}, the object vocabulary"
            )

    def _check_relations(self, vocabulary: Vocabulary, where: Callable[[int], str]) -> None:
        num_boxes = self.box_counts[self.relation_owners][:, None]
        limits = np.concatenate([num_boxes, num_boxes, np.full_like(num_boxes, len(vocabulary.predicates))], axis=1)
        relation = _first(((self.relations < 0) | (self.relations >= limits)).any(axis=1))
        if relation is not None:
            image, index = self._locate(relation, self.relation_counts)
            raise ValueError(
                f"{where(image)}: relation {index}, {self.relations[relation].tolist()}, must name a subject and an "
                f"object among the image's {self.box_counts[image]} boxes and a predicate below "
                f"{len(vocabulary.predicates)} (all count from 0)"
            )

    @staticmethod
    def _locate(row: int, counts: np.ndarray) -> tuple[int, int]:
        """Position of a flat row's image, and the row's index within the image."""
        ends = np.cumsum(counts)
        image = int(np.searchsorted(ends, row, side="right"))
        return image, int(row - ends[image] + counts[image])

    def to_dataset(self, images: Sequence[str], vocabulary: Vocabulary, split: str) -> Dataset:
        """The scene graph dataset over image files at the given paths (n,)."""
        features = scene_graph_features(vocabulary.objects, vocabulary.predicates)
        box_offsets, relation_offsets = _offsets(self.box_counts), _offsets(self.relation_counts)
        objects = [pa.ListArray.from_arrays(box_offsets, _fixed_rows(self.boxes))]
        objects.append(pa.ListArray.from_arrays(box_offsets, pa.array(self.labels)))
        relations = _fixed_rows(self.relations.astype(np.int32))
        columns = {
            "image": pa.StructArray.from_arrays([pa.nulls(len(images), pa.binary()), pa.array(images)], ["bytes", "path"]),
            "image_id": pa.array(self.image_ids),
            "width": pa.array(self.sizes[:, 0].astype(np.int32)),
            "height": pa.array(self.sizes[:, 1].astype(np.int32)),
            "objects": pa.StructArray.from_arrays(objects, ["bbox", "category"]),
            "relations": pa.ListArray.from_arrays(relation_offsets, relations),
            "predicates": pa.ListArray.from_arrays(relation_offsets, pa.array(self.relations[:, 2].copy())),
        }  # fmt: skip
        table = pa.table(columns).cast(features.arrow_schema)
        return Dataset(table, info=DatasetInfo(features=features), split=NamedSplit(split))


def _first(bad: np.ndarray) -> int | None:
    positions = np.flatnonzero(bad)
    return int(positions[0]) if len(positions) else None


def _without_nulls(column: pa.Array | pa.ChunkedArray, name: str) -> pa.Array:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if array.null_count:
        row = _first(np.asarray(array.is_null()))
        raise ValueError(f"column '{name}' must have a value in every row, but entry {row} is null")
    return array


def _flat_rows(column: pa.Array, width: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A column of lists of numbers, or of rows of `width` numbers: the list lengths (n,) and all rows (m, width)."""
    column = _without_nulls(column, name)
    values = _without_nulls(column.flatten(), name)
    if width > 1:
        values = _without_nulls(values.flatten(), name)
    return pc.list_value_length(column).to_numpy(), values.to_numpy().reshape(-1, width)


def _check_aligned(name: str, counts: np.ndarray, other: str, expected: np.ndarray) -> None:
    row = _first(counts != expected)
    if row is not None:
        raise ValueError(f"row {row}: '{name}' has {counts[row]} entries, but '{other}' has {expected[row]}")


def _offsets(counts: np.ndarray) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))


def _fixed_rows(array: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])
