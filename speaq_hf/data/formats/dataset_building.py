# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""From the rows of a file to a checked dataset."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from datasets import Dataset

from .box_doubts import box_doubts
from .graph_arrays import GraphArrays, GraphRow, Vocabulary


logger = logging.getLogger(__name__)


def build_dataset(
    rows: Sequence[GraphRow], vocabulary: Vocabulary, split: str, where: str, corner_remedy: str | None
) -> Dataset:
    """Checks rows, at least one, and joins them to a scene graph dataset.

    Args:
        rows: Images with their graphs.
        vocabulary: Names of the classes.
        split: Name of the split.
        where: File or folder, for the log.
        corner_remedy: Of `box_doubts`, which is logged.

    Raises:
        ValueError: See `GraphArrays.check`.
    """
    arrays = GraphArrays.from_rows(rows)
    arrays.check(vocabulary, lambda image: str(rows[image].where))
    warn_of_boxes(arrays, f"{where}, split '{split}'", corner_remedy)
    return arrays.to_dataset([row.image for row in rows], vocabulary, split)


def warn_of_boxes(arrays: GraphArrays, where: str, corner_remedy: str | None = None) -> None:
    """Logs what `box_doubts` finds."""
    for doubt in box_doubts(arrays, corner_remedy):
        logger.warning("%s: %s.", where, doubt)
