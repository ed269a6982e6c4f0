# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Rows of a training set in which an unreadable image does not end the run."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from speaq_hf.data.images import UnreadableImageError

from .augmented_rows import AugmentedRows, Draw


logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 100


class ReadableRows(Dataset):
    """Gives, in place of a row whose image cannot be read, the next one of the same source that can.

    Args:
        rows: Raise `UnreadableImageError`.
        sources: Source of each row, or None if there is one only.
    """

    def __init__(self, rows: AugmentedRows, sources: list[str] | None = None) -> None:
        self.rows = rows
        names, source_of_row = np.unique(sources or [""] * len(rows), return_inverse=True)
        self._rows_of_source = [np.flatnonzero(source_of_row == number) for number in range(len(names))]
        self._source_of_row = source_of_row

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        """An example, with `num_unreadable`, how many were tried before it."""
        candidates = self._rows_of_source[self._source_of_row[draw.row]]
        place = int(np.searchsorted(candidates, draw.row))
        num_attempts = min(MAX_ATTEMPTS, len(candidates))
        for number in range(num_attempts):
            try:
                example = self.rows[draw._replace(row=int(candidates[(place + number) % len(candidates)]))]
                return example | {"num_unreadable": number}
            except UnreadableImageError as error:
                logger.warning("Replaced by another image: %s", error)
        raise UnreadableImageError(f"none of {num_attempts} images from row {draw.row} on can be read")


@dataclass(frozen=True)
class CountingCollator:
    """Batches of `ReadableRows`, with their sum of `num_unreadable`.

    A count that comes with its batch is right after resuming, too: readers work ahead of the steps.

    Args:
        collate: Examples to a batch.
    """

    collate: Callable[[list[Any]], dict[str, Any]]

    def __call__(self, examples: list[Any]) -> dict[str, Any]:
        return self.collate(examples) | {"num_unreadable": sum(example["num_unreadable"] for example in examples)}
