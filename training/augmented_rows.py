# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Rows of a training set, augmented anew each time they come."""

from typing import Any, NamedTuple

from datasets import Dataset as Table
from torch.utils.data import Dataset

from speaq_hf.data.augmentation import RowTransform


class Draw(NamedTuple):
    """What is to be read.

    Args:
        row: Index of a row.
        pass_number: How often the row came before, on which its augmentation depends.
    """

    row: int
    pass_number: int


class AugmentedRows(Dataset):
    """Examples by their draws.

    Args:
        table: Scene graphs.
        transform: Makes examples of them.
    """

    def __init__(self, table: Table, transform: RowTransform) -> None:
        self.table, self.transform = table, transform

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        row = self.table[draw.row] | {"pass_number": draw.pass_number}
        columns = self.transform({name: [value] for name, value in row.items()})
        return {name: values[0] for name, values in columns.items()}
