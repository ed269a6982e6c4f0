"""`SceneGraphRecall` ranks many images at once; a plain loop over images, predictions and annotations must agree with it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.plain_evaluation import plain_recall
from speaq_hf.metrics import SceneGraphRecall
from speaq_hf.metrics.bootstrap import draw_counts
from speaq_hf.metrics.image_batch import read_images
from tests.metrics.random_images import PREDICATE_COUNTS, ZERO_SHOT, P, protocols, random_images, rules


SHARED = {"num_predicates": P, "zero_shot_triplets": ZERO_SHOT, "predicate_counts": PREDICATE_COUNTS}
SEEDS = st.integers(0, 2**32)
OPTIONS = {
    "ks": st.sampled_from([(1, 2, 5, 20), (2, 4), (1,), (200,)]),
    "mode": st.sampled_from(["sgdet", "sgcls", "predcls"]),
    "iou_threshold": st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]),
}


def assert_plain_loop_agrees(seed, **options):
    images = random_images(seed, 5, options["mode"])
    metric = SceneGraphRecall(**SHARED, **options)
    metric.add_batch(*images)
    results, expected = metric.compute(), plain_recall(*images, **SHARED, **options)
    assert expected.keys() == {name for name in results if "@" in name}
    for name, value in expected.items():
        assert results[name] == pytest.approx(value, abs=1e-12, rel=0, nan_ok=True), name


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS, protocol=protocols, options=st.fixed_dictionaries(OPTIONS))
def test_named_protocols(seed, protocol, options):
    assert_plain_loop_agrees(seed, protocol=protocol, **options)


@settings(max_examples=400, deadline=None)
@given(seed=SEEDS, protocol=rules, options=st.fixed_dictionaries(OPTIONS))
def test_any_rules(seed, protocol, options):
    assert_plain_loop_agrees(seed, protocol=protocol, **options)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, protocol=rules, options=st.fixed_dictionaries(OPTIONS))
def test_replicates_count_each_image_as_often_as_it_is_drawn(seed, protocol, options):
    predictions, references = random_images(seed, 5, options["mode"])
    metric = SceneGraphRecall(**SHARED, **options, protocol=protocol, num_replicates=3)
    metric.add_batch(predictions, references)
    draws = draw_counts(read_images(predictions, references, SHARED["num_predicates"], options["mode"]).keys, 3)
    replicates = metric.replicates()
    for i, weights in enumerate(draws, start=1):
        expected = plain_recall(predictions, references, **SHARED, **options, protocol=protocol, weights=weights)
        for name, values in replicates.items():  # replicates add whole multiples of 2^-30
            assert values[i] == pytest.approx(expected[name], abs=1e-8, nan_ok=True), name


def test_random_images_reach_what_they_are_meant_to():
    """Numbers that are always 0, 1 or nan would prove little."""
    predictions, references = random_images(0, 300)
    results = plain_recall(predictions, references, ks=(1, 5), **SHARED, protocol="strict")
    lists = {name for name in results if "per_predicate" in name}
    assert all(0.03 < results[name] < 0.97 for name in results.keys() - lists), results
    assert not any(math.isnan(recall) for name in lists for recall in results[name])
    boxes = np.concatenate([prediction["boxes"] for prediction in predictions])
    assert (boxes[:, 2] < boxes[:, 0]).any() and (boxes[:, 2] == boxes[:, 0]).any()
    assert any(len(r["relations"]) and not len(p["relations"]) for p, r in zip(predictions, references, strict=True))
