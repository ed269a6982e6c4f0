# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Rows of a training set in which an unreadable image does not end the run."""

import logging
from typing import Any

import torch
from datasets import Dataset as Table
from torch.utils.data import Dataset

from speaq_hf.data.images import UnreadableImageError


logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 100


class ReadableRows(Dataset):
    """Gives, in place of a row whose image cannot be read, the next one of the same source that can.

    Args:
        rows: Rows with a transform that raises `UnreadableImageError`.
        sources: Source of each row, or None if there is one only.
    """

    def __init__(self, rows: Table, sources: list[str] | None = None) -> None:
        self.rows, self.sources = rows, sources
        self._num_unreadable = torch.zeros((), dtype=torch.int64).share_memory_()  # counted in the reading processes

    @property
    def num_unreadable(self) -> int:
        """How often a row was replaced so far, in this process and its readers."""
        return int(self._num_unreadable)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        for number in range(min(MAX_ATTEMPTS, len(self))):
            candidate = (index + number) % len(self)
            if self.sources is not None and self.sources[candidate] != self.sources[index]:
                continue
            try:
                return self.rows[candidate]
            except UnreadableImageError as error:
                self._num_unreadable += 1
                logger.warning("Replaced by another image: %s", error)
        raise UnreadableImageError(f"none of the {MAX_ATTEMPTS} images from row {index} on can be read")
