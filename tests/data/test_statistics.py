import numpy as np
import pytest
from datasets import DatasetDict, concatenate_datasets

from speaq_hf.data import TripletCounts, load_visual_genome, object_counts, predicate_statistics, zero_shot_triplets
from tests.data.factories import dataset, row
from tests.helpers import REFERENCE


EXPECTED = np.load(REFERENCE / "vg" / "expected_statistics.npz")
VARIANTS = {
    "default": {},
    "keep_empty_relations": {"keep_empty": True},
    "filter_non_overlap": {"filter_non_overlap": True},
    "box_scale_512": {"box_scale": 512},
}


def load_reference(split, **kwargs):
    return load_visual_genome(REFERENCE / "vg", split, images="images", num_validation_images=5, **kwargs)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_counts_equal_the_published_program(variant, split):
    statistics = predicate_statistics(load_reference(split, **VARIANTS[variant]))
    expected = {
        key: EXPECTED[f"{variant}/{split}/{key}"]
        for key in ("fg_rel_count", "foreground_nonzero_index", "foreground_nonzero_value")
    }
    np.testing.assert_array_equal(statistics.counts, expected["fg_rel_count"][:-1])
    np.testing.assert_array_equal(statistics.triplet_counts.indices, expected["foreground_nonzero_index"])
    np.testing.assert_array_equal(statistics.triplet_counts.counts, expected["foreground_nonzero_value"])
    assert statistics.counts.dtype == statistics.triplet_counts.counts.dtype == np.int64


def test_statistics_of_a_mixture_add_up():
    train, test = load_reference("train"), load_reference("test")
    total = predicate_statistics(train) + predicate_statistics(test)
    joined = predicate_statistics(concatenate_datasets([train, test]))
    np.testing.assert_array_equal(total.counts, joined.counts)
    np.testing.assert_array_equal(total.triplet_counts.indices, joined.triplet_counts.indices)
    np.testing.assert_array_equal(total.triplet_counts.counts, joined.triplet_counts.counts)
    assert total.num_relations == joined.num_relations == joined.triplet_counts.counts.sum() == 200


def test_selected_rows_and_transforms_are_counted_as_they_are():
    rows = load_reference("train")
    halves = [predicate_statistics(rows.select(range(start, len(rows), 2))) for start in (0, 1)]
    np.testing.assert_array_equal((halves[0] + halves[1]).counts, predicate_statistics(rows).counts)
    transformed = rows.with_transform(lambda batch: {"nothing": [0] * len(batch["image_id"])})
    np.testing.assert_array_equal(predicate_statistics(transformed).counts, predicate_statistics(rows).counts)


def test_repeated_relations_count_each_time():
    statistics = predicate_statistics(
        dataset([row(boxes=[[0, 0, 9, 9]] * 2, labels=[2, 0], relations=[[0, 1, 1], [0, 1, 1], [1, 0, 0]]), row()])
    )
    assert statistics.counts.tolist() == [1, 2]
    assert statistics.triplet_counts.indices.tolist() == [[0, 2, 0], [2, 0, 1]]
    dense = statistics.triplet_counts.to_dense(num_objects=3, num_predicates=2)
    assert dense[2, 0, 1] == 2 and dense.sum() == 3


def test_no_relations_at_all():
    statistics = predicate_statistics(dataset([row(), row(1, boxes=[[0, 0, 9, 9]], labels=[1])]))
    assert statistics.counts.tolist() == [0, 0]
    assert statistics.triplet_counts.indices.shape == (0, 3)
    assert zero_shot_triplets(statistics, statistics).shape == (0, 3)


def test_zero_shot_triplets_are_those_never_seen():
    train, test = predicate_statistics(load_reference("train")), predicate_statistics(load_reference("test"))
    dense = [counts.triplet_counts.to_dense(150, 50) for counts in (train, test)]
    np.testing.assert_array_equal(zero_shot_triplets(train, test), np.argwhere((dense[0] == 0) & (dense[1] > 0)))
    assert len(zero_shot_triplets(test, test)) == 0


def test_a_seen_triplet_is_not_zero_shot():
    pair = {"boxes": [[0, 0, 9, 9]] * 2, "labels": [0, 1]}
    train = predicate_statistics(dataset([row(relations=[[0, 1, 0]], **pair)]))
    test = predicate_statistics(dataset([row(relations=[[0, 1, 0], [1, 0, 1]], **pair)]))
    assert zero_shot_triplets(train, test).tolist() == [[1, 0, 1]]


def test_different_vocabularies_do_not_add():
    few = predicate_statistics(dataset([row()]))
    many = predicate_statistics(dataset([row()], predicates=["near", "on", "under"]))
    with pytest.raises(ValueError, match="2 and 3 predicates"):
        few + many


def test_classes_outside_the_vocabulary():
    rows = dataset([row(boxes=[[0, 0, 9, 9]] * 2, labels=[0, 1], relations=[[0, 1, 1]])])
    beyond = rows.map(lambda _: {"relations": [[0, 1, 7]]}, features=rows.features)
    with pytest.raises(ValueError, match="exceed its vocabularies of 3 objects and 2 predicates"):
        predicate_statistics(beyond)


@pytest.mark.parametrize("count", [predicate_statistics, object_counts])
def test_what_cannot_be_counted(count):
    with pytest.raises(
        TypeError, match="expected a Dataset, .* got IterableDataset; count the same set loaded without"
    ):
        count(dataset([row()]).to_iterable_dataset())
    with pytest.raises(TypeError, match="got DatasetDict; pass one split"):
        count(DatasetDict(train=dataset([row()])))


def test_triplet_counts_add_weights():
    counts = TripletCounts.from_rows(np.array([[1, 0, 0], [0, 0, 1], [1, 0, 0]]), np.array([2, 1, 3]))
    assert counts.indices.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert counts.counts.tolist() == [1, 5]
