"""Paired comparison of two models."""

import numpy as np
import pytest

from speaq_hf.metrics import SceneGraphRecall, compare_recall


P = 4


def images_of(num_images, hit_rates, seed=0):
    """Annotations of five relations each, and for every hit rate a model that finds each relation with it. What makes an
    image hard, its own rate, is shared by the models."""
    rng = np.random.default_rng(seed)
    boxes = np.array([[20 * i, 0, 20 * i + 10, 10] for i in range(6)], dtype=np.float32)
    references, predictions = [], [[] for _ in hit_rates]
    for image_id in range(num_images):
        relations = np.column_stack([np.arange(5), np.arange(1, 6), rng.integers(0, P, 5)])
        graph = {"boxes": boxes, "labels": np.arange(6)}
        references.append(graph | {"relations": relations, "image_id": image_id})
        easy = rng.random(5) < rng.random()
        for rate, rows in zip(hit_rates, predictions, strict=True):
            found = easy & (rng.random(5) < rate)
            wrong = relations + [0, 0, 1]
            wrong[:, 2] %= P
            rows.append(graph | {"scores": np.ones(6), "relations": np.where(found[:, None], relations, wrong)})
    return predictions, references


def recall_of(predictions, references, **overrides):
    options = {"num_predicates": P, "ks": (5, 10), "num_replicates": 400, "predicate_counts": [9, 5, 2, 1]}
    metric = SceneGraphRecall(**(options | overrides))
    metric.add_batch(predictions, references)
    return metric


def test_a_model_does_not_differ_from_itself():
    (model,), references = images_of(40, [0.9])
    differences = compare_recall(recall_of(model, references), recall_of(model[::-1], references[::-1]))
    assert {"R@5", "mR@10", "ng-F@5", "mR-tail@5", "micro-R@10", "phrase-R@5"} <= differences.keys()
    for difference in differences.values():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0) and not difference.is_significant


def test_the_better_model_is_known_by_its_sign():
    (better, worse), references = images_of(300, [0.95, 0.8])
    better, worse = recall_of(better, references), recall_of(worse, references)
    ahead, behind = compare_recall(better, worse), compare_recall(worse, better)
    for name in ("R@5", "mR@5", "F@5", "micro-R@5"):
        assert ahead[name].value == better.compute()[name] - worse.compute()[name]
        assert 0 < ahead[name].low < ahead[name].value < ahead[name].high and ahead[name].is_significant
        assert behind[name].value == -ahead[name].value and behind[name].is_significant
        assert behind[name].high == pytest.approx(-ahead[name].low, abs=1e-12)


def test_pairing_narrows_the_interval():
    models, references = images_of(300, [0.95, 0.9])
    a, b = (recall_of(model, references) for model in models)
    paired = compare_recall(a, b)["R@5"]
    unpaired = a.replicates()["R@5"][1:201] - b.replicates()["R@5"][201:]  # replicates of unlike draws
    low, high = np.quantile(unpaired, [0.025, 0.975])
    assert paired.high - paired.low < 0.5 * (high - low)


def test_wider_confidence_gives_wider_intervals():
    models, references = images_of(50, [0.95, 0.9])
    a, b = (recall_of(model, references) for model in models)
    narrow, wide = (compare_recall(a, b, confidence)["R@5"] for confidence in (0.5, 0.99))
    assert wide.low < narrow.low <= narrow.value <= narrow.high < wide.high
    for confidence in (0, 1, 95):
        with pytest.raises(ValueError, match=rf"confidence must be in \(0, 1\), got {confidence}"):
            compare_recall(a, b, confidence)


def test_an_undefined_number_is_not_significant():
    models, references = images_of(20, [0.95, 0.5])
    a, b = (recall_of(model, references, zero_shot_triplets=[]) for model in models)
    difference = compare_recall(a, b)["zR@5"]
    assert np.isnan([difference.value, difference.low, difference.high]).all() and not difference.is_significant


def test_what_cannot_be_compared_is_refused():
    (model,), references = images_of(10, [0.9])
    metric = recall_of(model, references)
    for overrides, name in (
        ({"protocol": "strict"}, "protocol"),
        ({"ks": (5,)}, "ks"),
        ({"num_replicates": 7}, "num_replicates"),
    ):
        with pytest.raises(ValueError, match=f"Cannot compare: `{name}` differs"):
            compare_recall(metric, recall_of(model, references, **overrides))
    with pytest.raises(ValueError, match="not the same images"):
        compare_recall(metric, recall_of(model[1:], references[1:]))
    renamed = [reference | {"image_id": reference["image_id"] + 100} for reference in references]
    with pytest.raises(ValueError, match="not the same images"):
        compare_recall(metric, recall_of(model, renamed))
    plain = recall_of(model, references, num_replicates=0)
    with pytest.raises(ValueError, match="num_replicates=1000"):
        compare_recall(plain, plain)
