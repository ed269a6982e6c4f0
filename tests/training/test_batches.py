"""Every batch of a mixed training holds the exact ratio, in every process, with readers, and after resuming."""

from collections import Counter

import numpy as np
import pytest
from torch.utils.data import Dataset

from speaq_hf.data import RatioBatchSampler
from training.batches import BatchStream, ProcessBatches


REAL, SYNTHETIC = 700, 130
SOURCES = np.array(["real"] * REAL + ["synthetic"] * SYNTHETIC)
RATIOS = {"real": 0.7, "synthetic": 0.3}
BATCHES = 2500  # of all processes; four cases make 10,000


class RowNumbers(Dataset):
    def __getitem__(self, index):
        return index

    def __len__(self):
        return len(SOURCES)


class NoTransform:
    def set_epoch(self, epoch):
        pass


def stream(process, num_processes, workers):
    sampler = RatioBatchSampler(SOURCES, RATIOS, batch_size=20, seed=1, epoch_length="shortest")
    batches = ProcessBatches(sampler, process, num_processes)
    return BatchStream(RowNumbers(), NoTransform(), batches, list, workers)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("num_processes", [1, 2])
def test_every_batch_is_exact_and_every_row_comes_equally_often(num_processes, workers):
    each = BATCHES // num_processes
    stops = [0, each // 3, each // 3 + 1, each]  # resumed twice, in the middle of epochs
    drawn = Counter()
    for process in range(num_processes):
        for start, stop in zip(stops[:-1], stops[1:], strict=True):
            for _, batch in zip(
                range(start, stop), stream(process, num_processes, workers).starting_at(start), strict=False
            ):
                assert Counter(SOURCES[batch]) == {"real": 14, "synthetic": 6}
                drawn.update(batch)
    assert sum(drawn.values()) == BATCHES * 20
    for rows in (range(REAL), range(REAL, REAL + SYNTHETIC)):
        times = [drawn[row] for row in rows]
        assert max(times) - min(times) <= 1
