"""Every batch of a mixed training holds the exact ratio, in every process, with readers, and after resuming."""

from collections import Counter
from contextlib import closing
from itertools import islice

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from speaq_hf.data import RatioBatchSampler
from training.augmented_rows import AugmentedRows, Draw
from training.batches import BatchStream, ProcessBatches


REAL, SYNTHETIC = 700, 130
SOURCES = np.array(["real"] * REAL + ["synthetic"] * SYNTHETIC)
RATIOS = {"real": 0.7, "synthetic": 0.3}
BATCHES = 2500  # of all processes; four cases make 10,000


class Draws(Dataset):
    def __getitem__(self, draw):
        return draw

    def __len__(self):
        return len(SOURCES)


def stream(process, num_processes, workers):
    sampler = RatioBatchSampler(SOURCES, RATIOS, batch_size=20, seed=1)
    batches = ProcessBatches(sampler, process, num_processes)
    return BatchStream(Draws(), batches, list, workers)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("num_processes", [1, 2])
def test_every_batch_is_exact_and_every_row_comes_equally_often(num_processes, workers):
    each = BATCHES // num_processes
    stops = [0, each // 3, each // 3 + 1, each]  # resumed twice, in the middle of epochs
    drawn = Counter()
    for process in range(num_processes):
        for start, stop in zip(stops[:-1], stops[1:], strict=True):
            with closing(stream(process, num_processes, workers).starting_at(start)) as batches:
                for batch in islice(batches, stop - start):
                    assert Counter(SOURCES[[draw.row for draw in batch]]) == {"real": 14, "synthetic": 6}
                    drawn.update(batch)
    # No image is augmented twice in the same way, although one of `synthetic` comes twice and more in an epoch.
    assert sum(drawn.values()) == BATCHES * 20 and set(drawn.values()) == {1}
    drawn = Counter(draw.row for draw in drawn)
    for rows in (range(REAL), range(REAL, REAL + SYNTHETIC)):
        times = [drawn[row] for row in rows]
        assert max(times) - min(times) <= 1


def test_a_set_alone_is_augmented_by_epochs():
    batches = ProcessBatches(RatioBatchSampler(["real"] * 23, {"real": 1.0}, batch_size=4), 1, 2)
    numbers = [{draw.pass_number for draw in batch} for batch in islice(batches, 10)]
    assert numbers == [{epoch} for epoch in (0, 0, 1, 1, 1, 2, 2, 3, 3, 3)]  # batches 1, 3, 5, … of 5 in an epoch


def test_small_sources_do_not_restart_the_readers(monkeypatch):
    started, plain = [], DataLoader.__iter__
    monkeypatch.setattr(DataLoader, "__iter__", lambda self: started.append(self) or plain(self))
    sampler = RatioBatchSampler(["real"] * 3 + ["synthetic"], {"real": 0.7, "synthetic": 0.3}, batch_size=10)
    assert len(sampler) == 1  # every batch is an epoch
    with closing(BatchStream(Draws(), ProcessBatches(sampler), list, 2).starting_at(5)) as batches:
        for position, batch in zip(range(5, 50), batches, strict=False):
            expected = zip(sampler.batch(position, 0), sampler.passes(position, 0), strict=True)
            assert [tuple(draw) for draw in batch] == list(expected)
    assert len(started) == 1


def test_a_row_is_augmented_for_its_pass():
    def transform(columns):
        return {"seen": list(zip(columns["image_id"], columns["pass_number"], strict=True))}

    rows = AugmentedRows([{"image_id": 7}, {"image_id": 9}], transform)
    assert (len(rows), rows[Draw(1, 3)], rows[Draw(0, 0)]) == (2, {"seen": (9, 3)}, {"seen": (7, 0)})
