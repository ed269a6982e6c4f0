# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Lists from files as arrays: every mistake is named with its field and row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from .class_numbering import ClassNumbering


_LARGEST = float(np.finfo(np.float32).max)


def number_list(values: Any, where: str, count: int, of: str) -> np.ndarray:
    """A list of finite numbers as float64 `(n,)`.

    Args:
        values: The list.
        where: Its place, for messages.
        count: n.
        of: What there are n of, for messages.

    Raises:
        ValueError: It is not such a list.
    """
    _check_list(values, where)
    array = _finite(values, where, values.__getitem__, "a finite number")
    check_count(len(array), where, count, of)
    return array


def integer_list(values: Any, where: str, count: int, of: str) -> np.ndarray:
    """A list of integers as int64 `(n,)`, see `number_list`."""
    array = number_list(values, where, count, of)
    if not set(map(type, values)) <= {int}:
        row = next(row for row, value in enumerate(values) if type(value) is not int)
        raise ValueError(f"{where} row {row} must be an integer, got {_shown(values[row])}")
    return array.astype(np.int64)


def number_rows(values: Any, where: str, num_columns: int, names: str = "finite numbers") -> np.ndarray:
    """A list of rows of finite numbers as float64 `(n, num_columns)`.

    Args:
        values: The list.
        where: Its place, for messages.
        num_columns: Length of a row.
        names: What a row holds, for messages.

    Raises:
        ValueError: It is not such a list.
    """
    flat = _flat_rows(values, where, num_columns, f"{num_columns} {names}")
    return _finite(flat, where, values.__getitem__, f"{num_columns} {names}", num_columns).reshape(-1, num_columns)


def triplet_rows(values: Any, where: str, num_objects: int, predicates: ClassNumbering) -> np.ndarray:
    """Rows (subject, object, predicate) as int64 `(k, 3)` with the predicates of the ground truth.

    Args:
        values: The rows; a predicate is a name or number.
        where: Their place, for messages.
        num_objects: Number of objects that the first two columns may name.
        predicates: What the third column means.

    Raises:
        ValueError: A row is malformed, an object does not exist or a predicate is unknown.
    """
    expected = "(subject, object, predicate)"
    _flat_rows(values, where, 3, expected)
    for row, (subject, object_, _) in enumerate(values):
        if not (type(subject) is int is type(object_)):
            raise ValueError(f"{where} row {row} must be {expected} with object numbers, got {_shown(values[row])}")
        if not (0 <= subject < num_objects and 0 <= object_ < num_objects):
            raise ValueError(
                f"{where} row {row} is {_shown(values[row])}, but there are {num_objects} objects, counted from 0"
            )
    third = predicates.numbers([row[2] for row in values], where)
    pairs = np.array([row[:2] for row in values], dtype=np.int64).reshape(-1, 2)
    return np.column_stack([pairs, third])


def check_count(found: int, where: str, count: int, of: str) -> None:
    """Raises a ValueError if there are not as many values as there should be."""
    if found != count:
        raise ValueError(f"{where} has {found} values, but there are {count} {of}")


def _check_list(values: Any, where: str) -> None:
    if type(values) is not list:
        raise ValueError(f"{where} must be a list, got {_shown(values)}")


def _flat_rows(values: Any, where: str, num_columns: int, expected: str) -> list:
    _check_list(values, where)
    for row, value in enumerate(values):
        if type(value) is not list or len(value) != num_columns:
            raise ValueError(f"{where} row {row} must be {expected}, got {_shown(value)}")
    return list(chain.from_iterable(values))


def _finite(
    flat: Sequence[Any], where: str, row_at: Callable[[int], Any], expected: str, num_columns: int = 1
) -> np.ndarray:
    """Numbers `(n * num_columns,)` as float64; `row_at` gives a row as it was written."""
    if set(map(type, flat)) <= {int, float}:  # numpy would make numbers of texts and booleans
        try:
            array = np.array(flat, dtype=np.float64)
        except OverflowError:  # integers of hundreds of digits
            array = np.array([value if abs(value) < _LARGEST else np.inf for value in flat])
        # Scores are calculated with in float32: what overflows there is as good as infinite.
        wrong = ~(np.abs(array) <= _LARGEST)
    else:
        wrong = np.array([type(value) not in (int, float) for value in flat])
    if wrong.any():
        row = int(wrong.argmax()) // num_columns
        raise ValueError(f"{where} row {row} must be {expected}, got {_shown(row_at(row))}")
    return array


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
