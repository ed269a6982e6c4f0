import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import speaq_hf.metrics
from speaq_hf.metrics import PROTOCOLS, SceneGraphRecall
from speaq_hf.metrics.image_triplets import ImageTriplets
from speaq_hf.metrics.scene_graph_evaluator import RecallSettings, SceneGraphEvaluator
from speaq_hf.scene_graph import SceneGraph
from tests.helpers import REFERENCE
from tests.metrics.recorded_images import recorded_inputs, recorded_predictions, recorded_references


RECORDED = json.loads((REFERENCE / "evaluation_results.json").read_text())
VARIANTS = ("sgdet", "predcls", "sgcls", "sgdet_iou_0.3")
KS = (20, 50, 100)
P = 4  # predicates of the made-up scenes


def recorded_metric(variant):
    recorded = RECORDED[variant]
    zero_shot = recorded_inputs()["zero_shot_triplets_one_based"] - 1
    return SceneGraphRecall(
        50, KS, mode=recorded["mode"], iou_threshold=recorded["iou_threshold"], zero_shot_triplets=zero_shot
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_averages_equal_the_published_program(variant):
    recorded = RECORDED[variant]
    metric = recorded_metric(variant)
    metric.add_batch(recorded_predictions(recorded["mode"]), recorded_references())
    results = metric.compute()
    names = {"R": "recall", "ng-R": "ng_recall", "zR": "zero_shot_recall", "mR": "mean_recall"}
    if recorded["mode"] != "sgdet":
        names["pair_accuracy"] = "pair_accuracy"
    for ours, theirs in names.items():
        for k in KS:
            assert results[f"{ours}@{k}"] == pytest.approx(recorded[theirs][str(k)], abs=1e-12), (ours, k)
    for k in KS:
        per_predicate = recorded["mean_recall_per_predicate"][str(k)]
        assert results[f"recall_per_predicate@{k}"] == pytest.approx(per_predicate, abs=1e-12)
        assert results[f"R@{k}"] == pytest.approx(recorded["reported"][f"SGRecall@{k}"], abs=1e-12)
        assert results[f"mR@{k}"] == pytest.approx(recorded["reported"][f"SGMeanRecall@{k}"], abs=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_image_equals_the_published_program(variant):
    recorded = RECORDED[variant]
    per_image = []
    for prediction, reference in zip(recorded_predictions(recorded["mode"]), recorded_references(), strict=True):
        metric = recorded_metric(variant)
        metric.add_batch([prediction], [reference])
        per_image.append(metric.compute())
    included = [i for i, image in enumerate(per_image) if image["num_images"]]
    assert included == RECORDED["included_images_sgdet"]
    for k in KS:
        key = str(k)
        assert [per_image[i][f"R@{k}"] for i in included] == recorded["recall_per_image"][key]
        assert [per_image[i][f"ng-R@{k}"] for i in included] == recorded["ng_recall_per_image"][key]
        zero_shot = [i for i, image in enumerate(per_image) if not math.isnan(image[f"zR@{k}"])]
        assert zero_shot == recorded["zero_shot_image_index"][key]
        assert [per_image[i][f"zR@{k}"] for i in zero_shot] == recorded["zero_shot_per_image"][key]
        if recorded["mode"] != "sgdet":
            hits, counts = (np.array(recorded[f"pair_accuracy_{n}"][key]) for n in ("hits", "counts"))
            assert [per_image[i][f"pair_accuracy@{k}"] for i in included] == (hits / counts).tolist()


def random_reference(rng, num_objects=None, num_relations=None):
    n = rng.integers(1, 6) if num_objects is None else num_objects
    r = rng.integers(0, 6) if num_relations is None else num_relations
    corners = rng.integers(0, 50, (n, 2))
    return {
        "boxes": np.concatenate([corners, corners + rng.integers(1, 50, (n, 2))], axis=1).astype(np.float32),
        "labels": rng.integers(0, 3, n),
        "relations": np.column_stack([rng.integers(0, max(n, 1), (r, 2)), rng.integers(0, P, r)]),
    }


def random_prediction(rng, reference):
    n, k = len(reference["boxes"]), rng.integers(0, 12)
    return {
        "boxes": reference["boxes"] + rng.integers(-8, 8, (n, 4)).astype(np.float32),
        "labels": np.where(rng.random(n) < 0.7, reference["labels"], rng.integers(0, 3, n)),
        "scores": rng.random(n, dtype=np.float32),
        "relations": np.column_stack([rng.integers(0, n, (k, 2)), rng.integers(0, P, k)]),
        "predicate_probabilities": rng.dirichlet(np.ones(P + 1), k).astype(np.float32).reshape(k, P + 1),
    }


def perfect_prediction(reference):
    graph = SceneGraph.from_annotation(
        **reference, image_size=(100, 100), id2label=dict(enumerate("abc")), id2predicate=dict(enumerate("wxyz"))
    )
    return graph


def make_metric(**overrides):
    options = {"num_predicates": P, "ks": (1, 2, 5, 20), "zero_shot_triplets": [[0, 1, 0], [1, 1, 2], [2, 0, 3]]}
    return SceneGraphRecall(**(options | overrides))


def evaluated(predictions, references, **overrides):
    metric = make_metric(**overrides)
    metric.add_batch(predictions, references)
    return metric.compute()


def equal(a, b):
    """Bit for bit, nan equal to nan."""
    return pickle.dumps(a) == pickle.dumps(b) or json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def random_images(seed, num_images):
    rng = np.random.default_rng(seed)
    references = [random_reference(rng) for _ in range(num_images)]
    return [random_prediction(rng, reference) for reference in references], references


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), mode=st.sampled_from(["sgdet", "sgcls", "predcls"]))
def test_perfect_predictions_recall_everything(seed, mode):
    rng = np.random.default_rng(seed)
    references = [random_reference(rng, num_relations=5) for _ in range(3)]
    predictions = [perfect_prediction(reference) for reference in references]
    results = evaluated(predictions, references, mode=mode, zero_shot_triplets=None)
    assert results["R@5"] == results["R@20"] == 1
    annotated = {int(p) for reference in references for p in reference["relations"][:, 2]}
    assert results["recall_per_predicate@20"] == [float(p in annotated) for p in range(P)]
    assert results["mR@20"] == len(annotated) / P
    assert results["ng-R@20"] == 1


def one_relation(**overrides):
    prediction = {
        "boxes": [[0, 0, 10, 10], [20, 0, 30, 10]],
        "labels": [0, 1],
        "scores": [1.0, 1.0],
        "relations": [[0, 1, 2]],
        "predicate_probabilities": [[0.1, 0.1, 0.6, 0.1, 0.1]],
    }
    reference = {"boxes": prediction["boxes"], "labels": [0, 1], "relations": [[0, 1, 2]]}
    return prediction | overrides, reference


def test_one_prediction_hits_duplicates_and_duplicates_count():
    prediction, reference = one_relation()
    reference["relations"] = [[0, 1, 2], [0, 1, 2], [0, 1, 3], [1, 0, 2]]
    assert evaluated([prediction], [reference])["R@1"] == 0.5


def test_pair_and_classes_must_agree():
    for field, value in (("relations", [[1, 0, 2]]), ("relations", [[0, 1, 3]]), ("labels", [0, 0])):
        prediction, reference = one_relation(**{field: value})
        assert evaluated([prediction], [reference])["R@20"] == 0


def test_given_boxes_and_classes_come_from_the_reference():
    wrong = {"boxes": [[90, 90, 99, 99]] * 2, "labels": [2, 2]}
    prediction, reference = one_relation(**wrong)
    assert evaluated([prediction], [reference], mode="predcls")["R@1"] == 1
    assert evaluated([prediction], [reference], mode="sgcls")["R@1"] == 0
    prediction["labels"] = [0, 1]
    assert evaluated([prediction], [reference], mode="sgcls")["R@1"] == 1
    assert evaluated([prediction], [reference], mode="sgdet")["R@1"] == 0
    for name in ("boxes", "labels", "scores"):
        del prediction[name]
    assert evaluated([prediction], [reference], mode="predcls")["R@1"] == 1


def test_images_without_predictions_or_relations_are_left_out():
    good, reference = one_relation()
    silent, _ = one_relation(boxes=[], labels=[], scores=[], relations=[], predicate_probabilities=[])
    bare = {"boxes": [], "labels": [], "relations": []}
    results = evaluated([good, silent, good], [reference, reference, bare])
    assert (results["R@1"], results["num_images"]) == (1, 1)
    assert (results["num_images_without_predictions"], results["num_images_without_relations"]) == (1, 1)
    results = evaluated([good, silent], [reference, reference], protocol="strict")
    assert (results["R@1"], results["ng-R@1"], results["mR@1"], results["num_images"]) == (0.5, 0.5, 0.5, 2)


def test_undefined_numbers_are_nan_or_absent():
    empty = evaluated([], [], mode="predcls")
    assert all(math.isnan(empty[f"{name}@5"]) for name in ("R", "ng-R", "zR", "mR", "F", "pair_accuracy"))
    prediction, reference = one_relation()
    results = evaluated([prediction], [reference], zero_shot_triplets=[])
    assert math.isnan(results["zR@1"]) and results["R@1"] == 1
    assert not any(key.startswith("zR") for key in evaluated([prediction], [reference], zero_shot_triplets=None))
    assert not any(key.startswith("pair_accuracy") for key in results)


def test_graph_and_its_json_give_the_same_numbers():
    rng = np.random.default_rng(3)
    reference = random_reference(rng, 5, 5)
    names = {"image_size": (100, 100), "id2label": dict(enumerate("abc")), "id2predicate": dict(enumerate("wxyz"))}
    prediction = random_prediction(rng, reference)
    k = len(prediction["relations"])
    graph = SceneGraph(**prediction, relation_scores=np.ones(k), query_indices=np.arange(k), **names)
    truth = SceneGraph.from_annotation(**reference, **names)
    from_graph = evaluated([graph], [truth])
    assert equal(from_graph, evaluated([json.loads(json.dumps(graph.to_dict()))], [truth.to_dict()]))
    assert from_graph["num_images"] == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"scores": [1.0, math.nan]}, "Prediction of image 1: `scores` holds NaN"),
        ({"predicate_probabilities": [[math.nan] * 5]}, "image 1: `predicate_probabilities` holds NaN"),
        ({"relations": [[0, 2, 2]]}, r"image 1: `relations` row 0 is \[0, 2, 2\], but there are 2 objects"),
        ({"relations": [[0, 1, P]]}, "image 1: `relations` row 0 .* 4 predicates"),
        ({"predicate_probabilities": [[0.5, 0.5]]}, r"must have shape \(n, 5\), got \(1, 2\)"),
        ({"scores": [1.0]}, "`scores` has 1 rows but `boxes` has 2"),
        ({"labels": [0.0, 1.0]}, "`labels` must hold integers"),
    ],
)
def test_faulty_prediction_is_named_and_nothing_is_added(overrides, message):
    metric = make_metric()
    good, reference = one_relation()
    bad, _ = one_relation(**overrides)
    with pytest.raises(ValueError, match=message):
        metric.add_batch([good, bad], [reference, reference])
    assert metric.compute()["num_images"] == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_tensors_of_every_precision_are_read(dtype):
    prediction, reference = one_relation()
    fields = ("boxes", "scores", "predicate_probabilities")
    tensors = {name: torch.tensor(prediction[name], dtype=dtype) for name in fields}
    read = ImageTriplets.from_prediction(prediction | tensors, P, "image")
    for name, tensor in tensors.items():
        assert getattr(read, name).tolist() == tensor.float().tolist()


def test_faulty_reference_is_named_with_the_running_number():
    metric = make_metric()
    prediction, reference = one_relation()
    metric.add_batch([prediction], [reference])
    with pytest.raises(ValueError, match=r"Reference of image 1: `relations` row 0 is \[0, 5, 0\]"):
        metric.add_batch([prediction], [reference | {"relations": [[0, 5, 0]]}])
    with pytest.raises(ValueError, match="Reference of image 1: the field `boxes` is missing"):
        metric.add_batch([prediction], [{"labels": [], "relations": []}])
    with pytest.raises(ValueError, match="2 predictions do not fit 1 references"):
        metric.add_batch([prediction] * 2, [reference])


def test_given_objects_must_be_as_many_as_annotated():
    _, reference = one_relation()
    graph = perfect_prediction({"boxes": [[0, 0, 1, 1]], "labels": [0], "relations": []})
    with pytest.raises(ValueError, match="needs the 2 objects of the reference in its order, got 1"):
        evaluated([graph], [reference], mode="predcls")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"protocol": "coco"}, "protocol must be one of .*'speaq', 'strict'.*got 'coco'"),
        ({"mode": "phrdet"}, "mode must be one of"),
        ({"ks": ()}, "ks must hold"),
        ({"ks": (0, 20)}, "ks must hold"),
        ({"ks": (20.7,)}, "ks must hold whole numbers"),
        ({"ks": (10**20,)}, "ks must hold"),
        ({"ks": 20}, "ks must hold"),
        ({"iou_threshold": 50}, r"in \[0, 1\], got 50"),
        ({"num_predicates": 0}, "at least 1"),
        ({"zero_shot_triplets": [[1, 2]]}, r"shape \(z, 3\)"),
        ({"zero_shot_triplets": [[0, 0, 1], [0, 0, P]]}, r"counted from 0 with 4 predicates, got \[0, 0, 4\]"),
        ({"zero_shot_triplets": [[0, -1, 1]]}, r"got \[0, -1, 1\]"),
    ],
)
def test_impossible_settings_are_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        make_metric(**overrides)


def test_metrics_with_other_settings_do_not_merge():
    with pytest.raises(ValueError, match="`iou_threshold` differs"):
        make_metric().merge(make_metric(iou_threshold=0.3))


@pytest.mark.parametrize("protocol", ["strict", PROTOCOLS["strict"]], ids=["name", "protocol"])
def test_one_protocol_needs_no_list(protocol):
    assert list(SceneGraphEvaluator(RecallSettings(P), protocol).recalls) == ["strict"]


def test_ks_may_be_an_array_in_any_order():
    assert make_metric(ks=np.array([20, 1, 20])).ks == (1, 20)


def test_reset_forgets():
    metric = make_metric()
    prediction, reference = one_relation()
    metric.add_batch([prediction], [reference])
    metric.reset()
    assert metric.compute()["num_images"] == 0


def test_evaluate_loads_the_metric_by_path():
    evaluate = pytest.importorskip("evaluate")
    path = Path(speaq_hf.metrics.__file__).parent / "scene_graph_recall_metric.py"
    predictions, references = random_images(5, 4)
    silent, _ = one_relation(boxes=[], labels=[], scores=[], relations=[], predicate_probabilities=[])
    predictions = [*predictions, silent, perfect_prediction(references[1])]
    references = [*references, references[0], references[1]]
    metric = evaluate.load(str(path))
    results = metric.compute(predictions=predictions, references=references, num_predicates=P, ks=(1, 5))
    expected = evaluated(predictions, references, ks=(1, 5), zero_shot_triplets=None)
    assert equal(results, expected) and expected["num_images"] > 0


@pytest.mark.parametrize("options", [{"protocol": "strict", "num_replicates": 20}, {"mode": "predcls"}], ids=str)
def test_evaluate_takes_predictions_of_all_kinds(options):
    evaluate = pytest.importorskip("evaluate")
    metric = evaluate.load(str(Path(speaq_hf.metrics.__file__).parent / "scene_graph_recall_metric.py"))
    predictions, references = random_images(5, 6)
    for number, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        if number % 2:
            prediction |= {
                "predicate_probabilities": None,
                "relation_scores": np.linspace(0, 1, len(prediction["relations"])),
            }
        if number % 3 == 1:
            prediction["unconstrained_relations"] = prediction["relations"][::-1]
        if options.get("mode") == "predcls":
            del prediction["boxes"], prediction["labels"], prediction["scores"]
        reference |= {"image_id": number if number < 5 else "last"}
    metric.add_batch(predictions=predictions[:2], references=references[:2])
    metric.add_batch(predictions=predictions[2:5], references=references[2:5])
    metric.add(prediction=predictions[5], reference=references[5])
    results = metric.compute(num_predicates=P, ks=(1, 5), **options)
    expected = make_metric(ks=(1, 5), zero_shot_triplets=None, **options)
    expected.add_batch(predictions, references)
    intervals = results.pop("intervals", None)
    assert equal(results, expected.compute()) and results["num_images"] > 0
    assert (intervals == expected.intervals()) if "num_replicates" in options else intervals is None


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("labels", [0.7, 1.2], "`labels` must hold integers, got float64"),
        ("labels", np.array([0.0, 1.0]), "`labels` must hold integers"),
        ("labels", ["0", "1"], "`labels` must hold integers"),
        ("labels", [False, True], "`labels` must hold integers, got bool"),
        ("relations", [[0, 1, 2.5]], "`relations` must hold integers"),
        ("relations", [["0", "1", "2"]], "`relations` must hold integers"),
        ("unconstrained_relations", [[0, 1.0, 2]], "`unconstrained_relations` must hold integers"),
        ("boxes", [["0", "0", "9", "9"]] * 2, "`boxes` must hold numbers"),
        ("boxes", [[0, 0, 9, 9], [0, 0]], "`boxes` must have rows of equal length"),
        ("scores", ["1", "1"], "`scores` must hold numbers"),
    ],
)
def test_evaluate_refuses_what_arrow_would_cast(field, value, message):
    evaluate = pytest.importorskip("evaluate")
    metric = evaluate.load(str(Path(speaq_hf.metrics.__file__).parent / "scene_graph_recall_metric.py"))
    prediction, reference = one_relation()
    with pytest.raises(ValueError, match=f"Prediction of image 1 of the batch: {message}"):
        metric.add_batch(predictions=[prediction, prediction | {field: value}], references=[reference] * 2)
    with pytest.raises(ValueError, match=f"Prediction: {message}"):
        metric.add(prediction=prediction | {field: value}, reference=reference)
    if field in reference:
        with pytest.raises(ValueError, match=f"Reference: {message}"):
            metric.add(prediction=prediction, reference=reference | {field: value})
