# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Classes of COCO files: ids may be any numbers, classes are numbered in the order of their ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .json_fields import class_names, field


_BACKGROUND = "__background__"


@dataclass
class CocoClasses:
    """Names in index order and the index of every id."""

    names: list[str]
    index_of: dict[int, int]

    @classmethod
    def of(cls, content: dict, key: str, where: str) -> CocoClasses:
        """From the list of `{"id", "name"}`, or of plain names, in a field of a file.

        Args:
            content: The file.
            key: The field.
            where: The file's name, for messages.

        Returns:
            The classes; of plain names a first "__background__" is none.

        Raises:
            ValueError: The field is missing or malformed, or an id or name occurs twice.
        """
        entries = field(content, key, list, where)
        if entries and isinstance(entries[0], str):
            first = int(entries[0] == _BACKGROUND)
            names = class_names(entries[first:], f"{where}, '{key}'")
            return cls(names, {index + first: index for index in range(len(names))})
        places = [f"{where}, '{key}'[{row}]" for row in range(len(entries))]
        ids = [field(entry, "id", int, place) for entry, place in zip(entries, places, strict=True)]
        names = [field(entry, "name", str, place) for entry, place in zip(entries, places, strict=True)]
        check_unique(ids, f"{where}, '{key}'")
        order = sorted(range(len(ids)), key=ids.__getitem__)
        names = class_names([names[row] for row in order], f"{where}, '{key}'")
        return cls(names, {ids[row]: index for index, row in enumerate(order)})

    def index(self, class_id: Any, where: str) -> int:
        """Index of a class id; a ValueError if there is no such class."""
        if type(class_id) is not int or class_id not in self.index_of:
            ids = sorted(self.index_of)
            raise ValueError(f"{where}: there is no class with id {class_id!r}; the ids are {ids[0]}…{ids[-1]}")
        return self.index_of[class_id]


def check_unique(ids: list, where: str) -> None:
    """Raises a ValueError that names `where` if an id occurs twice."""
    if len(set(ids)) < len(ids):
        seen = set()
        repeated = next(value for value in ids if value in seen or seen.add(value))
        raise ValueError(f"{where}: every 'id' may occur once, but {repeated!r} occurs again")
