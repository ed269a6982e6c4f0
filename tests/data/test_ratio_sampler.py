from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard
from hypothesis import given, settings
from hypothesis import strategies as st

from speaq_hf.data import RatioBatchSampler


REAL_SYNTHETIC = {"real": 0.7, "synthetic": 0.3}


def names(**counts):
    """Source names of a mixed dataset's rows."""
    return [name for name, count in counts.items() for _ in range(count)]


def test_published_setting_gives_14_and_6_in_every_batch():
    sources = np.array(names(real=100, synthetic=50))
    sampler = RatioBatchSampler(sources, REAL_SYNTHETIC, batch_size=20)
    assert len(sampler) == 8  # 50 / 6
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for batch in sampler:
            assert sources[batch].tolist() == names(real=14, synthetic=6)


@settings(max_examples=100, deadline=None)
@given(
    parts=st.lists(st.integers(1, 19), min_size=1, max_size=6),
    sizes=st.lists(st.integers(1, 30), min_size=6, max_size=6),
    extra=st.integers(0, 7),
    seed=st.integers(0, 5),
)
def test_ratio_never_drifts_and_rows_do_not_repeat(parts, sizes, extra, seed):
    ratios = {str(index): part / sum(parts) for index, part in enumerate(parts)}
    counts = {name: sizes[int(name)] for name in ratios}
    batch_size = -(-sum(parts) // min(parts)) + extra
    sources = np.array(names(**counts))
    sampler = RatioBatchSampler(sources, ratios, batch_size, seed)
    drawn = {name: [] for name in ratios}
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for batch in sampler:
            assert len(batch) == batch_size
            for name, count in Counter(sources[batch]).items():
                assert abs(count - Fraction(parts[int(name)], sum(parts)) * batch_size) < 1
            for index in batch:
                drawn[sources[index]].append(index)
            total = sum(map(len, drawn.values()))
            for part, rows in zip(parts, drawn.values(), strict=True):
                assert abs(len(rows) - Fraction(part, sum(parts)) * total) < 1
    for name, rows in drawn.items():
        times = Counter(rows)
        assert max(times.values(), default=0) - min(times[index] for index in np.flatnonzero(sources == name)) <= 1


def test_every_batch_has_the_whole_part_of_every_share():
    # 1.3 + 1.1 + 7.6: rounding the cumulative shares would leave the second source out of some batches.
    sources = np.array(names(a=50, b=50, c=50))
    sampler = RatioBatchSampler(sources, {"a": 0.13, "b": 0.11, "c": 0.76}, batch_size=10, epoch_length=200)
    counts = [Counter(sources[batch]) for batch in sampler]
    assert {count["a"] for count in counts} == {count["b"] for count in counts} == {1, 2}
    assert {count["c"] for count in counts} == {7, 8}
    assert sum(count["b"] for count in counts) == 220


def test_order_changes_with_epoch_and_seed_only():
    def drawn(seed=0, epoch=0):
        sampler = RatioBatchSampler(names(real=60, synthetic=40), REAL_SYNTHETIC, 10, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert drawn() == drawn()
    assert drawn() != drawn(epoch=1)
    assert drawn() != drawn(seed=1)


def test_any_batch_can_be_reached_directly():
    sampler = RatioBatchSampler(names(real=23, synthetic=31), REAL_SYNTHETIC, 7)
    in_order = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        in_order += [(epoch, index, batch) for index, batch in enumerate(sampler)]
    fresh = RatioBatchSampler(names(real=23, synthetic=31), REAL_SYNTHETIC, 7)
    assert all(fresh.batch(epoch, index) == batch for epoch, index, batch in reversed(in_order))


@pytest.mark.parametrize("epoch_length", ["longest", "shortest", 5])
def test_a_row_comes_once_in_a_pass(epoch_length):
    sampler = RatioBatchSampler(names(real=23, synthetic=2), REAL_SYNTHETIC, 7, epoch_length=epoch_length)
    positions = [divmod(position, len(sampler)) for position in range(60)]
    drawn = Counter(pair for at in positions for pair in zip(sampler.batch(*at), sampler.passes(*at), strict=True))
    assert set(drawn.values()) == {1} and len(drawn) == 60 * 7
    assert {number for row, number in drawn if row >= 23} == set(range(63))  # 60 * 7 * 0.3 draws of two rows


def test_state_restores_the_epoch():
    sampler = RatioBatchSampler(names(real=23, synthetic=31), REAL_SYNTHETIC, 7)
    sampler.set_epoch(3)
    other = RatioBatchSampler(names(real=23, synthetic=31), REAL_SYNTHETIC, 7)
    other.load_state_dict(sampler.state_dict())
    assert list(other) == list(sampler)


def test_length_of_an_epoch():
    sources = names(real=1000, synthetic=30)

    def sampler(epoch_length):
        return RatioBatchSampler(sources, REAL_SYNTHETIC, 10, epoch_length=epoch_length)

    rows = [index for batch in sampler("shortest") for index in batch]
    assert len(rows) == len(set(rows)) == 100  # 30 / 3 batches
    drawn = Counter(index for batch in sampler("longest") for index in batch)
    assert len(drawn) == 1000 // 7 * 7 + 30  # the last batch would need more rows than are left
    times = [drawn[index] for index in range(1000, 1030)]
    assert max(times) - min(times) <= 1 and sum(times) == 1000 // 7 * 3
    assert len(sampler(17)) == 17
    assert len(sampler(np.int64(5))) == 5
    for wrong in (0, -3, 2.5, True, "long", None, [1]):
        with pytest.raises(ValueError, match="epoch_length must be 'longest', 'shortest' or a number of batches"):
            sampler(wrong)


def test_sources_smaller_than_their_share_of_a_batch_repeat():
    sampler = RatioBatchSampler(names(real=1, synthetic=1), REAL_SYNTHETIC, 10)
    assert list(sampler) == [[0] * 7 + [1] * 3]


def test_batch_too_small():
    with pytest.raises(ValueError, match="a batch of 3 holds 0.9 examples of 'synthetic'.*batch_size >= 4"):
        RatioBatchSampler(names(real=9, synthetic=9), REAL_SYNTHETIC, batch_size=3)


def test_types_of_the_batch_size():
    for wrong in (20.0, None, "20", True):
        with pytest.raises(TypeError, match="batch_size must be a whole number, got"):
            RatioBatchSampler(names(real=9, synthetic=9), REAL_SYNTHETIC, batch_size=wrong)
    sampler = RatioBatchSampler(names(real=9, synthetic=9), REAL_SYNTHETIC, batch_size=np.int32(10))
    assert len(next(iter(sampler))) == 10


def test_float_ratios_are_exact():
    sources = np.array(names(a=500, b=500))
    batch = next(iter(RatioBatchSampler(sources, {"a": 0.29, "b": 0.71}, batch_size=100)))
    assert Counter(sources[batch]) == {"a": 29, "b": 71}  # int(100 * 0.29) is 28


def test_processes_share_whole_batches_and_follow_the_epoch():
    sources = np.array(names(real=40, synthetic=20))
    ranks = []
    for rank in range(2):
        shard = BatchSamplerShard(RatioBatchSampler(sources, REAL_SYNTHETIC, 10), 2, rank, even_batches=False)
        shard.batch_sampler.sampler.set_epoch(2)  # what Accelerate does
        ranks.append(list(shard))
    alone = RatioBatchSampler(sources, REAL_SYNTHETIC, 10)
    alone.set_epoch(2)
    assert ranks[0] == list(alone)[0::2][: len(ranks[0])] and ranks[1] == list(alone)[1::2]
    assert all(sources[batch].tolist() == names(real=7, synthetic=3) for rank in ranks for batch in rank)
