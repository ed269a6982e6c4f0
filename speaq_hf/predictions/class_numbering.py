# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""From the classes in a file, names or numbers of its own, to the class numbers of the ground truth."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np


class ClassNumbering:
    """Class numbers of the ground truth.

    Args:
        names: Names by class number.
        kind: What the classes are, for messages: "object class" or "predicate".
        own_names: What the file's numbers mean, if it says so. None: its numbers are those of `names`.
        own_field: The field that says so, for messages.
    """

    def __init__(
        self, names: Mapping[int, str], kind: str, own_names: Mapping[int, str] | None = None, own_field: str = ""
    ) -> None:
        self.names, self.kind, self._own_names, self._own_field = names, kind, own_names, own_field
        by_name = {name: number for number, name in names.items()}
        numbers = {number: number for number in names}
        if own_names is not None:
            numbers = {number: by_name[name] for number, name in own_names.items() if name in by_name}
        self._numbers: dict[int | str, int] = {**numbers, **by_name}

    def numbers(self, values: Sequence[Any], where: str) -> np.ndarray:
        """The class numbers `(n,)` of names, or of numbers of the file.

        Args:
            values: n names and integers.
            where: Their place, for messages.

        Raises:
            ValueError: One of them is unknown, or neither name nor integer.
        """
        try:
            if set(map(type, values)) <= {int, str}:  # `True` and 1.0 would find 1
                return np.array([self._numbers[value] for value in values], dtype=np.int64)
        except KeyError:
            pass
        row = next(row for row, value in enumerate(values) if not self._knows(value))
        raise ValueError(f"{where} row {row}: {self._complaint(values[row])}")

    def columns(self, values: np.ndarray, where: str) -> np.ndarray:
        """Probabilities with a column for each class of the ground truth.

        Args:
            values: `(k, P'+1)` with a column for each class of the file, last column background.
            where: Their place, for messages.

        Returns:
            `(k, P+1)`; classes that the file does not know have probability 0.

        Raises:
            ValueError: The file's classes have gaps, or one of them is unknown.
        """
        own = self._own_names
        if own is None or own == self.names:
            return values
        if unknown := [name for name in own.values() if name not in self._numbers]:
            raise ValueError(f"{where}: {self._unknown(unknown[0])}, so its column has no place")
        moved = np.zeros((len(values), len(self.names) + 1), values.dtype)
        np.add.at(moved, (slice(None), [self._numbers[number] for number in range(len(own))]), values[:, :-1])
        moved[:, -1] = values[:, -1]
        return moved

    @property
    def num_own(self) -> int:
        """Number of classes that the file knows."""
        return len(self.names if self._own_names is None else self._own_names)

    def _knows(self, value: Any) -> bool:
        return type(value) in (int, str) and value in self._numbers

    def _complaint(self, value: Any) -> str:
        if type(value) is str:
            return self._unknown(value)
        if type(value) is not int:
            return f"the {self.kind} must be a name or an integer, got {value!r:.60}"
        own = self._own_names
        if own is not None and value in own:
            return f"{value} is {own[value]!r} in '{self._own_field}'; {self._unknown(own[value])}"
        known = sorted(self.names if own is None else own)
        return f"there is no {self.kind} {value}, the numbers are {known[0]}…{known[-1]}"

    def _unknown(self, name: str) -> str:
        close = difflib.get_close_matches(name, list(self.names.values()), n=3)
        known = f"did you mean {' or '.join(map(repr, close))}?" if close else f"they are {_some(self.names.values())}"
        return f"there is no {self.kind} {name!r:.60} to compare with; {known}"


def _some(names: Iterable[str]) -> str:
    names = [repr(name) for name in names]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
