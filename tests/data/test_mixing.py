from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from speaq_hf.data import RatioBatchSampler, mix_datasets, object_names, predicate_names
from tests.data.factories import OBJECTS, PREDICATES, dataset, row


REAL_SYNTHETIC = {"real": 0.7, "synthetic": 0.3}


def names(**counts):
    """Source names of a mixed dataset's rows."""
    return [name for name, count in counts.items() for _ in range(count)]


def small(count, first_id=0, **vocabulary):
    return dataset([row(first_id + index, size=(4, 3)) for index in range(count)], **vocabulary)


# Datasets -------------------------------------------------------------------------------------------------------------


def test_mixture_holds_every_row_with_source_and_weight():
    mixed = mix_datasets(
        {"real": small(3), "synthetic": small(2, 10)}, REAL_SYNTHETIC, {"real": 1.0, "synthetic": 0.5}
    )
    assert mixed["image_id"][:] == [0, 1, 2, 10, 11]
    assert mixed["source"][:] == names(real=3, synthetic=2)
    assert mixed["loss_weight"][:] == [1.0] * 3 + [0.5] * 2
    assert object_names(mixed) == OBJECTS and predicate_names(mixed) == PREDICATES


def test_weights_default_to_one_and_old_columns_are_replaced():
    labelled = small(2).add_column("source", ["old"] * 2).add_column("loss_weight", [9.0] * 2)
    mixed = mix_datasets({"real": labelled, "synthetic": small(1)}, REAL_SYNTHETIC)
    assert mixed["source"][:] == names(real=2, synthetic=1)
    assert mixed["loss_weight"][:] == [1.0] * 3


def test_selected_and_transformed_sources_and_extra_columns():
    real = small(3).add_column("note", ["x"] * 3).select([2, 0]).with_transform(lambda batch: batch)
    mixed = mix_datasets({"real": real, "synthetic": small(1, 10)}, REAL_SYNTHETIC)
    assert mixed["image_id"][:] == [2, 0, 10]
    assert "note" not in mixed.column_names


def test_interleaving_keeps_every_row_and_the_ratio_in_expectation():
    sources = {"real": small(300), "synthetic": small(30, 1000)}
    mixed = mix_datasets(sources, REAL_SYNTHETIC, seed=1, mode="interleave")
    assert set(mixed["image_id"][:]) == {*range(300), *range(1000, 1030)}
    share = Counter(mixed["source"][:])["real"] / len(mixed)
    assert abs(share - 0.7) < 0.08
    assert mixed["image_id"][:] == mix_datasets(sources, REAL_SYNTHETIC, seed=1, mode="interleave")["image_id"][:]
    assert mixed["image_id"][:] != mix_datasets(sources, REAL_SYNTHETIC, seed=2, mode="interleave")["image_id"][:]


def test_sources_of_one_row():
    assert len(mix_datasets({"real": small(1), "synthetic": small(1)}, REAL_SYNTHETIC)) == 2
    assert len(mix_datasets({"only": small(1)}, {"only": 1.0})) == 1


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        ({"real": 0.7, "synthetic": 0.2}, "sum to 1, got .*0.8999|sum to 1, got .*0.9"),
        ({"real": 0.7}, r"must name the sources \['real', 'synthetic'\]"),
        ({"real": 1.2, "synthetic": -0.2}, "greater than 0, got {'synthetic': -0.2}"),
        ({"real": 1.0, "synthetic": 0.0}, "greater than 0.*leave such a source out"),
        ({"real": float("nan"), "synthetic": 0.3}, "finite"),
    ],
)
def test_impossible_ratios(ratios, message):
    with pytest.raises(ValueError, match=message):
        mix_datasets({"real": small(1), "synthetic": small(1)}, ratios)
    with pytest.raises(ValueError, match=message):
        RatioBatchSampler(names(real=5, synthetic=5), ratios, batch_size=10)


@pytest.mark.parametrize("weight", [-0.5, float("nan"), float("inf")])
def test_impossible_loss_weights(weight):
    with pytest.raises(ValueError, match="loss weights must be finite and at least 0.*synthetic"):
        mix_datasets({"real": small(1), "synthetic": small(1)}, REAL_SYNTHETIC, {"real": 1.0, "synthetic": weight})
    with pytest.raises(ValueError, match="loss_weights must name the sources"):
        mix_datasets({"real": small(1), "synthetic": small(1)}, REAL_SYNTHETIC, {"real": 1.0})


def test_loss_weight_zero_is_allowed():
    mixed = mix_datasets({"a": small(1), "b": small(1)}, {"a": 0.5, "b": 0.5}, {"a": 0.0, "b": 1.0})
    assert mixed["loss_weight"][:] == [0.0, 1.0]


def test_empty_source_and_unknown_mode():
    with pytest.raises(ValueError, match=r"sources \['synthetic'\] hold no image"):
        mix_datasets({"real": small(1), "synthetic": small(1).select([])}, REAL_SYNTHETIC)
    with pytest.raises(ValueError, match="'batch' or 'interleave', got 'zip'"):
        mix_datasets({"real": small(1), "synthetic": small(1)}, REAL_SYNTHETIC, mode="zip")


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (
            {"objects": ["cat", "dog", "cap"]},
            r"'real', 'synthetic' lacks \['hat'\] and adds \['cap'\] \(object names\)",
        ),
        ({"predicates": ["on", "near"]}, r"same names in another order \(predicate names\)"),
    ],
)
def test_different_vocabularies(vocabulary, message):
    with pytest.raises(ValueError, match=message):
        mix_datasets({"real": small(1), "synthetic": small(1, **vocabulary)}, REAL_SYNTHETIC)


# Batches --------------------------------------------------------------------------------------------------------------


def test_published_setting_gives_14_and_6_in_every_batch():
    sources = np.array(names(real=100, synthetic=50))
    sampler = RatioBatchSampler(sources, REAL_SYNTHETIC, batch_size=20)
    assert len(sampler) == 7  # 100 / 14
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for batch in sampler:
            assert sources[batch].tolist() == names(real=14, synthetic=6)


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 30), min_size=4, max_size=4),
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
            for index in batch:
                drawn[sources[index]].append(index)
            total = sum(map(len, drawn.values()))
            for part, rows in zip(parts, drawn.values(), strict=True):
                assert abs(len(rows) - Fraction(part, sum(parts)) * total) < 1
    for name, rows in drawn.items():
        times = Counter(rows)
        assert max(times.values(), default=0) - min(times[index] for index in np.flatnonzero(sources == name)) <= 1


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


def test_state_restores_the_epoch():
    sampler = RatioBatchSampler(names(real=23, synthetic=31), REAL_SYNTHETIC, 7)
    sampler.set_epoch(3)
    other = RatioBatchSampler(names(real=23, synthetic=31), REAL_SYNTHETIC, 7)
    other.load_state_dict(sampler.state_dict())
    assert list(other) == list(sampler)


def test_an_epoch_ends_when_the_first_source_is_used_up():
    sampler = RatioBatchSampler(names(real=1000, synthetic=30), REAL_SYNTHETIC, 10)
    rows = [index for batch in sampler for index in batch]
    assert len(sampler) == 10 and len(rows) == len(set(rows)) == 100


def test_sources_smaller_than_their_share_of_a_batch_repeat():
    sampler = RatioBatchSampler(names(real=1, synthetic=1), REAL_SYNTHETIC, 10)
    assert list(sampler) == [[0] * 7 + [1] * 3]


def test_batch_too_small():
    with pytest.raises(ValueError, match="a batch of 3 holds 0.9 examples of 'synthetic'.*batch_size >= 4"):
        RatioBatchSampler(names(real=9, synthetic=9), REAL_SYNTHETIC, batch_size=3)


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


def test_loader_reads_a_mixture():
    mixed = mix_datasets({"real": small(7), "synthetic": small(3, 10)}, REAL_SYNTHETIC)
    sampler = RatioBatchSampler(mixed["source"], REAL_SYNTHETIC, batch_size=10)
    (batch,) = DataLoader(mixed, batch_sampler=sampler, collate_fn=list)
    assert [example["source"] for example in batch] == names(real=7, synthetic=3)
