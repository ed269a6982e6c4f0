# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Everything that is wrong with the rows of a set in any format but Visual Genome's, which `genome_inspection` reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .defects import DefectLog
from .formats.box_doubts import box_doubts
from .formats.graph_arrays import GraphArrays, Vocabulary
from .formats.raw_split import RawSplit
from .formats.tolerance import NOTED
from .image_inspection import ImageFile, inspect_contents
from .repeated_rows import repeated_rows
from .scene_graph_table import SceneGraphTable


_BORDER_TOLERANCE = 1  # pixels: annotation tools round


@dataclass(frozen=True)
class SetInspection:
    """What was found.

    Args:
        table: The sound images, boxes and relations; None without any split.
        image_files: (n,) files of the table's images, None where there is none that can be decoded.
        image_names: (n,) images in words.
    """

    table: SceneGraphTable | None
    image_files: list[ImageFile | None]
    image_names: list[str]


def inspect_splits(
    splits: Sequence[RawSplit],
    log: DefectLog,
    *,
    decode_images: bool = True,
    num_threads: int | None = None,
    progress: bool = False,
) -> SetInspection:
    """Notes every defect of a set's rows and images.

    Args:
        splits: What its files say.
        log: Takes the defects.
        decode_images: Read every image file.
        num_threads: Threads that decode; default some more than cores.
        progress: Show a progress bar while decoding.

    Returns:
        What is sound.

    Raises:
        ValueError: `num_threads` is less than 1.
    """
    splits = _of_one_vocabulary(splits, log)
    if not splits:
        return SetInspection(None, [], [])
    sound = {split.name: _SplitInspection(split, log).run() for split in splits}
    images = [(split, row) for split in splits for row in range(len(split.arrays.image_ids))]
    files = [split.image_file(row) for split, row in images]
    if decode_images:
        sizes = np.concatenate([split.arrays.sizes for split in splits])
        place = [split.place(row) for split, row in images].__getitem__
        readable = inspect_contents(files, sizes, place, log, num_threads=num_threads, progress=progress)
        files = [file if is_readable else None for file, is_readable in zip(files, readable, strict=True)]
    table = SceneGraphTable.from_arrays(sound, splits[0].vocabulary)
    return SetInspection(table, files, [split.image_name(row) for split, row in images])


def _of_one_vocabulary(splits: Sequence[RawSplit], log: DefectLog) -> list[RawSplit]:
    """The splits with the names of the first; readers refuse a set with others."""
    same = [split for split in splits if split.vocabulary == splits[0].vocabulary]
    for split in splits:
        if split.vocabulary != splits[0].vocabulary:
            message = (
                f"split '{split.name}' has other class names than '{splits[0].name}' or another order; not counted"
            )
            log.add("broken_vocabulary", split.where, message)
    return same


@dataclass(frozen=True)
class _SplitInspection:
    """Checks of one split's graphs."""

    split: RawSplit
    log: DefectLog

    def run(self) -> GraphArrays:
        """Notes the defects; returns what is sound."""
        self._check_images()
        kept_boxes = self._check_boxes()
        kept_relations = self._check_relations()
        for doubt in box_doubts(self.split.arrays, self.split.corner_remedy):
            self.log.add("doubtful_boxes", self.split.where, doubt, field=self.split.name)
        return _sound_part(self.split.arrays, self.split.vocabulary, kept_boxes, kept_relations)

    def _note(
        self, kind: str, mask_or_rows: np.ndarray, describe: Callable[[int], str], owner: np.ndarray | None = None
    ) -> None:
        """Notes rows of boxes or relations with their images `owner`, or of images."""
        rows = np.flatnonzero(mask_or_rows) if mask_or_rows.dtype == bool else mask_or_rows
        image_of = rows if owner is None else owner
        place = self.split.place if owner is None else lambda row: self.split.place(int(image_of[row]))
        self.log.add_each(kind, rows, place, describe)

    def _image(self, image: int) -> str:
        """An image with its size, in words."""
        width, height = self.split.arrays.sizes[image].tolist()
        size = f" of {width} x {height}" if width and height else ""
        return f"{self.split.image_name(image)}{size}"

    def _check_images(self) -> None:
        ids, sizes = self.split.arrays.image_ids, self.split.arrays.sizes
        # A size of 0 x 0 stands for an image that was noted as missing or unreadable.
        bad = (sizes < 1).any(axis=1) & (sizes != 0).any(axis=1)
        self._note(
            "broken_image_entry", bad, lambda i: f"width and height must be at least 1, got {sizes[i].tolist()}"
        )
        repeated, original = repeated_rows([ids])
        first = dict(zip(repeated.tolist(), original.tolist(), strict=True))
        self._note(
            "duplicate_image_id", repeated, lambda i: f"image id {ids[i]} is that of {self.split.place(first[i])}, too"
        )

    def _check_boxes(self) -> np.ndarray:
        """Notes the defects; returns which boxes (b,) can be counted."""
        arrays, owner = self.split.arrays, self.split.arrays.box_owners
        boxes, labels = arrays.boxes, arrays.labels
        sizes = arrays.sizes[owner]
        number = np.arange(len(owner)) - (np.cumsum(arrays.box_counts) - arrays.box_counts)[owner]

        def describe(i: int) -> str:
            return f"box {number[i]} with corners {boxes[i].tolist()}, {self._image(owner[i])}"

        finite = np.isfinite(boxes).all(axis=1)
        self._note("broken_box", ~finite & (labels != NOTED), describe, owner)
        empty = finite & (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
        self._note("empty_box", empty, describe, owner)
        judged = finite & ~empty & (sizes > 0).all(axis=1)
        outside = judged & ((boxes[:, :2] >= sizes) | (boxes[:, 2:] <= 0)).any(axis=1)
        self._note("box_outside_image", outside, describe, owner)
        beyond = ((boxes[:, :2] < -_BORDER_TOLERANCE) | (boxes[:, 2:] > sizes + _BORDER_TOLERANCE)).any(axis=1)
        self._note("box_across_border", judged & ~outside & beyond, describe, owner)
        known = self._check_classes(labels, self.split.vocabulary.objects, "box", number, owner)
        rows = np.flatnonzero(finite & known)
        self._note_repeated("duplicate_box", "box", rows, [owner, labels, *boxes.view(np.int32).T], number, owner)
        return finite & known

    def _check_relations(self) -> np.ndarray:
        """Notes the defects; returns which relations (r,) connect boxes of their image by a known predicate."""
        arrays, owner = self.split.arrays, self.split.arrays.relation_owners
        relations, counts = arrays.relations, arrays.box_counts[owner]
        number = np.arange(len(owner)) - (np.cumsum(arrays.relation_counts) - arrays.relation_counts)[owner]
        inside = ((relations[:, :2] >= 0) & (relations[:, :2] < counts[:, None])).all(axis=1)

        def describe(i: int) -> str:
            return f"relation {number[i]} between boxes {relations[i, :2].tolist()}, but there are {counts[i]}: {self._image(owner[i])}"

        def describe_loop(i: int) -> str:
            return f"relation {number[i]} of box {relations[i, 0]} to itself, {self._image(owner[i])}"

        self._note("relation_to_missing_box", ~inside, describe, owner)
        self._note("self_relation", inside & (relations[:, 0] == relations[:, 1]), describe_loop, owner)
        known = self._check_classes(relations[:, 2], self.split.vocabulary.predicates, "relation", number, owner)
        rows = np.flatnonzero(inside & known)
        self._note_repeated("duplicate_relation", "relation", rows, [owner, *relations.T], number, owner)
        return inside & known

    def _check_classes(
        self, labels: np.ndarray, names: Sequence[str], what: str, number: np.ndarray, owner: np.ndarray
    ) -> np.ndarray:
        """Which labels have a name."""
        known = (labels >= 0) & (labels < len(names))

        def describe(i: int) -> str:
            return f"class {labels[i]} of {what} {number[i]} is not in 0..{len(names) - 1}, {self._image(owner[i])}"

        self._note("unknown_class", ~known & (labels != NOTED), describe, owner)
        return known

    def _note_repeated(
        self,
        kind: str,
        what: str,
        rows: np.ndarray,
        columns: Sequence[np.ndarray],
        number: np.ndarray,
        owner: np.ndarray,
    ) -> None:
        """Notes those of `rows` that equal an earlier one in all columns."""
        repeated, original = repeated_rows([column[rows] for column in columns])
        first = dict(zip(rows[repeated].tolist(), rows[original].tolist(), strict=True))

        def describe(i: int) -> str:
            return f"{what} {number[i]} is the same as {what} {number[first[i]]}, {self._image(owner[i])}"

        self._note(kind, rows[repeated], describe, owner)


def _sound_part(
    arrays: GraphArrays, vocabulary: Vocabulary, kept_boxes: np.ndarray, kept_relations: np.ndarray
) -> GraphArrays:
    """The kept boxes, and the kept relations between them, renumbered."""
    num_images = len(arrays.image_ids)
    owner, starts = arrays.relation_owners, np.cumsum(arrays.box_counts) - arrays.box_counts
    position = np.cumsum(kept_boxes) - 1
    kept_before = np.append(0, np.cumsum(kept_boxes))[starts]
    pairs = arrays.relations[:, :2] + starts[owner][:, None]
    kept = kept_relations.copy()
    kept[kept] = kept_boxes[pairs[kept]].all(axis=1)
    ends = position[pairs[kept]] - kept_before[owner[kept]][:, None]
    return GraphArrays(
        arrays.image_ids,
        arrays.sizes,
        np.bincount(arrays.box_owners[kept_boxes], minlength=num_images),
        arrays.boxes[kept_boxes],
        arrays.labels[kept_boxes],
        np.bincount(owner[kept], minlength=num_images),
        np.column_stack([ends, arrays.relations[kept, 2]]),
    )
