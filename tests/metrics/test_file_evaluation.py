"""`speaq evaluate`: files of predictions are judged as the same predictions in memory."""

import json
import logging
import math
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from speaq_hf.cli import app
from speaq_hf.data import load_scene_graphs, predicate_statistics, save_scene_graphs, zero_shot_triplets
from speaq_hf.data.scene_graph_table import SceneGraphTable
from speaq_hf.json_files import finite_or_none
from speaq_hf.metrics import PROTOCOLS, ObjectPrecision, SceneGraphRecall, compare_recall, evaluation_run
from speaq_hf.metrics.evaluation_text import evaluation_text
from speaq_hf.metrics.file_evaluation import _check_order
from speaq_hf.metrics.ground_truth import GroundTruth
from speaq_hf.metrics.image_batch import read_images
from speaq_hf.metrics.report_charts import OUTCOMES
from speaq_hf.predictions import PredictedImage, PredictionWriter
from speaq_hf.scene_graph import SceneGraph
from tests.data.factories import OBJECTS, PREDICATES, dataset, row, write_genome
from tests.metrics.made_up_evaluations import page_data


NAMES = {"id2label": dict(enumerate(OBJECTS)), "id2predicate": dict(enumerate(PREDICATES))}
KS = (2, 5)
REPLICATES = 50
SIZE = (40, 30)


def random_boxes(rng, count):
    first, second = rng.integers(0, SIZE, (2, count, 2))
    return np.concatenate([np.minimum(first, second), np.maximum(first, second) + 1], axis=1).astype(np.float32)


def random_rows(rng, ids):
    for image_id in ids:
        n, r = rng.integers(1, 5), rng.integers(0, 5)
        relations = np.column_stack([rng.integers(0, n, (r, 2)), rng.integers(0, 2, r)])
        yield row(image_id, SIZE, random_boxes(rng, n), rng.integers(0, 3, n).tolist(), relations)


def random_prediction(rng, annotation):
    """The true objects and relations among others, in images of which every seventh has no relation."""
    boxes = np.concatenate([annotation["objects"]["bbox"], random_boxes(rng, 2)])
    n, k = len(boxes), 0 if annotation["image_id"] % 7 == 0 else 6
    true = np.array(annotation["relations"], int).reshape(-1, 3)[: k // 2]
    others = np.column_stack([rng.integers(0, n, (k - len(true), 2)), rng.integers(0, 2, k - len(true))])
    return SceneGraph(
        boxes=boxes.astype(np.float32),
        labels=np.concatenate([annotation["objects"]["category"], rng.integers(0, 3, 2)]).astype(int),
        scores=rng.random(n, dtype=np.float32),
        relations=rng.permutation(np.concatenate([others, true])),
        relation_scores=-np.sort(-rng.random(k, dtype=np.float32)),
        predicate_probabilities=rng.dirichlet(np.ones(3), k).astype(np.float32),
        query_indices=np.arange(k),
        image_size=SIZE[::-1],
        **NAMES,
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    rng = np.random.default_rng(0)
    splits = {
        name: dataset(list(random_rows(rng, ids)))
        for name, ids in (("train", range(100, 106)), ("test", range(1, 31)))
    }
    folder = tmp_path_factory.mktemp("data") / "set"
    save_scene_graphs(splits, folder, "parquet")
    return folder


@pytest.fixture(scope="module")
def graphs(root):
    """Two models' graphs by image id."""
    rng, rows = np.random.default_rng(1), load_scene_graphs(root, "test")
    return [{r["image_id"]: random_prediction(rng, r) for r in rows} for _ in range(2)]


@pytest.fixture(scope="module")
def files(graphs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    return [write(folder / name, by_id) for name, by_id in zip(("a.jsonl", "b.jsonl"), graphs, strict=True)]


def write(path, graphs, format="jsonl"):
    with PredictionWriter(path, format) as writer:
        for image_id, graph in graphs.items():
            writer.write(image_id, graph)
    return path


def run(root, *predictions, **options):
    options = {"k": KS, "replicates": REPLICATES} | options
    words = [word for path in predictions for word in ("--predictions", path)]
    for name, values in options.items():
        for value in values if isinstance(values, (list, tuple)) else [values]:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [value])]
    return CliRunner().invoke(app, ["evaluate", "--ground-truth", str(root), *map(str, words)])


def results_of(root, *predictions, tmp_path, **options):
    result = run(root, *predictions, output=tmp_path / "results.json", **options)
    assert result.exit_code == 0, result.output
    return json.loads((tmp_path / "results.json").read_text())


def said(result):
    """What a refused command says, without the frame around it."""
    assert result.exit_code == 2 and "Traceback" not in result.output
    return " ".join(result.output.replace("│", " ").split())


def in_memory(root, graphs, protocol, **options):
    rows = load_scene_graphs(root, "test")
    train = predicate_statistics(load_scene_graphs(root, "train"))
    options = {"ks": KS, "num_replicates": REPLICATES, "predicate_counts": train.counts} | options
    unseen = zero_shot_triplets(train, predicate_statistics(rows))
    metric = SceneGraphRecall(2, protocol=protocol, zero_shot_triplets=unseen, **options)
    metric.add_batch([graphs[r["image_id"]] for r in rows], references_of(rows))
    return metric


def references_of(rows):
    return [
        {
            "boxes": np.array(r["objects"]["bbox"], np.float32),
            "labels": r["objects"]["category"],
            "relations": r["relations"],
            "image_id": r["image_id"],
        }
        for r in rows
    ]


def plain(values):
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in values.items()}


def test_the_numbers_are_those_of_the_metric_in_memory(root, graphs, files, tmp_path):
    results = results_of(root, *files, tmp_path=tmp_path)
    for by_id, found in zip(graphs, results["predictions"], strict=True):
        assert (
            found["num_images_added"] == 30 and found["ks"] == list(KS) and list(found["protocols"]) == list(PROTOCOLS)
        )
        for name, of_protocol in found["protocols"].items():
            metric = in_memory(root, by_id, name)
            assert of_protocol["metrics"] == plain(metric.compute())
            assert of_protocol["metrics"]["R@5"] > 0 and of_protocol["metrics"]["zR@5"] is not None
            assert of_protocol["intervals"]["mR@2"] == list(metric.intervals()["mR@2"])
            assert of_protocol["fingerprint"] == PROTOCOLS[name].fingerprint


def test_two_files_are_compared_image_by_image(root, graphs, files, tmp_path):
    comparison = results_of(root, *files, tmp_path=tmp_path, protocol="strict")["comparison"]
    assert list(comparison) == ["strict"]
    expected = compare_recall(*(in_memory(root, by_id, "strict") for by_id in graphs))["mR@5"]
    assert comparison["strict"]["mR@5"] == {"value": expected.value, "low": expected.low, "high": expected.high}


@pytest.mark.parametrize("format", ["sgbench", "coco"])
def test_other_formats_give_the_same_numbers_as_far_as_they_go(format, root, graphs, files, tmp_path):
    options = {"tmp_path": tmp_path, "protocol": ["speaq", "sgbench"], "replicates": 0}
    other = write(tmp_path / "other.json", graphs[0], format)
    ours, theirs = (results_of(root, path, **options)["predictions"][0]["protocols"] for path in (files[0], other))
    exact = {"speaq": ("R", "zR", "mR", "micro-R", "phrase-R"), "sgbench": ("R", "mR")}
    exact["sgbench"] += (
        ("ng-R", "ng-mR") if format == "sgbench" else ()
    )  # scores are needed for them, or `ng_triplets`
    for protocol, names in exact.items():
        for name in names:
            for k in KS:
                assert theirs[protocol]["metrics"][f"{name}@{k}"] == ours[protocol]["metrics"][f"{name}@{k}"], name


@pytest.mark.parametrize("mode", ["predcls", "sgcls"])
def test_given_objects(mode, root, tmp_path):
    rows, rng = load_scene_graphs(root, "test"), np.random.default_rng(2)
    lines, graphs = [], {}
    for r in rows:
        relations = rng.permutation(np.array(r["relations"], int).reshape(-1, 3))
        line = {"image_id": r["image_id"], "relations": relations.tolist()}
        if mode == "sgcls":
            labels = rng.permutation(np.array(r["objects"]["category"], int))
            line |= {"labels": labels.tolist(), "scores": [1.0] * len(labels)}
        lines.append(line)
        graphs[r["image_id"]] = line
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(map(json.dumps, lines[:-1])))  # the last image is missing
    silent = {"relations": []} | (
        {"labels": lines[-1]["labels"], "scores": lines[-1]["scores"]} if mode == "sgcls" else {}
    )
    graphs[rows[-1]["image_id"]] = silent
    (found,), page = report_of(root, path, tmp_path=tmp_path, mode=mode)
    assert outcome_counts(page, 0) == found["error_anatomy"]["counts"]
    for name, of_protocol in found["protocols"].items():
        assert of_protocol["metrics"] == plain(in_memory(root, graphs, name, mode=mode).compute())
    assert found["num_missing_images"] == 1 and "pair_accuracy@5" in found["protocols"]["speaq"]["metrics"]

    for name in ("relations", "unconstrained_relations") if mode == "predcls" else ():
        path.write_text("\n".join(map(json.dumps, [*lines[:3], lines[3] | {name: [[0, 7, 0]]}])))
        message = said(run(root, path, mode=mode))
        assert f"line 4, image {lines[3]['image_id']}: '{name}' name object 7, but the ground truth has" in message

    lines[3] |= {"relations": [[0, 7, 0]], "labels": [0] * 8, "scores": [1.0] * 8}
    path.write_text("\n".join(map(json.dumps, lines)))
    message = said(run(root, path, mode=mode))
    assert f"line 4, image {lines[3]['image_id']}" in message and "of the ground truth in its order" in message


@pytest.mark.parametrize("mode", ["predcls", "sgcls"])
def test_given_objects_in_another_order_are_refused(mode, root, tmp_path):
    rows, path = load_scene_graphs(root, "test"), tmp_path / "p.jsonl"
    r = next(r for r in rows if len(set(r["objects"]["category"][:2])) == 2 and len(r["relations"]))
    boxes, labels = np.array(r["objects"]["bbox"]), np.array(r["objects"]["category"])
    swapped = np.arange(len(labels))
    swapped[:2] = 1, 0
    line = {"image_id": r["image_id"], "relations": [], "labels": labels.tolist(), "scores": [1.0] * len(labels)}
    for wrong, field in (
        ({"boxes": boxes[swapped].tolist()}, "boxes"),
        ({"labels": labels[swapped].tolist()}, "labels"),
    ):
        path.write_text(json.dumps(line | {"boxes": boxes.tolist()} | wrong))
        if (mode, field) == ("sgcls", "labels"):  # those are predicted
            assert run(root, path, mode=mode).exit_code == 0
            continue
        message = said(run(root, path, mode=mode))
        assert f"p.jsonl, line 1, image {r['image_id']}: '{field}' row 0 is" in message
        assert "in the order of the ground truth" in message
    path.write_text(json.dumps(line | {"boxes": (boxes + 0.4).tolist()}))  # rounded otherwise
    assert run(root, path, mode=mode).exit_code == 0


def test_a_given_box_without_area_agrees_with_itself():
    image = PredictedImage(3, {"boxes": np.array([[5.0, 5, 5, 9]]), "relations": np.zeros((0, 3), int)}, "file")
    _check_order(image, {"boxes": [[5, 5, 5, 9]], "labels": [0]}, "sgcls")
    with pytest.raises(
        ValueError, match=r"file: 'boxes' row 0 is \[5.0, 5.0, 5.0, 9.0\] as corners, but .* is \[8.0, "
    ):
        _check_order(image, {"boxes": [[8, 5, 8, 9]], "labels": [0]}, "sgcls")


def test_missing_images_count_as_silent(root, graphs, tmp_path, caplog):
    ids = [image_id for image_id, graph in graphs[0].items() if len(graph)]
    some = {image_id: graph for image_id, graph in graphs[0].items() if image_id not in ids[:4]}
    nothing = {name: [] for name in ("boxes", "labels", "scores", "relations")}
    with caplog.at_level(logging.WARNING):
        found = results_of(root, write(tmp_path / "p.jsonl", some), tmp_path=tmp_path)["predictions"][0]
    assert found["num_images_added"] == 30 and found["num_missing_images"] == 4
    assert "4 of the 30 images" in caplog.text
    for name, of_protocol in found["protocols"].items():
        expected = in_memory(root, graphs[0] | dict.fromkeys(ids[:4], nothing), name).compute()
        assert of_protocol["metrics"] == plain(expected)


def test_unknown_images_are_refused_or_skipped(root, graphs, files, tmp_path, caplog):
    more = write(tmp_path / "more.jsonl", graphs[0] | {4711: graphs[0][1]})
    message = said(run(root, more))
    assert "image 4711" in message and "is it the right split?" in message and "its ids are 1, 2, 3" in message
    with caplog.at_level(logging.WARNING):
        skipped = results_of(root, more, tmp_path=tmp_path, skip_unknown_images=True)["predictions"][0]
    assert skipped["num_unknown_images"] == 1 and "skipped 1 images" in caplog.text
    assert skipped["protocols"] == results_of(root, files[0], tmp_path=tmp_path)["predictions"][0]["protocols"]
    strangers = write(tmp_path / "strangers.jsonl", {4711: graphs[0][1]})
    assert "predicts none of the 30 images" in said(run(root, strangers, skip_unknown_images=True))


def test_sizes_and_boxes_of_another_image_are_noticed(root, tmp_path):
    path = tmp_path / "p.jsonl"
    line = {"image_id": 3, "boxes": [[0, 0, 9, 9]], "labels": [0], "scores": [1], "relations": [[0, 0, 1]]}
    path.write_text(json.dumps(line | {"width": 80, "height": 60}))
    assert "line 1, image 3: its size (width x height) is 80 x 60, that of the ground truth 40 x 30" in said(
        run(root, path)
    )
    path.write_text(json.dumps(line | {"boxes": [[0, 0, 640, 480]]}))
    assert "image 3: 'boxes' row 0 reaches from" in said(run(root, path))
    path.write_text(json.dumps({"id2label": {"0": "cta"}, "id2predicate": {"0": "on"}}) + "\n" + json.dumps(line))
    assert "no object class 'cta'" in said(run(root, path)) and "did you mean 'cat'" in said(run(root, path))


def test_a_set_without_training_images_has_no_zero_shot_recall(root, graphs, files, tmp_path, caplog):
    save_scene_graphs({"test": load_scene_graphs(root, "test")}, tmp_path / "set", "parquet")
    with caplog.at_level(logging.WARNING):
        metrics = results_of(tmp_path / "set", files[0], tmp_path=tmp_path)["predictions"][0]["protocols"]["speaq"][
            "metrics"
        ]
    assert "zR and mR-head, -body and -tail are left out" in caplog.text
    assert "zR@5" not in metrics and "mR-head@5" not in metrics


def test_training_annotations_that_cannot_be_read_are_an_error(root, files, tmp_path):
    """Otherwise zR would be missing without anyone knowing why."""
    splits = {name: load_scene_graphs(root, name) for name in ("train", "test")}
    save_scene_graphs(splits, tmp_path / "set", "coco")
    (annotations,) = [path for path in (tmp_path / "set").rglob("*.json") if "train" in path.name]
    content = json.loads(annotations.read_text())
    content["annotations"][0]["bbox"] = [1, 2]
    annotations.write_text(json.dumps(content))
    message = said(run(tmp_path / "set", files[0]))
    # The path may be broken over two lines.
    assert f"{annotations.name}," in message.replace(" ", "") and "bbox" in message, message
    annotations.unlink()
    assert run(tmp_path / "set", files[0]).exit_code == 0


def test_a_genome_without_training_images_has_no_zero_shot_recall(tmp_path, caplog):
    genome = write_genome(tmp_path / "genome", split=[2] * 5)
    with caplog.at_level(logging.WARNING):
        assert GroundTruth.load(genome, "test").zero_shot_triplets is None
    assert "zR and mR-head, -body and -tail are left out" in caplog.text


def test_files_without_probabilities_are_pointed_out(root, graphs, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert run(root, write(tmp_path / "p.json", graphs[0], "coco")).exit_code == 0
    assert "30 images have neither 'predicate_probabilities' nor" in caplog.text


def test_the_table_tells_protocol_images_and_intervals(root, files):
    text = run(root, *files, protocol=["strict", "speaq"]).output
    assert "a.jsonl: sgdet, IoU 0.5, 30 images of" in text
    for name in ("strict", "speaq"):
        assert f"protocol {name} (rules {PROTOCOLS[name].fingerprint})" in text
    assert "95% intervals" in text and "@2" in text and "@5" in text
    assert text.count("\nmR-tail ") == 4
    assert "on mR@5 by" in text
    alone = run(root, files[0], replicates=0, protocol="speaq").output
    assert "[" not in alone.split("protocol")[1] and "intervals" not in alone


def test_sentences_of_a_comparison():
    shared = {
        "mode": "sgdet",
        "iou_threshold": 0.5,
        "num_images_added": 9,
        "num_missing_images": 0,
        "ks": [50],
        "protocols": {},
    }
    files = [shared | {"file": f"runs/{name}.jsonl"} for name in ("A", "B")]
    differences = {
        "R@50": {"value": 0.008, "low": 0.005, "high": 0.011},
        "mR@50": {"value": -0.02, "low": -0.03, "high": -0.01},
        "F@50": {"value": 0.01, "low": -0.01, "high": 0.03},
        "ng-R@50": {"value": 0.0, "low": 0.0, "high": 0.0},
        "zR@50": {"value": None, "low": None, "high": None},
    }
    text = evaluation_text({"ground_truth": "x", "predictions": files, "comparison": {"speaq": differences}})
    assert text.splitlines()[-5:] == [
        "protocol speaq",
        "  A.jsonl is better than B.jsonl on R@50 by 0.80 ± 0.30 [0.50, 1.10]",
        "  A.jsonl and B.jsonl are equal on ng-R@50",
        "  B.jsonl is better than A.jsonl on mR@50 by 2.00 ± 1.00 [1.00, 3.00]",
        "  A.jsonl and B.jsonl differ on F@50 by 1.00 ± 2.00, which may be chance: the interval [-1.00, 3.00] holds 0",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "coco"}, "protocol must be one of"),
        ({"mode": "phrdet"}, "mode must be one of"),
        ({"k": 0}, "ks must hold"),
        ({"iou_threshold": 50}, "iou_threshold must be in"),
        ({"replicates": -1}, "num_replicates must be at least 0"),
        ({"replicates": 10**11}, "num_replicates must be at least 0 and at most 100000, got 100000000000"),
        ({"split": "validation"}, "there is no split 'validation'"),
        ({"output": "."}, "is a folder; name a file"),
        ({"num_validation_images": 3}, "has no option num_validation_images"),
    ],
)
def test_impossible_options_are_refused(options, message, root, files):
    assert message in said(run(root, files[0], **options))


def test_files_that_are_not_there_are_named(root, files, tmp_path):
    assert "there is no file" in said(run(root, tmp_path / "p.jsonl"))
    assert "two to compare, got 3" in said(run(root, *files, files[0]))
    assert "nowhere" in said(run("nowhere", files[0]))
    for option in ("output", "report"):  # known before the data are read
        message = said(run("nowhere", files[0], **{option: files[0] / "results"}))
        assert "a.jsonl" in message and "nowhere" not in message


def test_no_file_takes_the_place_of_another(root, files, tmp_path, monkeypatch):
    predictions = tmp_path / "p.jsonl"
    before = files[0].read_bytes()
    predictions.write_bytes(before)
    (tmp_path / "link.json").symlink_to(predictions)
    monkeypatch.chdir(tmp_path)
    for option in ("output", "report"):
        for name in ("p.jsonl", "link.json", tmp_path / "." / "p.jsonl"):
            assert f"--{option}: {name} is read" in said(run(root, files[1], predictions, **{option: name}))
    assert predictions.read_bytes() == before
    message = said(run(root, predictions, output="o", report=tmp_path / "o"))
    assert "--report" in message and "is what --output names, too" in message
    assert not (tmp_path / "o").exists()


def test_tables_are_shown_though_the_results_cannot_be_written(root, files, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(evaluation_run, "write_json", full)
    message = said(run(root, files[0], output=tmp_path / "o"))
    assert "protocol speaq" in message and "No space left" in message


def test_an_id_that_occurs_twice_in_the_ground_truth_is_refused():
    twice = dataset([row(5, SIZE, [[0, 0, 9, 9]], [0]), row(6, SIZE), row(5, SIZE)])
    with pytest.raises(ValueError, match="mine: the image id 5 occurs 2 times"):
        GroundTruth("mine", SceneGraphTable.from_datasets({"test": twice}))


# Objects --------------------------------------------------------------------------------------------------------------


def test_precision_of_the_objects(root, graphs, files, tmp_path):
    found, other = results_of(root, *files, tmp_path=tmp_path, objects=True)["predictions"]
    rows = load_scene_graphs(root, "test")
    precision = ObjectPrecision(len(OBJECTS))
    precision.add_images(read_images([graphs[0][r["image_id"]] for r in rows], references_of(rows), 2))
    expected = precision.compute()
    assert found["objects"] == finite_or_none(expected) and 0 < expected["AP50"] < 1
    assert other["objects"]["AP"] != expected["AP"]
    text = run(root, *files, objects=True, report=tmp_path / "report.html").output
    assert text.count("\nobjects (COCO), ") == 2 and f"{100 * expected['AP50']:.2f}\n" in text
    markup = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h3>Objects</h3>" in markup and f"<td>{100 * expected['AP50']:.2f}</td>" in markup
    assert "objects (COCO)" not in run(root, files[0]).output


def test_precision_of_the_objects_is_refused_before_the_data_are_read(root, files, monkeypatch):
    assert "needs mode sgdet: in predcls boxes are given" in said(
        run("nowhere", files[0], objects=True, mode="predcls")
    )
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    assert "needs faster-coco-eval" in said(run("nowhere", files[0], objects=True))


# Report ---------------------------------------------------------------------------------------------------------------


def report_of(root, *predictions, tmp_path, **options):
    """The JSON results and what the page's script works on."""
    results = results_of(root, *predictions, tmp_path=tmp_path, report=tmp_path / "report.html", **options)
    return results["predictions"], page_data((tmp_path / "report.html").read_text(encoding="utf-8"))


def outcome_counts(page, model):
    numbers = [outcome[0] for image in page["images"] for outcome in image["models"][model]["outcomes"]]
    counts = np.bincount(numbers, minlength=len(OUTCOMES)).tolist()
    return dict(zip((outcome.key for outcome in OUTCOMES), counts, strict=True))


def test_report_explains_the_images_of_both_files(root, files, tmp_path):
    evaluations, page = report_of(root, *files, tmp_path=tmp_path)
    assert [model["name"] for model in page["models"]] == ["a.jsonl", "b.jsonl"]
    for number, evaluation in enumerate(evaluations):
        anatomy = evaluation["error_anatomy"]
        assert (anatomy["protocol"], anatomy["k"]) == ("strict", 5)
        assert anatomy["recall"] == evaluation["protocols"]["strict"]["metrics"]["R@5"]
        assert outcome_counts(page, number) == anatomy["counts"]
    markup = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="differences"' in markup and "Evaluation on " in markup
    assert all(image["picture"].startswith("data:image/jpeg") for image in page["images"])
    assert page["images"][0]["size"] == list(SIZE)


def test_report_counts_missing_images_as_silent(root, graphs, tmp_path):
    first = dict(list(graphs[0].items())[:4])
    (evaluation,), page = report_of(root, write(tmp_path / "a.jsonl", first), tmp_path=tmp_path)
    assert evaluation["num_missing_images"] == len(graphs[0]) - 4
    assert outcome_counts(page, 0) == evaluation["error_anatomy"]["counts"]
    assert sum(bool(image["models"][0]["rows"]) for image in page["images"]) <= 4


def test_report_shows_as_many_images_as_asked_for(root, files, tmp_path):
    rows = [r["image_id"] for r in load_scene_graphs(root, "test") if len(r["relations"])]
    _, page = report_of(root, files[0], tmp_path=tmp_path, report_images=3)
    expected = [rows[0], rows[round((len(rows) - 1) / 2)], rows[-1]]
    assert [image["name"] for image in page["images"]] == [f"image {image_id}" for image_id in expected]
    assert report_of(root, files[0], tmp_path=tmp_path, report_images=0)[1]["images"] == []
    assert "must be at least 0, got -1" in said(run(root, files[0], report=tmp_path / "r.html", report_images=-1))
    assert f"{tmp_path} is a folder" in said(run(root, files[0], report=tmp_path))


def test_report_uses_a_protocol_that_was_asked_for(root, files, tmp_path):
    (evaluation,), page = report_of(root, files[0], tmp_path=tmp_path, protocol="sgb", k=2, replicates=0)
    assert (evaluation["error_anatomy"]["protocol"], evaluation["error_anatomy"]["k"]) == ("sgb", 2)
    assert list(page["models"][0]["recall"]) == ["sgb"]


def test_pictures_that_cannot_be_read_are_left_out(tmp_path, caplog):
    genome = write_genome(tmp_path / "genome")
    picture = GroundTruth.load(genome, "test").picture(0)
    assert picture.size == (64, 48)
    (genome / "VG_100K" / "5.jpg").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        assert GroundTruth.load(genome, "test").picture(0) is None
    assert "a picture is left out: image 5" in caplog.text
