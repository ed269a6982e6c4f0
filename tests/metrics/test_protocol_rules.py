"""Numbers worked out by hand: one small case for each rule in which protocols differ, under both settings, and one for each
number that is not plain recall."""

import dataclasses

import pytest

from speaq_hf.metrics import PROTOCOLS, EvaluationProtocol, SceneGraphRecall


P = 4
# Three objects of different classes, side by side.
BOXES = [[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]]
SCENE = {"boxes": BOXES, "labels": [0, 1, 2]}


def predicted(*relations, **fields):
    graph = SCENE | fields
    return graph | {"scores": fields.get("scores", [1.0] * len(graph["boxes"])), "relations": list(relations)}


def annotated(*relations, **fields):
    return SCENE | {"relations": list(relations)} | fields


def results_of(predictions, references, **options):
    metric = SceneGraphRecall(P, **({"ks": (1, 2, 20)} | options))
    metric.add_batch(predictions, references)
    return metric.compute()


def under(rule, value, prediction, reference, **options):
    """The numbers of one image when a rule has a value; the other rules are those of `speaq`."""
    protocol = dataclasses.replace(PROTOCOLS["speaq"], name="changed", **{rule: value})
    return results_of([prediction], [reference], protocol=protocol, **options)


def test_box_matching():
    """The predicted box overlaps two annotated boxes of its class, by 1 and by 0.89."""
    reference = annotated([0, 1, 2], [3, 1, 2], boxes=[*BOXES, [0, 0, 9, 8]], labels=[0, 1, 2, 0])
    prediction = predicted([0, 1, 2])
    assert under("box_matching", "overlap", prediction, reference)["R@1"] == 1
    assert under("box_matching", "best", prediction, reference)["R@1"] == 0.5


def test_box_matching_looks_at_classes_first():
    """The box it overlaps most has another class: the next best counts."""
    reference = annotated([3, 1, 2], boxes=[*BOXES, [0, 0, 9, 8]], labels=[2, 1, 2, 0])
    assert under("box_matching", "best", predicted([0, 1, 2]), reference)["R@1"] == 1


def test_box_offset():
    """Half a box: 4 * 9 of 9 * 9 pixels, 5 * 10 of 10 * 10 with the last pixel counted."""
    prediction, reference = predicted([0, 1, 2], boxes=[[0, 0, 9, 4], *BOXES[1:]]), annotated([0, 1, 2])
    assert under("box_offset", 0, prediction, reference)["R@1"] == 0
    assert under("box_offset", 1, prediction, reference)["R@1"] == 1
    assert under("box_offset", 1, prediction, reference, iou_threshold=0.51)["R@1"] == 0


def test_rank_by_score():
    """The right relation is given second and scored first; equal scores keep their order."""
    reference = annotated([0, 1, 2])
    better_last = predicted([0, 2, 2], [0, 1, 2], relation_scores=[0.1, 0.9])
    assert under("rank_by_score", False, better_last, reference)["R@1"] == 0
    assert under("rank_by_score", True, better_last, reference)["R@1"] == 1
    assert under("rank_by_score", True, better_last, reference)["ng-R@1"] == 1
    tied = predicted([0, 2, 2], [0, 1, 2], relation_scores=[0.5, 0.5])
    assert under("rank_by_score", True, tied, reference)["R@1"] == 0


def test_merge_identical_objects():
    """A pair is named twice, the second time by a copy of its subject."""
    copied = {"boxes": [*BOXES, [-0.0, 0, 9, 9]], "labels": [0, 1, 2, 0]}  # -0 is 0
    reference = annotated([0, 1, 2])
    second_guess = predicted([0, 1, 1], [3, 1, 2], **copied)
    for merged, recall in ((False, 1), (True, 0)):
        protocol = EvaluationProtocol("one", one_predicate_per_pair=True, merge_identical_objects=merged)
        assert results_of([second_guess], [reference], protocol=protocol)["R@20"] == recall
    other_class = second_guess | {"labels": [0, 1, 2, 1]}
    protocol = EvaluationProtocol("one", one_predicate_per_pair=True, merge_identical_objects=True)
    assert results_of([other_class], [annotated([0, 1, 2], labels=[1, 1, 2])], protocol=protocol)["R@20"] == 1


def test_merged_objects_have_the_best_score():
    """Without graph constraint, row 0 (0.2 * 1 * 0.9) would lose to row 1 (0.5 * 1 * 0.5) with its own subject's score."""
    prediction = predicted(
        *([0, 1, 2], [2, 1, 3]),
        boxes=[*BOXES, BOXES[0]],
        labels=[0, 1, 2, 0],
        scores=[0.2, 1.0, 0.5, 0.8],
        predicate_probabilities=[[0, 0, 0.9, 0, 0.1], [0, 0, 0, 0.5, 0.5]],
    )
    reference = annotated([0, 1, 2])
    assert under("merge_identical_objects", False, prediction, reference)["ng-R@1"] == 0
    assert under("merge_identical_objects", True, prediction, reference)["ng-R@1"] == 1


def test_merge_identical_predictions():
    """A wrong relation twice, then the right one."""
    prediction, reference = predicted([0, 1, 1], [0, 1, 1], [0, 2, 3]), annotated([0, 2, 3])
    for value, recall in ((False, 0), (True, 1)):
        results = under("merge_identical_predictions", value, prediction, reference)
        assert (results["R@2"], results["ng-R@2"]) == (recall, recall)


def test_merge_identical_predictions_without_graph_constraint():
    """Of two rows of a pair the better probability of each predicate counts, and the pair takes one place for it."""
    probabilities = [[0, 0.6, 0, 0.1, 0.3], [0, 0.7, 0, 0.5, 0], [0.55, 0, 0, 0, 0.45]]
    prediction = predicted([0, 1, 1], [0, 1, 1], [0, 2, 0], predicate_probabilities=probabilities)
    expected = {  # by rule and relation, the first K of (1, 2, 3, 4) that finds it
        False: {(0, 1, 1): 1, (0, 2, 0): 3, (0, 1, 3): 4},
        True: {(0, 1, 1): 1, (0, 2, 0): 2, (0, 1, 3): 3},
    }
    for value, places in expected.items():
        for relation, place in places.items():
            results = under("merge_identical_predictions", value, prediction, annotated(relation), ks=(1, 2, 3, 4))
            assert [results[f"ng-R@{k}"] for k in (1, 2, 3, 4)] == [float(k >= place) for k in (1, 2, 3, 4)]


def test_one_predicate_per_pair():
    """The right predicate is the second guess for a pair."""
    prediction, reference = predicted([0, 1, 1], [0, 1, 2]), annotated([0, 1, 2])
    assert under("one_predicate_per_pair", False, prediction, reference)["R@2"] == 1
    assert under("one_predicate_per_pair", True, prediction, reference)["R@20"] == 0
    assert under("one_predicate_per_pair", True, prediction, reference)["ng-R@2"] == 1
    swapped = predicted([0, 1, 1], [1, 0, 2])  # another pair
    assert under("one_predicate_per_pair", True, swapped, annotated([1, 0, 2]))["R@2"] == 1


def test_no_graph_constraint_limit():
    """The right predicate is the third best."""
    prediction = predicted([0, 1, 0], predicate_probabilities=[[0.4, 0.3, 0.2, 0.1, 0]])
    for limit, recall in ((2, 0), (3, 1), (None, 1)):
        assert under("no_graph_constraint_limit", limit, prediction, annotated([0, 1, 2]))["ng-R@20"] == recall


def test_merge_identical_annotations():
    """Three times the relation that is found, once another."""
    reference = annotated([0, 1, 2], [0, 1, 2], [0, 1, 2], [1, 0, 3])
    for value, recall in ((False, 0.75), (True, 0.5)):
        results = under("merge_identical_annotations", value, predicted([0, 1, 2]), reference)
        assert (results["R@1"], results["micro-R@1"], results["ng-R@1"]) == (recall, recall, recall)


def test_skip_images_without_predictions():
    reference = annotated([0, 1, 2])
    for value, recall, images in ((True, 1, 1), (False, 0.5, 2)):
        protocol = EvaluationProtocol("own", skip_images_without_predictions=value)
        results = results_of([predicted([0, 1, 2]), predicted()], [reference] * 2, protocol=protocol)
        assert (results["R@1"], results["micro-R@1"], results["num_images"]) == (recall, recall, images)
        assert results["recall_per_predicate@1"][2] == recall
        assert results["num_images_without_predictions"] == 1


def test_absent_predicates_count_as_zero():
    """One of four predicates is annotated."""
    prediction, reference = predicted([0, 1, 2]), annotated([0, 1, 2])
    assert under("absent_predicates_count_as_zero", True, prediction, reference)["mR@1"] == 0.25
    assert under("absent_predicates_count_as_zero", False, prediction, reference)["mR@1"] == 1


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("box_matching", "hungarian"),
        ("box_offset", 2),
        ("box_offset", True),
        ("no_graph_constraint_limit", 0),
        ("no_graph_constraint_limit", 2.5),
        ("rank_by_score", "no"),
        ("skip_images_without_predictions", 1),
    ],
)
def test_impossible_rules_are_refused(rule, value):
    with pytest.raises(ValueError, match=f"{rule} must be .*, got {value!r}"):
        EvaluationProtocol("mine", **{rule: value})


def test_every_rule_has_its_case():
    rules = set(PROTOCOLS["speaq"].rules)
    assert {name.removeprefix("test_") for name in globals()} >= rules


# What the named protocols say of the same predictions.


@pytest.mark.parametrize(
    ("protocol", "recall", "mean_recall"),
    [("speaq", 1, 0.25), ("sgb", 0, 0), ("sgbench", 1 / 2, 1 / 2), ("strict", 0, 0)],
)
def test_the_protocols_disagree(protocol, recall, mean_recall):
    """A second guess is right, and the second image has no prediction."""
    second_guess, silent = predicted([0, 1, 1], [0, 1, 2]), predicted()
    results = results_of([second_guess, silent], [annotated([0, 1, 2])] * 2, protocol=protocol)
    assert (results["R@20"], results["mR@20"]) == (recall, mean_recall)
    assert (results["protocol"], results["protocol_fingerprint"]) == (protocol, PROTOCOLS[protocol].fingerprint)


# Other numbers than plain recall.

# Image 1: of (0, 1, 2), (1, 0, 3) and (0, 2, 1) the first prediction finds the first, the second the last.
# Image 2: nothing of (0, 1, 2) is found.
TWO_IMAGES = (
    [predicted([0, 1, 2], [0, 2, 1]), predicted([0, 1, 0])],
    [annotated([0, 1, 2], [1, 0, 3], [0, 2, 1]), annotated([0, 1, 2])],
)


def test_mean_and_micro_recall():
    results = results_of(*TWO_IMAGES)
    assert results["R@1"] == pytest.approx((1 / 3 + 0) / 2) and results["R@2"] == pytest.approx((2 / 3 + 0) / 2)
    assert (results["micro-R@1"], results["micro-R@2"]) == (1 / 4, 2 / 4)
    assert results["recall_per_predicate@1"] == [0, 0, 1 / 2, 0]
    assert results["recall_per_predicate@2"] == [0, 1, 1 / 2, 0]
    assert (results["mR@1"], results["mR@2"]) == (1 / 8, 3 / 8)
    assert results_of(*TWO_IMAGES, protocol="strict")["mR@2"] == (1 + 1 / 2 + 0) / 3


def test_harmonic_mean():
    results = results_of(*TWO_IMAGES)
    recall, mean_recall = 1 / 3, 3 / 8
    assert results["F@2"] == pytest.approx(2 * recall * mean_recall / (recall + mean_recall))
    assert results_of([predicted([1, 0, 0])], [annotated([0, 1, 2])])["F@2"] == 0


def test_thirds():
    """By frequency 2, 0, 3, 1, of which the head takes two; equal counts in the order of their numbers."""
    results = results_of(*TWO_IMAGES, predicate_counts=[7, 1, 9, 7])
    assert (results["mR-head@2"], results["mR-body@2"], results["mR-tail@2"]) == ((1 / 2 + 0) / 2, 0, 1)
    strict = results_of(*TWO_IMAGES, predicate_counts=[7, 1, 9, 7], protocol="strict")
    assert strict["mR-head@2"] == 1 / 2  # predicate 0 has no annotation
    assert not any("head" in name for name in results_of(*TWO_IMAGES))


def test_zero_shot_recall():
    """Image 1 has two unseen triplets, of which the second is found at place 2; image 2 has none."""
    unseen = [[1, 0, 3], [0, 2, 1]]
    results = results_of(*TWO_IMAGES, zero_shot_triplets=unseen)
    assert (results["zR@1"], results["zR@2"]) == (0, 1 / 2)


def test_without_graph_constraint():
    """The predicates of both pairs compete: (0, 1, 3), (0, 2, 1), (0, 1, 2), (0, 2, 0) from best to worst."""
    probabilities = [[0, 0, 0.3, 0.6, 0.1], [0.2, 0.5, 0, 0, 0.3]]
    prediction = predicted([0, 1, 3], [0, 2, 1], predicate_probabilities=probabilities)
    reference = annotated([0, 1, 2], [0, 2, 1], [0, 2, 0])
    results = results_of(
        *([prediction], [reference]), ks=(1, 2, 3, 4), zero_shot_triplets=[[0, 1, 2], [0, 2, 0]], protocol="strict"
    )
    assert [results[f"ng-R@{k}"] for k in (1, 2, 3, 4)] == [0, 1 / 3, 2 / 3, 1]
    assert [results[f"ng-zR@{k}"] for k in (1, 2, 3, 4)] == [0, 0, 1 / 2, 1]
    assert [results[f"ng-mR@{k}"] for k in (1, 2, 3, 4)] == [0, 1 / 3, 2 / 3, 1]
    assert results["ng-recall_per_predicate@3"][:3] == [0, 1, 1]
    assert [results[f"zR@{k}"] for k in (2, 4)] == [0, 0] and results["R@4"] == 1 / 3
    assert results["ng-F@3"] == pytest.approx(2 / 3) and results["ng-micro-R@2"] == 1 / 3


def test_phrase_detection():
    """Each box alone overlaps too little (1/3), the boxes around both enough: 29 * 9 of 35 * 9 pixels."""
    shifted = predicted([0, 1, 2], boxes=[[-3, 0, 3, 9], [26, 0, 32, 9], BOXES[2]])
    reference = annotated([0, 1, 2])
    results = results_of([shifted], [reference])
    assert (results["R@20"], results["phrase-R@1"]) == (0, 1)
    assert results_of([shifted], [reference], iou_threshold=29 / 35 + 0.01)["phrase-R@1"] == 0
    wrong_class = shifted | {"labels": [0, 2, 2]}
    assert results_of([wrong_class], [reference])["phrase-R@1"] == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pair_accuracy(protocol):
    """Only predictions on annotated pairs count, so that the first K of them reach further."""
    prediction = predicted([1, 2, 0], [2, 1, 0], [0, 1, 2], [1, 0, 0])
    reference = annotated([0, 1, 2], [1, 0, 3])
    results = results_of([prediction], [reference], mode="predcls", protocol=protocol)
    assert (results["R@2"], results["pair_accuracy@1"], results["pair_accuracy@2"]) == (0, 0.5, 0.5)


def test_pair_accuracy_finds_pairs_of_merged_objects():
    """An object is annotated twice, and the relation with its second copy."""
    twice = {"boxes": [*BOXES, BOXES[0]], "labels": [0, 1, 2, 0]}
    prediction, reference = predicted([3, 1, 2], **twice), annotated([3, 1, 2], **twice)
    assert results_of([prediction], [reference], mode="predcls", protocol="strict")["pair_accuracy@1"] == 1


def test_scores_below_zero_rank_like_others():
    """Object scores of other programs may be logits; with more pairs than K, only scores that can be among the best are
    sorted."""
    prediction = predicted(
        *([0, 1, 0], [0, 2, 0]),
        scores=[-1.0, 1.0, 2.0],
        predicate_probabilities=[[0.5, 0.2, 0.2, 0.1, 0], [0.5, 0.2, 0.2, 0.1, 0]],
    )
    for protocol in PROTOCOLS:  # -0.1 is the best, for predicate 3 of the first pair
        results = results_of([prediction], [annotated([0, 1, 3])], ks=(1,), protocol=protocol)
        assert results["ng-R@1"] == 1
