"""Draws of the bootstrap, and whether its intervals hold what they promise."""

import math

import numpy as np
import pytest
import torch

from speaq_hf.metrics.bootstrap import draw_counts, image_key, interval
from speaq_hf.metrics.image_triplets import ImageTriplets
from speaq_hf.metrics.tallies import MeanRecall, PooledRecall


def annotation(**overrides):
    fields = {"boxes": np.eye(2, 4), "labels": np.array([0, 1]), "relations": np.array([[0, 1, 2]])}
    return ImageTriplets(**(fields | overrides))


def keys_of(*image_ids):
    return [image_key(image_id, annotation()) for image_id in image_ids]


@pytest.mark.parametrize("keys", [keys_of(*range(500)), list(range(500)), [i << 32 for i in range(500)]])
def test_draws_are_poisson(keys):
    """Whatever the keys: neighbouring numbers are as good as any."""
    draws = draw_counts(keys, 1000)
    assert draws.shape == (1000, 500)
    for count in range(6):
        expected = math.exp(-1) / math.factorial(count)
        assert (draws == count).mean() == pytest.approx(expected, abs=4 * math.sqrt(expected / draws.size))
    assert draws.mean() == pytest.approx(1, abs=4 / math.sqrt(draws.size))
    assert draws.var() == pytest.approx(1, abs=0.01)
    assert (draws == np.rint(draws)).all() and draws.max() <= 13


@pytest.mark.parametrize("keys", [keys_of(*range(300)), list(range(300))])
def test_draws_are_independent(keys):
    """Correlations of images over replicates, and of replicates over images, are as large as chance makes them."""
    draws = draw_counts(keys, 1000)
    for table, samples in ((draws.T, 1000), (draws[:300], 300)):
        correlations = np.corrcoef(table)[np.triu_indices(len(table), 1)]
        assert math.sqrt((correlations**2).mean()) == pytest.approx(1 / math.sqrt(samples), rel=0.03)
        assert abs(correlations).max() < 6.5 / math.sqrt(samples)


def test_draws_follow_from_the_image_alone():
    keys = keys_of("a", "b", 7)
    draws = draw_counts(keys, 50)
    np.testing.assert_array_equal(draw_counts(keys[::-1], 50), draws[:, ::-1])
    np.testing.assert_array_equal(draw_counts(keys[1:2], 50), draws[:, 1:2])
    np.testing.assert_array_equal(draw_counts(keys, 20), draws[:20])
    assert draw_counts(keys, 0).shape == (0, 3) and draw_counts([], 4).shape == (4, 0)


def test_draws_are_the_same_on_every_machine_and_version():
    """Two models may be judged years apart."""
    assert image_key(42, annotation()) == 1820623206216373317
    assert draw_counts(keys_of(42), 12)[:, 0].tolist() == [0, 1, 0, 0, 3, 2, 0, 1, 1, 1, 0, 1]


@pytest.mark.parametrize("same", [7, "7", 7.0, np.int32(7), np.array([7]), torch.tensor(7), torch.tensor([7])])
def test_ids_of_one_value_are_one_id(same):
    assert image_key(same, annotation()) == image_key(7, annotation()) != image_key(8, annotation())


@pytest.mark.parametrize("image_id", [None, 3])
def test_other_annotations_have_other_keys(image_id):
    """An id that is given twice does not make two images one, nor two annotations of an image the same."""
    key = image_key(image_id, annotation())
    for other in ({"relations": np.array([[0, 1, 3]])}, {"labels": np.array([0, 2])}, {"boxes": np.eye(2, 4) * 2}):
        assert image_key(image_id, annotation(**other)) != key


def test_key_does_not_see_the_order_of_objects():
    turned = annotation(boxes=np.eye(2, 4)[::-1], labels=np.array([1, 0]), relations=np.array([[1, 0, 2]]))
    assert image_key(None, turned) == image_key(None, annotation())


def simulated(rng, num_images):
    """Hits `(n, 1, 1)` and totals `(n, 1)` of images that are not equally hard; the larger, the harder."""
    totals = rng.integers(1, 10, (num_images, 1))
    ease = rng.beta(2, 1 + totals / 3)
    return rng.binomial(totals, ease)[:, None], totals


@pytest.mark.parametrize("tally", [MeanRecall, PooledRecall])
def test_intervals_cover_the_true_value(tally):
    """About 95 of 100 intervals hold the number that endless images would give. Fewer images cover a little less."""
    rng = np.random.default_rng(0)
    hits, totals = simulated(rng, 1_000_000)
    truth = (hits[:, 0] / totals).mean() if tally is MeanRecall else hits.sum() / totals.sum()
    covered, experiments = 0, 400
    for experiment in range(experiments):
        images = tally(1, num_replicates=400)
        images.add(*simulated(rng, 100), draw_counts(keys_of(*range(1000 * experiment, 1000 * experiment + 100)), 400))
        low, high = interval(images.compute()[1:, 0, 0])
        covered += low <= truth <= high
    assert 0.92 <= covered / experiments <= 0.975


def test_width_is_that_of_the_standard_error():
    rng = np.random.default_rng(1)
    hits, totals = simulated(rng, 2000)
    images = MeanRecall(1, num_replicates=1000)
    images.add(hits, totals, draw_counts(keys_of(*range(2000)), 1000))
    low, high = interval(images.compute()[1:, 0, 0])
    assert high - low == pytest.approx(2 * 1.96 * (hits[:, 0] / totals).std() / math.sqrt(2000), rel=0.05)


def test_interval_leaves_out_replicates_without_the_number():
    values = np.array([np.nan, *np.linspace(0, 1, 101), np.nan])
    assert interval(values, 0.9) == pytest.approx((0.05, 0.95))
    assert all(math.isnan(end) for end in interval(np.full(5, np.nan)))
