# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The order of the training images: a stream of batches that any process can enter at any position."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from speaq_hf.data import RatioBatchSampler, SceneGraphTransform

from .interruption import leave_to_parent


class ProcessBatches(Sampler[list[int]]):
    """The batches of one process, one epoch at a time: of every `num_processes` consecutive batches it takes one.

    The epochs follow each other without a gap, so that no batch is left out. A batch is a function of its position: a
    resumed run jumps to where it stopped at no cost.

    Args:
        sampler: Gives batch i of epoch e.
        process_index: This process, 0-based.
        num_processes: How many share the batches.
    """

    def __init__(self, sampler: RatioBatchSampler, process_index: int = 0, num_processes: int = 1) -> None:
        self.sampler, self.process_index, self.num_processes = sampler, process_index, num_processes
        self.epoch, self.start = divmod(process_index, len(sampler))

    def __len__(self) -> int:
        return len(self._indices())

    def go_to(self, position: int) -> None:
        """Make the next iteration begin at a position, the number of batches this process took since training began."""
        self.epoch, self.start = divmod(position * self.num_processes + self.process_index, len(self.sampler))

    def __iter__(self) -> Iterator[list[int]]:
        for index in self._indices():
            yield self.sampler.batch(self.epoch, index)

    def _indices(self) -> range:
        """This process's batches in what is left of the epoch."""
        return range(self.start, len(self.sampler), self.num_processes)


class BatchStream:
    """Endless training batches.

    The loader is not prepared by Accelerate: `ProcessBatches` has already shared the batches out.

    Args:
        dataset: Rows with `transform` applied.
        transform: Is told the epoch, on which its randomness depends.
        batches: Which rows make a batch.
        collate: Examples to a batch.
        num_workers: Reading processes.
    """

    def __init__(
        self,
        dataset: Dataset,
        transform: SceneGraphTransform,
        batches: ProcessBatches,
        collate: Callable[[list[Any]], dict[str, Any]],
        num_workers: int = 0,
    ) -> None:
        self.rows, self.transform, self.batches = dataset, transform, batches
        self.loader = DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            worker_init_fn=leave_to_parent,
            pin_memory=torch.accelerator.is_available(),
            # Starting an iteration draws a number; from PyTorch's own generator it would change dropout on resuming.
            generator=torch.Generator(),
        )

    def starting_at(self, position: int) -> Iterator[dict[str, Any]]:
        """Batches from a position on, the number of batches this process took since training began."""
        while True:
            self.batches.go_to(position)
            # Safe with running workers: an epoch's last batch is out, and those of the next are not yet ordered.
            self.transform.set_epoch(self.batches.epoch)
            for batch in self.loader:
                position += 1
                yield batch
