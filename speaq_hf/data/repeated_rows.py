# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Rows of large tables that equal earlier ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def repeated_rows(columns: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of equally long columns that equal an earlier row, ascending, and the first row that each of them equals."""
    rows = _possibly_repeated(columns)
    order = rows[np.lexsort([column[rows] for column in columns])]  # stable: equal rows stay in their order
    new = np.ones(len(order), bool)
    new[1:] = np.any([column[order[1:]] != column[order[:-1]] for column in columns], axis=0)
    first = order[new][np.cumsum(new) - 1]
    repeated, original = order[~new], first[~new]
    ascending = np.argsort(repeated)
    return repeated[ascending], original[ascending]


def _possibly_repeated(columns: Sequence[np.ndarray]) -> np.ndarray:
    """All rows that have a twin, and rarely another: sorting one hash is much faster than sorting by all columns."""
    key = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        key = (key + column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    ordered = np.sort(key)
    return np.flatnonzero(np.isin(key, ordered[1:][ordered[1:] == ordered[:-1]]))
