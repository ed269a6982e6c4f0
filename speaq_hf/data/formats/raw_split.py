# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A split of a set as its files have it, with whatever is wrong in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from datasets import Dataset, Image

from ..defects import Place
from ..image_inspection import ImageFile
from .graph_arrays import GraphArrays, GraphRow, Vocabulary
from .image_files import stored_names


@dataclass(frozen=True)
class RawSplit:
    """What an inspection needs; n images.

    Args:
        name: Of the split.
        vocabulary: Names of the classes.
        arrays: The graphs, unchecked; a class `tolerance.NOTED` was noted as a defect before, with its box if that is not
            finite.
        place: Where an image is described.
        image_name: An image in words.
        image_file: The file of an image, None without one.
        where: File or folder of the split.
        corner_remedy: Of `box_doubts`.
    """

    name: str
    vocabulary: Vocabulary
    arrays: GraphArrays
    place: Callable[[int], Place]
    image_name: Callable[[int], str]
    image_file: Callable[[int], ImageFile | None]
    where: str
    corner_remedy: str | None = None

    @classmethod
    def of_rows(
        cls, name: str, vocabulary: Vocabulary, rows: Sequence[GraphRow], where: str, corner_remedy: str | None
    ) -> RawSplit:
        """A split of rows that a file describes, at least one."""

        def image_file(row: int) -> ImageFile | None:
            path = rows[row].image
            return ImageFile(path, Path(path).read_bytes) if path else None

        return cls(
            name,
            vocabulary,
            GraphArrays.from_rows(rows),
            lambda row: rows[row].where,
            lambda row: Path(rows[row].image).name or f"image {rows[row].image_id}",
            image_file,
            where,
            corner_remedy,
        )

    @classmethod
    def of_dataset(cls, name: str, dataset: Dataset, where: str) -> RawSplit:
        """A split of a scene graph dataset; a ValueError if its columns are not those of one."""
        stored = stored_names(dataset)
        encoded = None
        if "image" in dataset.column_names:
            encoded = dataset.with_format(None).select_columns(["image"]).cast_column("image", Image(decode=False))

        def image_file(row: int) -> ImageFile | None:
            known = f" ({stored[row]})" if stored[row] else ""
            return None if encoded is None else ImageFile(f"{name} row {row}{known}", partial(_content, encoded, row))

        return cls(
            name,
            Vocabulary.of(dataset),
            GraphArrays.from_dataset(dataset),
            lambda row: Place(f"{where}, split '{name}', row {row}", where, name, row),
            lambda row: stored[row] or f"row {row}",
            image_file,
            where,
        )


def _content(encoded: Dataset, row: int) -> bytes:
    image = encoded[row]["image"]
    if image is None or (image["bytes"] is None and image["path"] is None):
        raise ValueError("there is no image")
    return image["bytes"] if image["bytes"] is not None else Path(image["path"]).read_bytes()
