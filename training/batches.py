# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The order of the training images: a stream of batches that any process can enter at any position."""

import itertools
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from speaq_hf.data import RatioBatchSampler

from .augmented_rows import Draw
from .interruption import leave_to_parent


class ProcessBatches(Sampler[list[Draw]]):
    """The batches of one process, without end: of every `num_processes` consecutive batches it takes one.

    The epochs follow each other without a gap, so that no batch is left out. A batch is a function of its position: a
    resumed run jumps to where it stopped at no cost.

    Args:
        sampler: Gives batch i of epoch e.
        process_index: This process, 0-based.
        num_processes: How many share the batches.
        start: Position of the first batch, the number of batches that this process took before.
    """

    def __init__(
        self, sampler: RatioBatchSampler, process_index: int = 0, num_processes: int = 1, start: int = 0
    ) -> None:
        self.sampler, self.process_index, self.num_processes = sampler, process_index, num_processes
        self.start = start

    def starting_at(self, position: int) -> "ProcessBatches":
        """The same batches from a position on."""
        return ProcessBatches(self.sampler, self.process_index, self.num_processes, position)

    def __iter__(self) -> Iterator[list[Draw]]:
        for position in itertools.count(self.start):
            epoch, index = divmod(position * self.num_processes + self.process_index, len(self.sampler))
            rows = self.sampler.batch(epoch, index)
            yield [Draw(*pair) for pair in zip(rows, self._passes(epoch, index), strict=True)]

    def _passes(self, epoch: int, index: int) -> list[int]:
        # A set alone is augmented by epochs, as a plain loop with `SceneGraphTransform.set_epoch` does it.
        alone = self.sampler.num_sources == 1
        return [epoch] * self.sampler.batch_size if alone else self.sampler.passes(epoch, index)


class BatchStream:
    """Endless training batches.

    The loader is not prepared by Accelerate: `ProcessBatches` has already shared the batches out. Its readers work ahead
    across the ends of epochs, which are short if a source is small.

    Args:
        rows: Examples by their draws.
        batches: Which rows make a batch.
        collate: Examples to a batch.
        num_workers: Reading processes.
        expand: Batches of `collate` to those that are given out, in this process.
    """

    def __init__(
        self,
        rows: Dataset,
        batches: ProcessBatches,
        collate: Callable[[list[Any]], dict[str, Any]],
        num_workers: int = 0,
        expand: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        self.rows, self.batches, self.collate, self.num_workers = rows, batches, collate, num_workers
        self.expand = expand

    def starting_at(self, position: int) -> Generator[dict[str, Any], None, None]:
        """Batches from a position on, the number of batches this process took since training began.

        Close it when no more are wanted: an interpreter that ends waits for readers that still work.
        """
        loader = DataLoader(
            self.rows,
            batch_sampler=self.batches.starting_at(position),
            collate_fn=self.collate,
            num_workers=self.num_workers,
            worker_init_fn=leave_to_parent,
            pin_memory=torch.accelerator.is_available(),
            # Starting an iteration draws a number; from PyTorch's own generator it would change dropout on resuming.
            generator=torch.Generator(),
        )
        yield from loader if self.expand is None else map(self.expand, loader)
