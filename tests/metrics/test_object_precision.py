"""Average precision of objects: hand-worked cases, the package on files, and what it does at the edges."""

import functools
import json
import math
import pickle
import random
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speaq_hf.metrics.image_batch import read_images
from speaq_hf.metrics.object_precision import ObjectPrecision
from speaq_hf.metrics.scene_graph_evaluator import RecallSettings, SceneGraphEvaluator


faster_coco_eval = pytest.importorskip("faster_coco_eval")
NUM_CLASSES = 4
SQUARE = [0, 0, 100, 100]


def detected(boxes, labels, scores):
    return {"boxes": boxes, "labels": labels, "scores": scores, "relations": []}


def annotated(boxes, labels, **fields):
    return {"boxes": boxes, "labels": labels, "relations": [], **fields}


def tally(predictions, references):
    precision = ObjectPrecision(NUM_CLASSES)
    precision.add_images(read_images(predictions, references, num_predicates=1))
    return precision


def evaluated(predictions, references):
    return tally(predictions, references).compute()


def random_images(seed, num_images, score_steps=None):
    rng = np.random.default_rng(seed)
    predictions, references = [], []
    for _ in range(num_images):
        n = rng.integers(0, 7)
        corners = rng.integers(0, 50, (n, 2))
        boxes = np.concatenate([corners, corners + rng.integers(5, 50, (n, 2))], axis=1).astype(np.float64)
        labels = rng.integers(0, NUM_CLASSES - 1, n)  # the last class never occurs
        references.append(annotated(boxes, labels))
        copies = np.repeat(np.arange(n), 3)
        noise = rng.normal(0, 5, (len(copies), 4))
        scores = rng.random(len(copies)) if score_steps is None else rng.integers(0, score_steps, len(copies)) / 4
        guessed = np.where(rng.random(len(copies)) < 0.7, labels[copies], rng.integers(0, NUM_CLASSES, len(copies)))
        predictions.append(detected(boxes[copies] + noise, guessed, scores.astype(np.float32)))
    return predictions, references


def test_hand_worked_case():
    """Of three detections the second is wrong, and the third overlaps its object by 0.82."""
    predictions = [
        detected([SQUARE, [300, 300, 400, 400]], [0, 0], [0.9, 0.8]),
        detected([[0, 0, 82, 100]], [0], [0.7]),
    ]
    results = evaluated(predictions, [annotated([SQUARE], [0])] * 2)
    # Recall 0.00 to 0.50 (51 of 101 points) is reached with precision 1, the rest with 2 of 3.
    with_both, with_one = (51 + 50 * 2 / 3) / 101, 51 / 101
    assert results["AP50"] == results["AP75"] == pytest.approx(with_both, abs=1e-12)
    assert results["AP"] == pytest.approx(
        (7 * with_both + 3 * with_one) / 10, abs=1e-12
    )  # 0.85, 0.90, 0.95 are missed
    assert results["AR100"] == pytest.approx((7 * 1 + 3 * 0.5) / 10, abs=1e-12)
    assert results["AP50_per_class"] == pytest.approx([with_both] + [math.nan] * 3, abs=1e-12, nan_ok=True)
    assert (results["num_images"], results["num_objects"], results["num_detections"]) == (2, 2, 3)


def coco_rows(graphs):
    for image, graph in enumerate(graphs, start=1):
        scores = graph.get("scores", [1.0] * len(graph["labels"]))
        for (x1, y1, x2, y2), label, score in zip(graph["boxes"], graph["labels"], scores, strict=True):
            bbox = list(map(float, (x1, y1, x2 - x1, y2 - y1)))
            yield {"image_id": image, "category_id": int(label) + 1, "bbox": bbox, "score": float(score)}


def test_equals_the_package_on_files(tmp_path):
    predictions, references = random_images(0, 40)
    objects = [
        {**row, "id": number, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}
        for number, row in enumerate(coco_rows(references), start=1)
    ]
    truth = {
        "images": [{"id": image, "width": 100, "height": 100} for image in range(1, 41)],
        "categories": [{"id": number + 1, "name": str(number)} for number in range(NUM_CLASSES)],
        "annotations": objects,
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "found.json").write_text(json.dumps(list(coco_rows(predictions))))
    coco = faster_coco_eval.COCO(str(tmp_path / "truth.json"))
    theirs = faster_coco_eval.COCOeval_faster(coco, coco.loadRes(str(tmp_path / "found.json")), "bbox")
    theirs.run()
    ours = evaluated(predictions, references)
    for name, theirs_name in {"AP": "AP_all", "AP50": "AP_50", "AP75": "AP_75", "AR100": "AR_third"}.items():
        assert ours[name] == pytest.approx(theirs.stats_as_dict[theirs_name], abs=1e-12), name
    per_class = theirs.eval["precision"][0, :, :, 0, -1].mean(axis=0)
    assert per_class[-1] == -1 and math.isnan(ours["AP50_per_class"][-1])
    assert ours["AP50_per_class"][:-1] == pytest.approx(per_class[:-1], abs=1e-12)
    assert 0.05 < ours["AP"] < ours["AP50"] < 1


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 6))
def test_neither_order_nor_split_changes_anything(seed, cut):
    images = list(zip(*random_images(seed, 6, score_steps=4), strict=True))  # many scores are equal
    expected = pickle.dumps(evaluated(*zip(*images, strict=True)))
    random.Random(seed).shuffle(images)
    parts = [tally(*zip(*part, strict=True)) for part in (images[:cut], images[cut:]) if part]
    merged = functools.reduce(ObjectPrecision.merge, [pickle.loads(pickle.dumps(part)) for part in parts])
    assert pickle.dumps(merged.compute()) == expected


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_perfect_detections_score_one(seed):
    _, references = random_images(seed, 3)
    predictions = [detected(truth["boxes"], truth["labels"], np.ones(len(truth["labels"]))) for truth in references]
    results = evaluated(predictions, references)
    if results["num_objects"]:
        assert [results[name] for name in ("AP", "AP50", "AP75", "AR100")] == pytest.approx([1] * 4)


def test_object_annotated_twice_wants_two_detections():
    twice = annotated([SQUARE, SQUARE], [0, 0])
    once_found = evaluated([detected([SQUARE], [0], [0.5])], [twice])
    assert once_found["AR100"] == 0.5 and once_found["AP50"] == pytest.approx(51 / 101)
    assert evaluated([detected([SQUARE] * 2, [0, 0], [0.5, 0.4])], [twice])["AP"] == pytest.approx(1)


def test_nothing_annotated_is_undefined_and_nothing_predicted_is_zero():
    for results in (evaluated([], []), evaluated([detected([SQUARE], [0], [0.5])], [annotated([], [])])):
        assert all(math.isnan(results[name]) for name in ("AP", "AP50", "AP75", "AR100"))
        assert all(map(math.isnan, results["AP50_per_class"]))
    results = evaluated([detected([], [], [])], [annotated([SQUARE], [2])])
    assert [results[name] for name in ("AP", "AP50", "AP75", "AR100")] == [0, 0, 0, 0]
    assert results["AP50_per_class"] == pytest.approx([math.nan, math.nan, 0, math.nan], nan_ok=True)


@pytest.mark.parametrize(("box", "found"), [([10, 0, 5, 10], 0), ([5, 0, 5, 10], 0), ([0, 0, 2e5, 2e5], 1)])
def test_objects_of_any_size_count(box, found):
    """Turned and empty boxes agree with nothing, and nothing is too large."""
    results = evaluated([detected([box], [0], [0.5])], [annotated([box], [0])])
    assert [results[name] for name in ("AP", "AP50", "AP75", "AR100")] == pytest.approx([found] * 4)


def test_detections_of_classes_that_never_occur_change_nothing():
    reference = annotated([SQUARE], [1])
    boxes = [[200, 0, 300, 100], SQUARE]
    assert evaluated([detected(boxes, [0, 1], [0.9, 0.5])], [reference])["AP"] == pytest.approx(1)
    assert evaluated([detected(boxes, [1, 1], [0.9, 0.5])], [reference])["AP"] == pytest.approx(0.5)


@pytest.mark.parametrize(("num_wrong", "recall"), [(99, 1), (100, 0)])
def test_only_the_best_hundred_of_a_class_count(num_wrong, recall):
    boxes = [[200, 200, 300, 300]] * num_wrong + [SQUARE, SQUARE]
    labels = [0] * (num_wrong + 1) + [1]  # another class has a hundred of its own
    scores = np.linspace(1, 0.5, num_wrong).tolist() + [0.1, 0.1]
    results = evaluated([detected(boxes, labels, scores)], [annotated([SQUARE, SQUARE], [0, 1])])
    assert results["AR100"] == (recall + 1) / 2


def test_tally_of_the_evaluator():
    predictions, references = random_images(1, 5)
    evaluator = SceneGraphEvaluator(RecallSettings(1), tallies={"objects": ObjectPrecision(NUM_CLASSES)})
    evaluator.add_batch(predictions, references)
    assert pickle.dumps(evaluator.compute()["objects"]) == pickle.dumps(evaluated(predictions, references))


def test_images_that_the_tally_refuses_do_not_count_as_recall():
    evaluator = SceneGraphEvaluator(RecallSettings(1), tallies={"objects": ObjectPrecision(NUM_CLASSES)})
    related = annotated([SQUARE], [0]) | {"relations": [[0, 0, 0]]}
    with pytest.raises(ValueError, match="there are 4 classes"):
        evaluator.add_batch([detected([SQUARE], [4], [0.5])], [related])
    results = evaluator.compute()
    assert results["num_images_added"] == results["objects"]["num_images"] == 0
    assert results["protocols"]["strict"]["metrics"]["num_images"] == 0


def test_mistakes_are_named(monkeypatch):
    with pytest.raises(ValueError, match="Prediction of image 1: `labels` row 0 is 4, but there are 4 classes"):
        evaluated([detected([SQUARE], [label], [0.5]) for label in (3, 4)], [annotated([SQUARE], [0])] * 2)
    with pytest.raises(ValueError, match=r"`num_classes` differs \(4 and 5\)"):
        ObjectPrecision(4).merge(ObjectPrecision(5))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        ObjectPrecision(0)
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ImportError, match=r'pip install "speaq_hf\[eval\]"'):
        ObjectPrecision(4)
