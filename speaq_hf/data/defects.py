# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What can be wrong with a data set, how bad it is, and where it was found."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np


Severity = Literal["error", "warning"]

# An error stops a reader, or teaches a model something false; a warning is a thing to know that training survives.
DEFECT_KINDS: dict[str, tuple[Severity, str]] = {
    "missing_file": ("error", "file or folder does not exist"),
    "unreadable_file": ("error", "file cannot be read"),
    "broken_vocabulary": ("error", "vocabulary is not a list of names with the indices 1..n"),
    "broken_image_entry": ("error", "entry of the image list without id, width and height"),
    "broken_entry": ("error", "entry that is not what the format says"),
    "duplicate_image_id": ("error", "image listed twice"),
    "missing_array": ("error", "array is missing"),
    "broken_array": ("error", "array has the wrong type or shape, or cannot be read"),
    "length_mismatch": ("error", "arrays or lists that belong together differ in length"),
    "broken_range": ("error", "first and last index of an image are no range of rows"),
    "shared_rows": ("error", "two images claim the same rows"),
    "unknown_class": ("error", "class index outside the vocabulary"),
    "broken_box": ("error", "box whose corners are no finite numbers"),
    "empty_box": ("error", "box without area"),
    "box_outside_image": ("error", "box lies wholly outside its image"),
    "relation_to_missing_box": ("error", "relation to a box that its image does not have"),
    "missing_image": ("error", "image file does not exist"),
    "unreadable_image": ("error", "image file cannot be decoded"),
    "size_mismatch": ("error", "image file has another size than the image list says"),
    "doubtful_boxes": ("warning", "boxes that were probably meant in another form"),
    "box_across_border": ("warning", "box sticks out of its image"),
    "duplicate_box": ("warning", "box of one class annotated twice"),
    "duplicate_relation": ("warning", "relation annotated twice"),
    "self_relation": ("warning", "relation of an object to itself"),
    "unowned_rows": ("warning", "rows that belong to no image"),
    "unknown_split": ("warning", "split flag other than 0, 1 and 2; no reader uses the image"),
    "duplicate_image": ("warning", "two image files with the same content"),
    "unlisted_image": ("warning", "image file that the image list does not name"),
}


class Place(NamedTuple):
    """Where something is; as text, in the words of the reader's messages.

    Attributes:
        text: In words.
        file: File or folder.
        field: Array, list or split of it; None: the file as a whole.
        row: 0-based row of the field.
        line: 1-based line of a text file.
    """

    text: str
    file: str
    field: str | None = None
    row: int | None = None
    line: int | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong.

    Args:
        kind: Key of `DEFECT_KINDS`.
        file: Where it was found.
        field: Array or list of that file; None: the file as a whole.
        row: 0-based row of the field.
        message: What is there, and what was expected.
        line: 1-based line of a text file.
    """

    kind: str
    file: str
    field: str | None
    row: int | None
    message: str
    line: int | None = None

    @property
    def place(self) -> str:
        """File, line, field and row in words."""
        line = "" if self.line is None else f", line {self.line}"
        row = "" if self.row is None else f", row {self.row}"
        field = "" if self.field is None else f"{' of' if row else ','} '{self.field}'"
        return f"{self.file}{line}{row}{field}"


class DefectLog:
    """Counts every defect and keeps the first few of each kind.

    Args:
        max_listed: How many defects of one kind are kept; the others are only counted.
    """

    def __init__(self, max_listed: int = 20) -> None:
        if max_listed < 0:
            raise ValueError(f"max_listed must be at least 0, got {max_listed}")
        self.max_listed = max_listed
        self.listed: list[Defect] = []
        self.counts: Counter[str] = Counter()

    def add(
        self,
        kind: str,
        file: str | os.PathLike,
        message: str,
        *,
        field: str | None = None,
        row: int | None = None,
        line: int | None = None,
    ) -> None:
        """Notes one defect."""
        severity_of(kind)
        self.counts[kind] += 1
        if self.counts[kind] <= self.max_listed:
            self.listed.append(Defect(kind, os.fspath(file), field, row, message, line))

    def add_at(self, kind: str, place: Place, message: str) -> None:
        """Notes one defect at a place."""
        self.add(kind, place.file, message, field=place.field, row=place.row, line=place.line)

    def add_each(
        self, kind: str, items: np.ndarray, place: Callable[[int], Place], describe: Callable[[int], str]
    ) -> None:
        """Notes a defect of each of the items (k,); `place(item)` and `describe(item)` word those that are listed."""
        free = max(self.max_listed - self.counts[kind], 0)
        for item in items[:free].tolist():
            self.add_at(kind, place(item), describe(item))
        if len(items) > free:
            self.counts[kind] += len(items) - free

    def add_rows(
        self, kind: str, file: str | os.PathLike, field: str | None, rows: np.ndarray, describe: Callable[[int], str]
    ) -> None:
        """Notes a defect at each of the rows (k,) of a field; `describe(row)` words those that are listed."""
        self.add_each(kind, rows, lambda row: Place("", os.fspath(file), field, row), describe)

    @property
    def num_errors(self) -> int:
        """Number of defects that are errors."""
        return sum(count for kind, count in self.counts.items() if severity_of(kind) == "error")

    @property
    def num_warnings(self) -> int:
        """Number of defects that are warnings."""
        return self.counts.total() - self.num_errors

    def by_kind(self) -> list[dict[str, Any]]:
        """Per kind found, errors first: `kind`, `severity`, `meaning`, `count`, `listed` (defects, in order)."""
        return [
            {
                "kind": kind,
                "severity": severity,
                "meaning": meaning,
                "count": self.counts[kind],
                "listed": [defect for defect in self.listed if defect.kind == kind],
            }
            for kind, (severity, meaning) in DEFECT_KINDS.items()
            if self.counts[kind]
        ]


def severity_of(kind: str) -> Severity:
    """Whether a kind of defect is an error or a warning."""
    return DEFECT_KINDS[kind][0]
