import dataclasses
import math
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speaq_hf.metrics import compare_with_reference
from speaq_hf.metrics.pair_matching import find_hits
from speaq_hf.scene_graph import SceneGraph
from tests.predictions.factories import random_graph


SCENE = {
    "boxes": [[0, 0, 40, 40], [50, 0, 90, 40], [0, 50, 40, 90]],
    "labels": [0, 1, 2],
    "image_size": (96, 128),
    "id2label": {0: "man", 1: "horse", 2: "hat"},
    "id2predicate": {0: "riding", 1: "wearing", 2: "near"},
}


def truth(relations=((0, 1, 0), (0, 2, 1), (1, 2, 2), (2, 1, 2))):
    return SceneGraph.from_annotation(relations=relations, **SCENE)


def prediction():
    """One hit, one wrong predicate, a hat that is elsewhere; other ids and one unknown class."""
    return SceneGraph(
        boxes=[[50, 0, 90, 38], [0, 0, 40, 40], [60, 60, 70, 70], [0, 50, 40, 90]],
        labels=[2, 1, 0, 3],
        scores=[0.9, 0.9, 0.9, 0.2],
        relations=[[1, 0, 0], [1, 0, 1], [1, 2, 2]],
        relation_scores=[0.9, 0.8, 0.7],
        predicate_probabilities=[[0.25] * 4] * 3,
        query_indices=[0, 1, 2],
        image_size=(96, 128),
        id2label={0: "hat", 1: "man", 2: "horse", 3: "cat"},
        id2predicate={0: "near", 1: "riding", 2: "wearing"},
    )


def test_words():
    comparison = prediction().compare(truth())
    assert str(comparison).splitlines() == [
        "1 of 4 annotated relations found, 1 of 3 predicted ones annotated (boxes agree from IoU 0.5 on)",
        "found          man riding horse",
        "missed         man wearing hat: wrong class",
        "missed         horse near hat: wrong class",
        "missed         hat near horse: wrong class",
        "not annotated  man near horse (0.90)",
        "not annotated  man wearing hat (0.70)",
    ]
    assert (comparison.recall, comparison.precision) == (1 / 4, 1 / 3)


def test_a_wrong_predicate_is_named():
    predicted = truth([(0, 1, 2), (0, 1, 1)])
    (missed,) = predicted.compare(truth([(0, 1, 0)])).missed
    assert (missed.cause, missed.instead, str(missed)) == (
        "wrong_predicate",
        "near",
        "man riding horse: wrong predicate (near)",
    )


def test_second_predicates_of_a_pair_count():
    predicted = truth([(0, 1, 2), (0, 1, 0)])
    comparison = predicted.compare(truth([(0, 1, 0)]))
    assert comparison.recall == 1 and len(comparison.confirmed) == 1


def test_overlap_that_is_asked_for():
    assert prediction().compare(truth(), iou_threshold=0.97).recall == 0


def test_nothing_predicted_or_annotated():
    nothing = truth([])
    assert math.isnan(nothing.compare(truth()).precision) and nothing.compare(truth()).recall == 0
    assert math.isnan(truth().compare(nothing).recall) and truth().compare(nothing).precision == 0
    assert {missed.cause for missed in nothing.compare(truth()).missed} == {"pair_not_proposed"}
    assert str(nothing.compare(nothing)).startswith("0 of 0 annotated relations found")
    assert {missed.cause for missed in nothing.top(0).compare(truth()).missed} == {"not_found"}


@settings(max_examples=50, deadline=None)
@given(seeds=st.tuples(st.integers(0, 999), st.integers(0, 999)), threshold=st.sampled_from([0.1, 0.3, 0.5]))
def test_both_sides_agree_with_the_table_of_hits(seeds, threshold):
    predicted, reference = (random_graph(seed, 8, 12) for seed in seeds)
    comparison = compare_with_reference(predicted, reference, threshold)
    hits = find_hits(predicted, reference, threshold)
    assert len(comparison.confirmed) == hits.any(axis=1).sum()
    assert len(comparison.confirmed) + len(comparison.unconfirmed) == len(predicted)
    found = {tuple(row) for row, hit in zip(reference.relations.tolist(), hits.any(axis=0), strict=True) if hit}
    assert len(comparison.found) == len(found)
    assert len(comparison.found) + len(comparison.missed) == len({tuple(row) for row in reference.relations.tolist()})


@given(seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_a_graph_agrees_with_itself(seed):
    graph = random_graph(seed)
    comparison = graph.compare(graph)
    assert comparison.recall == comparison.precision == 1


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"one size \(height, width\), got \(96, 128\) and \(100, 120\)"):
        prediction().compare(random_graph(0))
    with pytest.raises(ValueError, match=r"iou_threshold must be in \[0, 1\], got 2"):
        prediction().compare(truth(), iou_threshold=2)


def test_graphs_that_travelled_without_the_package_say_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "speaq_hf.metrics.reference_comparison", None)
    with pytest.raises(ImportError, match="SceneGraph.compare needs `pip install speaq_hf`"):
        prediction().compare(dataclasses.replace(truth()))
