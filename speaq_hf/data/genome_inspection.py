# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Everything that is wrong with a set in Visual Genome's files, found in one pass that never stops at a defect.

The reader, `load_visual_genome`, refuses a broken set at its first defect; this module reads the same files leniently,
names all defects, and hands on what is sound.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .defects import DefectLog
from .generator import GenomeFiles
from .image_inspection import ImageList, inspect_images
from .raw_genome import (
    IMAGE_ARRAYS,
    RawVocabulary,
    find_genome_files,
    read_raw_arrays,
    read_raw_image_list,
    read_raw_vocabulary,
)
from .repeated_rows import repeated_rows
from .scene_graph_table import SceneGraphTable


_SPLIT_NAMES = ("train", "validation", "test")  # of the flags 0, 1, 2
_BORDER_TOLERANCE = 2  # stored units: centre and size are rounded to integers, and halving rounds once more


@dataclass(frozen=True)
class GenomeInspection:
    """What was found.

    Args:
        defects: Everything that is wrong.
        table: The sound images, boxes and relations; None if the annotations cannot be made sense of.
        image_paths: (n,) paths of the table's images, None where no sound image file was found.
    """

    defects: DefectLog
    table: SceneGraphTable | None
    image_paths: list[Path | None]


@dataclass(frozen=True)
class _Ranges:
    """Which rows of a flat array belong to each image: (n,) first and count, sound (n,), and (rows,) owner or -1."""

    first: np.ndarray
    count: np.ndarray
    sound: np.ndarray
    owner: np.ndarray


def inspect_genome(
    root: str | os.PathLike,
    files: GenomeFiles | None = None,
    *,
    box_scale: int = 1024,
    decode_images: bool = True,
    num_threads: int | None = None,
    log: DefectLog | None = None,
    progress: bool = False,
) -> GenomeInspection:
    """Reads a set in Visual Genome's files and notes every defect.

    Args:
        root: Folder that holds the files.
        files: Their names; default `find_genome_files(root)`.
        box_scale: Length of the long image side in the frame of the stored boxes, see `load_visual_genome`.
        decode_images: Read every image file; otherwise only look whether it exists.
        num_threads: Threads that decode; default some more than cores.
        log: Takes the defects; default a new one.
        progress: Show a progress bar while decoding.

    Returns:
        The defects, and what is sound.

    Raises:
        FileNotFoundError: `files` is not given and the folder holds none of the known names.
    """
    root = Path(root)
    files = files or find_genome_files(root)
    log = DefectLog() if log is None else log
    vocabulary = read_raw_vocabulary(root / files.categories, log)
    arrays = read_raw_arrays(root / files.annotations, f"boxes_{box_scale}", log)
    num_images = next((len(arrays[name]) for name in IMAGE_ARRAYS if name in arrays), None)
    listed = read_raw_image_list(root / files.image_data, num_images, log)
    paths = inspect_images(
        root / files.images,
        ImageList.unknown(root / files.image_data, 0) if listed is None else listed,
        log,
        decode=decode_images,
        num_threads=num_threads,
        progress=progress,
    )
    if listed is None or num_images != len(listed):
        if listed is not None and num_images is not None:
            message = f"{len(listed)} images, but {num_images} rows of 'split' in {root / files.annotations}"
            log.add("length_mismatch", listed.file, message)
        listed = ImageList.unknown(root / files.image_data, num_images or 0)
        paths = [None] * len(listed)
    annotations = _AnnotationInspection(root / files.annotations, arrays, listed, vocabulary, box_scale, log)
    return GenomeInspection(log, annotations.run(), paths)


@dataclass(frozen=True)
class _AnnotationInspection:
    """Checks of the HDF5 file's rows; `arrays` as `read_raw_arrays` returns them."""

    file: Path
    arrays: dict[str, np.ndarray]
    images: ImageList
    vocabulary: RawVocabulary
    box_scale: int
    log: DefectLog

    def run(self) -> SceneGraphTable | None:
        """Notes the defects; returns what is sound, or None without the arrays that make up a graph."""
        self._check_splits()
        labels, predicates = self.arrays.get("labels"), self.arrays.get("predicates")
        known_labels = self._check_classes("labels", self.vocabulary.objects)
        known_predicates = self._check_classes("predicates", self.vocabulary.predicates)
        boxes, pairs = self.arrays.get(f"boxes_{self.box_scale}"), self.arrays.get("relationships")
        box_ranges = self._check_ranges("box", f"boxes_{self.box_scale}", "labels")
        relation_ranges = self._check_ranges("rel", "relationships", "predicates")
        if box_ranges is not None and boxes is not None:
            self._check_boxes(boxes, labels, box_ranges)
        inside = np.zeros(0, bool)
        if box_ranges is not None and relation_ranges is not None and pairs is not None:
            inside = self._check_relations(pairs, predicates, box_ranges, relation_ranges)
        parts = (boxes, labels, pairs, predicates, box_ranges, relation_ranges, self.arrays.get("split"))
        if any(part is None for part in parts) or not (self.vocabulary.objects and self.vocabulary.predicates):
            return None
        kept_boxes = known_labels & (box_ranges.owner >= 0)
        kept_relations = inside & known_predicates
        return self._sound_part(box_ranges.owner, kept_boxes, relation_ranges.owner, kept_relations)

    def _note(self, kind: str, field: str, mask: np.ndarray, describe: Callable[[int], str]) -> None:
        self.log.add_rows(kind, self.file, field, np.flatnonzero(mask), describe)

    def _image(self, position: int) -> str:
        """An image in words."""
        return f"image {self.images.ids[position]}" if self.images.ids[position] >= 0 else f"image row {position}"

    def _check_splits(self) -> None:
        split = self.arrays.get("split", np.zeros(0, np.int64))
        self._note(
            "unknown_split", "split", ~np.isin(split, (0, 1, 2)), lambda i: f"flag {split[i]} of {self._image(i)}"
        )

    def _check_classes(self, field: str, names: list[str]) -> np.ndarray:
        """Which classes have a name."""
        values = self.arrays.get(field, np.zeros(0, np.int64))
        known = (values >= 1) & (values <= len(names))
        if names:  # a vocabulary that could not be read is one defect, not millions
            self._note("unknown_class", field, ~known, lambda i: f"class {values[i]} is not in 1..{len(names)}")
        return known

    def _check_ranges(self, kind: str, *fields: str) -> _Ranges | None:
        """Notes images whose first and last index are no range, or a range of others; None without the arrays."""
        first_name, last_name = f"img_to_first_{kind}", f"img_to_last_{kind}"
        lengths = [len(self.arrays[field]) for field in fields if field in self.arrays]
        if first_name not in self.arrays or last_name not in self.arrays or not lengths:
            return None
        first, last, num_rows = self.arrays[first_name], self.arrays[last_name], min(lengths)
        none = (first == -1) & (last == -1)
        sound = none | ((first >= 0) & (last >= first) & (last < num_rows))

        def describe(i: int) -> str:
            return f"{first[i]}..{last[i]} ({last_name}) of {self._image(i)} is not within 0..{num_rows - 1}"

        self._note("broken_range", first_name, ~sound, describe)
        shared = _shared_ranges(first, last, sound & ~none)

        def describe_shared(i: int) -> str:
            return f"{first[i]}..{last[i]} ({last_name}) of {self._image(i)} overlaps the range of another image"

        self._note("shared_rows", first_name, shared, describe_shared)
        ranges = _make_ranges(first, last, sound & ~shared, none, num_rows)
        if ranges.sound.all():  # the rows of broken ranges are no further defect
            self._note("unowned_rows", fields[0], ranges.owner < 0, lambda _: f"no range of '{first_name}' holds it")
        return ranges

    def _check_boxes(self, boxes: np.ndarray, labels: np.ndarray | None, ranges: _Ranges) -> None:
        field, owner = f"boxes_{self.box_scale}", ranges.owner
        corners = _corners(boxes)
        frame = np.append(self._frames(), [[0, 0]], axis=0)[owner]  # (b, 2); the last row is for boxes without image
        known = (owner >= 0) & (frame > 0).all(axis=1)
        empty = (boxes[:, 2:] <= 0).any(axis=1)
        outside = known & ~empty & ((corners[:, :2] >= frame) | (corners[:, 2:] <= 0)).any(axis=1)
        beyond = (corners[:, :2] < -_BORDER_TOLERANCE) | (corners[:, 2:] > frame + _BORDER_TOLERANCE)

        def describe(i: int) -> str:
            width, height = np.round(frame[i], 1).tolist()
            size = f" of {width:g} x {height:g}" if known[i] else ""
            return f"corners {corners[i].tolist()}, {self._image(owner[i])}{size} in the frame of {self.box_scale}"

        def describe_empty(i: int) -> str:
            return f"width {boxes[i, 2]}, height {boxes[i, 3]}"

        self._note("empty_box", field, empty, describe_empty)
        self._note("box_outside_image", field, outside, describe)
        self._note("box_across_border", field, known & ~empty & ~outside & beyond.any(axis=1), describe)
        if labels is not None:
            rows = np.flatnonzero(owner >= 0)
            self._note_repeated("duplicate_box", field, rows, [owner, labels, *boxes.T], owner)

    def _check_relations(
        self, pairs: np.ndarray, predicates: np.ndarray | None, boxes: _Ranges, relations: _Ranges
    ) -> np.ndarray:
        """Notes the defects; returns which relations connect two boxes of their own image (r,)."""
        owner, num_boxes = relations.owner, len(boxes.owner)
        exists = ((pairs >= 0) & (pairs < num_boxes)).all(axis=1)
        box_owner = boxes.owner[np.where(exists[:, None], pairs, 0)] if num_boxes else np.full(pairs.shape, -1)
        inside = exists & (owner >= 0) & (box_owner == owner[:, None]).all(axis=1)
        # An image without a sound range of boxes is one defect, not as many as it has relations.
        blamed_elsewhere = exists & ~np.append(boxes.sound, False)[owner]

        def describe(i: int) -> str:
            if owner[i] < 0:
                return f"boxes {pairs[i].tolist()} are not all within 0..{num_boxes - 1}"
            first, count = boxes.first[owner[i]], boxes.count[owner[i]]
            own = f"boxes {first}..{first + count - 1}" if count else "no boxes"
            return f"boxes {pairs[i].tolist()}, but {self._image(owner[i])} has {own}"

        self._note("relation_to_missing_box", "relationships", ~inside & ~blamed_elsewhere, describe)
        loops = inside & (pairs[:, 0] == pairs[:, 1])
        self._note(
            "self_relation", "relationships", loops, lambda i: f"box {pairs[i, 0]} twice, {self._image(owner[i])}"
        )
        if predicates is not None:
            rows, columns = np.flatnonzero(inside), [*pairs.T, predicates]
            self._note_repeated("duplicate_relation", "relationships", rows, columns, owner)
        return inside

    def _note_repeated(
        self, kind: str, field: str, rows: np.ndarray, columns: Sequence[np.ndarray], owner: np.ndarray
    ) -> None:
        """Notes those of `rows` that equal an earlier one in all columns, each as long as the array."""
        repeated, original = repeated_rows([column[rows] for column in columns])
        original_of = dict(zip(rows[repeated].tolist(), rows[original].tolist(), strict=True))
        self.log.add_rows(
            kind,
            self.file,
            field,
            rows[repeated],
            lambda i: f"the same as row {original_of[i]}, {self._image(owner[i])}",
        )

    def _frames(self) -> np.ndarray:
        """(n, 2) width and height of the images in the frame of the stored boxes, 0 where unknown."""
        sizes = self.images.sizes
        return sizes * (self.box_scale / np.maximum(sizes.max(axis=1, initial=0), 1))[:, None]

    def _sound_part(
        self, box_owner: np.ndarray, kept_boxes: np.ndarray, relation_owner: np.ndarray, kept_relations: np.ndarray
    ) -> SceneGraphTable:
        """The table of the kept boxes, and of the kept relations between them."""
        box_rows = _in_image_order(box_owner, kept_boxes)
        position = np.full(len(box_owner), -1)
        position[box_rows] = np.arange(len(box_rows))
        pairs = self.arrays["relationships"]
        kept_relations = kept_relations.copy()
        kept_relations[kept_relations] = (position[pairs[kept_relations]] >= 0).all(axis=1)
        relation_rows = _in_image_order(relation_owner, kept_relations)
        scale = self.images.sizes.max(axis=1, initial=0)[box_owner[box_rows], None] / self.box_scale
        flags, image_split = np.unique(self.arrays["split"], return_inverse=True)
        return SceneGraphTable(
            object_names=self.vocabulary.objects,
            predicate_names=self.vocabulary.predicates,
            split_names=[_SPLIT_NAMES[flag] if 0 <= flag <= 2 else f"flag {flag}" for flag in flags.tolist()],
            image_split=image_split,
            image_ids=self.images.ids,
            image_sizes=self.images.sizes,
            boxes_xyxy=(_corners(self.arrays[f"boxes_{self.box_scale}"][box_rows]) * scale).astype(np.float32),
            labels=self.arrays["labels"][box_rows] - 1,
            box_image=box_owner[box_rows],
            relations=np.column_stack([position[pairs[relation_rows]], self.arrays["predicates"][relation_rows] - 1]),
            relation_image=relation_owner[relation_rows],
        )


def _shared_ranges(first: np.ndarray, last: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Which ranges (n,) begin before an earlier one has ended; of two that overlap, the one that begins later."""
    order = np.flatnonzero(usable)
    order = order[np.argsort(first[order], kind="stable")]
    shared = np.zeros(len(first), bool)
    shared[order[1:]] = first[order[1:]] <= np.maximum.accumulate(last[order])[:-1]
    return shared


def _make_ranges(first: np.ndarray, last: np.ndarray, sound: np.ndarray, none: np.ndarray, num_rows: int) -> _Ranges:
    count = np.where(sound & ~none, last - first + 1, 0)
    owners = np.repeat(np.arange(len(first)), count)
    offset = np.arange(len(owners)) - np.repeat(np.cumsum(count) - count, count)
    owner = np.full(num_rows, -1)
    owner[first[owners] + offset] = owners
    return _Ranges(first, count, sound, owner)


def _corners(boxes_cxcywh: np.ndarray) -> np.ndarray:
    """Integer corners (b, 4) as the reader computes them: x1 = trunc(cx - w / 2) towards zero, x2 = x1 + w."""
    doubled = 2 * boxes_cxcywh[:, :2] - boxes_cxcywh[:, 2:]
    top_left = (doubled + (doubled < 0)) >> 1
    return np.concatenate([top_left, top_left + boxes_cxcywh[:, 2:]], axis=1)


def _in_image_order(owner: np.ndarray, kept: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(kept)
    return rows[np.argsort(owner[rows], kind="stable")]
