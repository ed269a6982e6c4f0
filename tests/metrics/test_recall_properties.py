"""What must hold of recall under every protocol, whatever the images."""

import functools
import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from speaq_hf.metrics import PROTOCOLS, SceneGraphRecall
from tests.metrics.random_images import PREDICATE_COUNTS, ZERO_SHOT, P, protocols, random_boxes, random_images


KS = (1, 2, 5, 20)
SEEDS = st.integers(0, 2**32)
MODES = st.sampled_from(["sgdet", "sgcls", "predcls"])
ROWS = ("relations", "relation_scores", "predicate_probabilities")  # row i of each is prediction i


def make_metric(**options):
    shared = {"zero_shot_triplets": ZERO_SHOT, "predicate_counts": PREDICATE_COUNTS, "num_replicates": 8}
    return SceneGraphRecall(P, **({"ks": KS} | shared | options))


def recall_of(predictions, references, **options):
    metric = make_metric(**options)
    metric.add_batch(predictions, references)
    return metric


def assert_same(a, b):
    """Bit for bit, with the replicates, from which the intervals follow."""
    assert repr(a.compute()) == repr(b.compute())
    theirs = b.replicates()
    assert all(np.array_equal(values, theirs[name], equal_nan=True) for name, values in a.replicates().items())


def renumbered(relations, new_numbers):
    return np.column_stack([np.asarray(new_numbers, dtype=int)[relations[:, :2]], relations[:, 2]])


def with_permuted_objects(graph, order):
    """Object `order[i]` becomes object i."""
    graph = graph | {name: graph[name][order] for name in ("boxes", "labels", "scores") if name in graph}
    rows = [name for name in ("relations", "unconstrained_relations") if name in graph]
    return graph | {name: renumbered(graph[name], np.argsort(order)) for name in rows}


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, mode=MODES, protocol=protocols)
def test_order_of_images_changes_nothing(seed, mode, protocol):
    images = list(zip(*random_images(seed, 6, mode), strict=True))
    shuffled = [images[i] for i in np.random.default_rng(seed).permutation(6)]
    options = {"mode": mode, "protocol": protocol}
    assert_same(recall_of(*zip(*images, strict=True), **options), recall_of(*zip(*shuffled, strict=True), **options))


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, mode=MODES, protocol=protocols)
def test_order_of_objects_changes_nothing(seed, mode, protocol):
    rng = np.random.default_rng(seed)
    predictions, references = random_images(seed, 4, mode)
    for reference in references:  # of two annotated objects that it overlaps alike, "best" takes the first
        reference["boxes"] = reference["boxes"] + rng.normal(0, 0.01, reference["boxes"].shape)
    options = {"mode": mode, "protocol": protocol}
    before = recall_of(predictions, references, **options)
    for i, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        order = rng.permutation(len(reference["boxes"]))
        references[i] = with_permuted_objects(reference, order)
        order = order if mode != "sgdet" else rng.permutation(len(prediction["boxes"]))
        predictions[i] = with_permuted_objects(prediction, order)
    assert_same(before, recall_of(predictions, references, **options))


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, mode=MODES)
def test_order_of_predictions_changes_nothing_where_scores_rank_them(seed, mode):
    rng = np.random.default_rng(seed)
    predictions, references = random_images(seed, 4, mode)
    shuffled = []
    for prediction in predictions:
        k = len(prediction["relations"])
        prediction["relation_scores"] = rng.permutation(k).astype(np.float32)  # all different
        prediction.setdefault("predicate_probabilities", np.ones((k, P + 1)) / (P + 1))
        order = rng.permutation(k)
        shuffled.append(prediction | {name: prediction[name][order] for name in ROWS})
    options = {"mode": mode, "protocol": "strict"}
    assert_same(recall_of(predictions, references, **options), recall_of(shuffled, references, **options))


def annotated_without_repetitions(rng):
    """No two objects alike, no box empty, one predicate for a pair: what every protocol can reward in full."""
    n = int(rng.integers(2, 6))
    boxes = random_boxes(rng, n) + np.arange(n)[:, None] * 0.01
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    pairs = rng.permutation(np.argwhere(~np.eye(n, dtype=bool)))[: rng.integers(1, 7)]
    labels, predicates = rng.integers(0, 3, n), rng.integers(0, P, len(pairs))
    return {"boxes": boxes, "labels": labels, "relations": np.column_stack([pairs, predicates])}


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, mode=MODES, protocol=protocols)
def test_a_perfect_prediction_scores_one(seed, mode, protocol):
    rng = np.random.default_rng(seed)
    references = [annotated_without_repetitions(rng) for _ in range(4)]
    certain = [np.eye(P + 1)[reference["relations"][:, 2]] for reference in references]
    predictions = [
        reference | {"scores": np.ones(len(reference["boxes"])), "predicate_probabilities": probabilities}
        for reference, probabilities in zip(references, certain, strict=True)
    ]
    results = recall_of(predictions, references, mode=mode, protocol=protocol, zero_shot_triplets=None).compute()
    names = ["R", "ng-R", "micro-R", "ng-micro-R", "phrase-R", *(["pair_accuracy"] if mode != "sgdet" else [])]
    assert {name: results[f"{name}@20"] for name in names} == dict.fromkeys(names, 1)
    present = len({int(p) for reference in references for p in reference["relations"][:, 2]})
    expected = present / P if protocol.absent_predicates_count_as_zero else 1
    assert results["mR@20"] == results["ng-mR@20"] == expected


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, mode=MODES, protocol=protocols)
def test_recall_grows_with_k_and_stays_a_share(seed, mode, protocol):
    replicates = recall_of(*random_images(seed, 5, mode), mode=mode, protocol=protocol).replicates()
    for name in {name.split("@")[0] for name in replicates}:
        values = np.array([replicates[f"{name}@{k}"] for k in KS])
        values = values[:, ~np.isnan(values[0])]
        assert (np.diff(values, axis=0) >= -1e-15).all() and (values >= 0).all() and (values <= 1 + 1e-9).all(), name


def with_repeated_prediction(rng, prediction, may_copy_objects):
    """One row again, at any place that the ranking allows, on the same objects or on copies of them."""
    n, k = len(prediction["boxes"]), len(prediction["relations"])
    row = rng.integers(0, k)
    repeated = {name: prediction[name][row : row + 1] for name in ROWS if name in prediction}
    if may_copy_objects and rng.random() < 0.7:
        ends = repeated["relations"][0, :2]
        copies = {
            name: np.concatenate([prediction[name], prediction[name][ends]]) for name in ("boxes", "labels", "scores")
        }
        prediction = prediction | copies
        repeated["relations"] = np.array([[*rng.choice([ends, [n, n + 1]]), repeated["relations"][0, 2]]])
    ranked = "relation_scores" in prediction
    place = rng.integers(0 if ranked else row + 1, k + 1)  # before the row it would be a higher rank, not a repetition
    return prediction | {
        name: np.concatenate([prediction[name][:place], new, prediction[name][place:]])
        for name, new in repeated.items()
    }


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, mode=MODES)
def test_a_repeated_prediction_never_raises_a_strict_score(seed, mode):
    rng = np.random.default_rng(seed)
    predictions, references = random_images(seed, 3, mode)
    assume(any(len(prediction["relations"]) for prediction in predictions))
    for prediction in predictions:
        if "relation_scores" in prediction:
            prediction["relation_scores"] = rng.permutation(len(prediction["relations"])).astype(np.float32)
    repeated = [
        with_repeated_prediction(rng, prediction, mode == "sgdet") if len(prediction["relations"]) else prediction
        for prediction in predictions
    ]
    options = {"mode": mode, "protocol": "strict"}
    # Not only is nothing won: nothing is lost either.
    assert_same(recall_of(predictions, references, **options), recall_of(repeated, references, **options))


def test_a_repeated_prediction_can_raise_other_scores():
    """The property above is one of `strict`: where it holds for all, it would say little."""
    boxes = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
    reference = {"boxes": boxes[:2], "labels": [0, 1], "relations": [[0, 1, 2]]}
    graph = {
        "boxes": boxes[:2],
        "labels": [0, 1],
        "scores": [1, 1],
        "predicate_probabilities": [[0.1, 0.6, 0.2, 0, 0.1]],
    }
    graph["relations"] = [[0, 1, 1]]
    repeated = graph | {"relations": [[0, 1, 1], [0, 1, 2]]}  # the pair again, with its second guess
    repeated["predicate_probabilities"] = graph["predicate_probabilities"] * 2
    for protocol, won in (("speaq", 1), ("strict", 0)):
        before, after = (recall_of([p], [reference], protocol=protocol).compute()["R@20"] for p in (graph, repeated))
        assert (before, after) == (0, won)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, mode=MODES, protocol=protocols, cuts=st.lists(st.integers(0, 7), max_size=3).map(sorted))
def test_merging_any_split_equals_one_pass(seed, mode, protocol, cuts):
    predictions, references = random_images(seed, 7, mode)
    options = {"mode": mode, "protocol": protocol}
    parts = [
        recall_of(predictions[start:stop], references[start:stop], **options)
        for start, stop in zip([0, *cuts], [*cuts, 7], strict=True)
    ]
    parts = [pickle.loads(pickle.dumps(part)) for part in parts]
    merged = functools.reduce(SceneGraphRecall.merge, reversed(parts))
    whole = recall_of(predictions, references, **options)
    assert_same(merged, whole)
    assert repr(merged.intervals()) == repr(whole.intervals())
    assert merged.images_checksum == whole.images_checksum


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_size_of_batches_changes_nothing(protocol):
    predictions, references = random_images(3, 150)
    one_by_one = make_metric(protocol=protocol)
    for prediction, reference in zip(predictions, references, strict=True):
        one_by_one.add_batch([prediction], [reference])
    assert_same(one_by_one, recall_of(predictions, references, protocol=protocol))
