"""Graphs of a detector brought onto the annotated objects."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speaq_hf.metrics import PROTOCOLS, SceneGraphRecall
from speaq_hf.metrics.candidates import unconstrained_triplets
from speaq_hf.metrics.image_triplets import ImageTriplets
from speaq_hf.metrics.oracle import ORACLE_MODES, ground_objects
from speaq_hf.scene_graph import SceneGraph
from tests.metrics.recorded_images import recorded_predictions, recorded_references
from tests.metrics.test_scene_graph_recall import (
    equal,
    make_metric,
    perfect_prediction,
    random_images,
    random_reference,
)


LEFT, RIGHT = [0, 0, 10, 10], [20, 0, 30, 10]
NEAR_LEFT, FAR_LEFT = [0, 0, 10, 9], [0, 0, 10, 6]  # they overlap by 0.9 and 0.6
TRUTH = {"boxes": [LEFT, RIGHT], "labels": [4, 7], "relations": [[0, 1, 2]]}


def graph(boxes, labels, scores, relations, **fields):
    return {"boxes": boxes, "labels": labels, "scores": scores, "relations": relations, **fields}


def as_lists(grounded):
    return {name: values.tolist() for name, values in grounded.items()}


def test_relations_go_with_their_objects():
    """Both objects on the left go to the annotated one there; the better-scoring one gives it its class."""
    predicted = graph(
        [NEAR_LEFT, RIGHT, FAR_LEFT, [50, 50, 60, 60]],
        [5, 7, 6, 7],
        [0.25, 0.75, 0.5, 1.0],
        [[2, 1, 3], [0, 1, 2], [0, 3, 2], [0, 2, 1], [1, 0, 0], [0, 1, 2]],
        relation_scores=[0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
        predicate_probabilities=np.eye(5)[[3, 2, 2, 1, 0, 2]],
        unconstrained_relations=[[0, 2, 1], [2, 1, 1]],
    )
    rows = {
        "boxes": TRUTH["boxes"],
        # Out fall the object far from all annotated ones and the relation within one; repetitions stay.
        "relations": [[0, 1, 3], [0, 1, 2], [1, 0, 0], [0, 1, 2]],
        "predicate_probabilities": np.eye(5)[[3, 2, 0, 2]].tolist(),
    }
    objects = {"labels": [6, 7], "scores": [0.5, 0.75], "relation_scores": [0.375] * 4}
    assert as_lists(ground_objects(predicted, TRUTH, "sgcls")) == rows | objects
    objects = {"labels": [4, 7], "scores": [1, 1], "relation_scores": [1] * 4}
    assert as_lists(ground_objects(predicted, TRUTH, "predcls")) == rows | objects
    del predicted["predicate_probabilities"]  # nothing tells new scores
    plain = ground_objects(predicted, TRUTH, "predcls")
    assert plain["relations"].tolist() == rows["relations"] and plain["unconstrained_relations"].tolist() == [
        [0, 1, 1]
    ]
    assert plain["relation_scores"].tolist() == np.float32([0.9, 0.8, 0.5, 0.4]).tolist()


@pytest.mark.parametrize(("mode", "score_of_left", "order"), [("sgcls", 0.5, [2, 1, 0]), ("predcls", 1, [1, 2, 0])])
def test_relations_are_ranked_by_the_objects_new_scores(mode, score_of_left, order):
    """A sure relation between unsure objects; without graph constraint it comes at the same place."""
    truth = {"boxes": [LEFT, RIGHT, [40, 0, 50, 10]], "labels": [4, 7, 8], "relations": []}
    probabilities = np.array([[0.1, 0.2, 0.4, 0.2, 0.1], [0.9, 0, 0, 0, 0.1], [0, 0.8, 0, 0, 0.2]])
    relations = [[0, 1, 2], [0, 1, 0], [1, 2, 1]]
    predicted = graph(
        [*truth["boxes"], LEFT],
        [5, 7, 8, 5],
        [0.25, 1, 1, 0.5],
        relations,
        relation_scores=[3, 2, 1],
        predicate_probabilities=probabilities,
    )
    grounded = ground_objects(predicted, truth, mode)
    assert grounded["relations"].tolist() == [relations[i] for i in order]
    expected = np.array([0.4 * score_of_left, 0.9 * score_of_left, 0.8])[order]
    assert grounded["relation_scores"] == pytest.approx(expected)
    assert grounded["predicate_probabilities"] == pytest.approx(probabilities[order])
    images = ImageTriplets.from_prediction(grounded, 4, "here")
    assert unconstrained_triplets(images, PROTOCOLS["speaq"], 3).tolist() == grounded["relations"].tolist()


def test_given_classes_come_before_overlap():
    """Two annotated objects near the predicted one: it fits the first better, its class is that of the second."""
    truth = {"boxes": [LEFT, FAR_LEFT, RIGHT], "labels": [1, 2, 3], "relations": [[1, 2, 0]]}
    predicted = graph([NEAR_LEFT, RIGHT], [2, 3], [0.5, 0.5], [[0, 1, 0]])
    assert ground_objects(predicted, truth, "sgcls")["relations"].tolist() == [[0, 2, 0]]
    assert ground_objects(predicted, truth, "predcls")["relations"].tolist() == [[1, 2, 0]]
    # A class does not help where the boxes do not overlap enough.
    assert ground_objects(predicted, truth, "predcls", iou_threshold=0.7)["relations"].tolist() == [[0, 2, 0]]


def test_threshold_is_inclusive():
    predicted = graph([FAR_LEFT, RIGHT], [4, 7], [0.5, 0.5], [[0, 1, 2]])
    for threshold, num_relations in ((0.6, 1), (0.61, 0)):
        for mode in ORACLE_MODES:
            assert len(ground_objects(predicted, TRUTH, mode, threshold)["relations"]) == num_relations


def test_of_equal_ones_it_is_the_first():
    truth = {"boxes": [LEFT, LEFT, RIGHT], "labels": [4, 4, 7], "relations": []}
    predicted = graph([LEFT, LEFT, RIGHT], [5, 6, 7], [0.5, 0.5, 0.1], [[1, 2, 0]])
    grounded = ground_objects(predicted, truth, "sgcls")
    assert grounded["relations"].tolist() == [[0, 2, 0]]
    assert grounded["labels"].tolist() == [5, 0, 7] and grounded["scores"].tolist() == [0.5, 0, np.float32(0.1)]


@pytest.mark.parametrize("mode", ORACLE_MODES)
def test_nothing_annotated_or_nothing_predicted(mode):
    bare, silent = {"boxes": [], "labels": [], "relations": []}, graph([], [], [], [])
    predicted = graph([LEFT, RIGHT], [4, 7], [0.5, 0.5], [[0, 1, 2]], predicate_probabilities=np.eye(5)[[2]])
    for prediction, reference in ((predicted, bare), (silent, TRUTH), (silent, bare)):
        grounded = ground_objects(prediction, reference, mode)
        assert grounded["relations"].shape == (0, 3) and grounded["boxes"].tolist() == reference["boxes"]
        metric = make_metric(num_predicates=4, mode=mode, protocol="strict")
        metric.add_batch([grounded], [reference])
        assert metric.compute()["R@5"] == 0 or not reference["relations"]


def spread_reference(rng):
    """Objects that do not overlap, so that it is plain which is meant."""
    reference = random_reference(rng, num_relations=5)
    corners = np.arange(len(reference["boxes"]))[:, None] * [60, 0]
    reference["boxes"] = np.concatenate([corners, corners + rng.integers(1, 50, corners.shape)], axis=1)
    return reference


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), mode=st.sampled_from(ORACLE_MODES))
def test_perfect_predictions_stay_perfect(seed, mode):
    reference = spread_reference(np.random.default_rng(seed))
    reference["relations"] = reference["relations"][reference["relations"][:, 0] != reference["relations"][:, 1]]
    metric = make_metric(mode=mode, zero_shot_triplets=None)
    metric.add_batch([ground_objects(perfect_prediction(reference), reference, mode)], [reference])
    assert metric.compute()["R@5"] == 1 or not len(reference["relations"])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), mode=st.sampled_from(ORACLE_MODES))
def test_order_of_predicted_objects_changes_nothing(seed, mode):
    (prediction,), (reference,) = random_images(seed, 1)
    order = np.random.default_rng(seed).permutation(len(prediction["boxes"]))
    shuffled = prediction | {name: np.asarray(prediction[name])[order] for name in ("boxes", "labels", "scores")}
    ends = np.argsort(order)[prediction["relations"][:, :2]]
    shuffled["relations"] = np.column_stack([ends, prediction["relations"][:, 2]])
    before, after = (as_lists(ground_objects(graph, reference, mode)) for graph in (prediction, shuffled))
    assert equal(before, after)


def test_graph_and_its_json_are_grounded_alike():
    reference = spread_reference(np.random.default_rng(1))
    predicted = perfect_prediction(reference)
    from_json = ground_objects(json.loads(json.dumps(predicted.to_dict())), reference, "sgcls")
    assert isinstance(predicted, SceneGraph)
    assert equal(as_lists(from_json), as_lists(ground_objects(predicted, reference, "sgcls")))


def test_given_classes_help_on_the_recorded_images():
    """Given classes raise recall. Given boxes alone need not, as the docstring says."""
    predictions, references = recorded_predictions("sgdet"), recorded_references()
    recalls = {}
    for mode in ("sgdet", *ORACLE_MODES):
        metric = SceneGraphRecall(50, mode=mode, protocol="strict")
        pairs = zip(predictions, references, strict=True)
        grounded = predictions if mode == "sgdet" else [ground_objects(*pair, mode) for pair in pairs]
        metric.add_batch(grounded, references)
        recalls[mode] = metric.compute()["R@100"]
    assert 0 < recalls["sgcls"] < recalls["predcls"] < 1
    assert recalls["sgdet"] < recalls["predcls"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "sgdet"}, r"mode must be one of \('sgcls', 'predcls'\), got 'sgdet'"),
        ({"iou_threshold": 0}, r"iou_threshold must be in \(0, 1\], got 0"),
        ({"prediction": graph([LEFT], [4], [0.5], [[0, 1, 2]])}, r"Prediction: `relations` row 0 is \[0, 1, 2\]"),
        ({"reference": {"boxes": [LEFT], "labels": [4]}}, "Reference: the field `relations` is missing"),
    ],
)
def test_mistakes_are_named(changes, message):
    arguments = {"prediction": graph([LEFT], [4], [0.5], []), "reference": TRUTH, "mode": "sgcls"}
    with pytest.raises(ValueError, match=message):
        ground_objects(**(arguments | changes))
