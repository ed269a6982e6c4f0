"""The evaluation program: what it measures, what it writes, what it refuses."""

import json
import math
import shutil
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from speaq_hf import SceneGraph, SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil
from speaq_hf.data import load_synthetic_genome, object_names, predicate_names
from speaq_hf.metrics import SceneGraphRecall
from speaq_hf.metrics.oracle import ground_objects
from speaq_hf.predictions import read_scene_graphs
from tests.helpers import tiny_config
from tests.metrics.made_up_evaluations import page_data
from training import evaluate
from training.prediction import (
    EvaluationCollator,
    GroundedPredictions,
    LoadingOptions,
    evaluate_recall,
    predict_scene_graphs,
    reference_from_row,
)
from training.saved_predictions import SavedPredictions
from training.tables import format_table


@pytest.fixture
def saved_model(genome, tmp_path):
    """An untrained model of the set's vocabulary."""
    dataset = load_synthetic_genome(genome, "test")
    names = {
        "id2label": dict(enumerate(object_names(dataset))),
        "id2predicate": dict(enumerate(predicate_names(dataset))),
    }
    torch.manual_seed(0)
    config = tiny_config(**names, group_predicate_counts=None)
    SpeaQForSceneGraphGeneration(config).save_pretrained(tmp_path / "model")
    SpeaQImageProcessorPil(size={"shortest_edge": 64}, **names).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def run(model, genome, *words):
    """The report of a run on the test images."""
    evaluate.main(["--model", str(model), "--data", str(genome), "--num_workers", "0", *words])
    (report,) = model.glob("evaluation_test*.json")
    return json.loads(report.read_text())


def test_report(saved_model, genome, capsys):
    report = run(saved_model, genome)
    assert (report["split"], report["mode"], report["protocol"]) == ("test", "sgdet", "speaq")
    metrics = report["metrics"]
    assert report["num_images_added"] == len(load_synthetic_genome(genome, "test"))
    assert metrics["num_images"] + metrics["num_images_without_relations"] == report["num_images_added"]
    assert {"R@20", "ng-R@50", "zR@100", "mR@20", "F@100", "mR-tail@50"} <= metrics.keys()
    assert len(metrics["recall_per_predicate@20"]) == 50
    assert list(report["protocols"]) == ["speaq", "strict", "sgb", "sgbench"]
    assert report["protocols"]["speaq"]["metrics"] == metrics
    for protocol in report["protocols"].values():
        low, high = protocol["intervals"]["R@100"]
        assert low <= protocol["metrics"]["R@100"] <= high
    assert report["oracle"] is False and "note" not in report and "objects" not in report
    printed = capsys.readouterr().out
    assert all(f"protocol {name} (rules " in printed for name in report["protocols"])
    assert "@20" in printed and "mR" in printed and "95% intervals" in printed and "evaluation_test.json" in printed


def test_options_choose_what_is_measured(saved_model, genome, capsys):
    words = ["--protocols", "strict", "speaq", "strict", "--ks", "7", "3", "--replicates", "0", "--zero_shot", "false"]
    report = run(saved_model, genome, *words, "--objects", "--max_images", "3")
    assert report["protocol"] == "strict" and list(report["protocols"]) == ["strict", "speaq"]
    assert report["ks"] == [3, 7] and "R@7" in report["metrics"] and "zR@7" not in report["metrics"]
    assert "mR-head@7" not in report["metrics"]  # neither data nor model tell how frequent the predicates are
    assert "intervals" not in report["protocols"]["speaq"]
    objects = report["objects"]
    assert objects["num_images"] == 3 and objects["num_objects"] > 0 and 0 <= objects["AP"] <= objects["AP50"] <= 1
    assert len(objects["AP50_per_class"]) == 150 and None in objects["AP50_per_class"]
    printed = capsys.readouterr().out
    assert "AP50" in printed and "AR100" in printed and "[" not in printed


@pytest.mark.parametrize("mode", ["sgcls", "predcls"])
def test_given_objects_are_marked_as_oracle(saved_model, genome, mode, capsys):
    report = run(saved_model, genome, "--mode", mode, "--replicates", "0")
    assert report["oracle"] is True and report["mode"] == mode and report["note"].startswith("Oracle: ")
    assert "pair_accuracy@20" in report["metrics"]
    printed = capsys.readouterr().out
    assert f"{mode} (oracle)" in printed and report["note"] in printed


@pytest.mark.parametrize("mode", ["sgdet", "predcls"])
def test_saved_predictions_give_the_same_numbers(saved_model, genome, tmp_path, mode):
    """What the model itself predicted is saved, also in a mode that gives it something."""
    file = tmp_path / "folder" / "predictions.jsonl"
    report = run(saved_model, genome, "--mode", mode, "--protocols", "strict", "--save_predictions", str(file))
    dataset = load_synthetic_genome(genome, "test")
    graphs = dict(read_scene_graphs(file))
    assert list(graphs) == dataset["image_id"] and [*tmp_path.glob("folder/*")] == [file]
    metric = SceneGraphRecall(50, mode=mode, protocol="strict")
    for row, graph in zip(dataset, graphs.values(), strict=True):
        reference = reference_from_row(row)
        metric.add_batch([graph if mode == "sgdet" else ground_objects(graph, reference, mode)], [reference])
    for name in ("R@100", "ng-R@100", "mR@50"):
        assert metric.compute()[name] == report["metrics"][name]


def test_page_shows_the_numbers_and_images_of_the_report(saved_model, genome, tmp_path, capsys):
    words = ["--report", str(tmp_path / "page.html"), "--max_images", "4", "--ks", "50", "--iou_threshold", "0.1"]
    report = run(saved_model, genome, *words, "--protocols", "sgb")
    assert report["iou_threshold"] == 0.1  # of the recall itself
    page = page_data((tmp_path / "page.html").read_text(encoding="utf-8"))
    shown = page["models"][0]["recall"]["sgb"]["@50"]
    assert shown == [
        v if v is None else pytest.approx(v, abs=1e-4) for v in report["metrics"]["recall_per_predicate@50"]
    ]
    ids = load_synthetic_genome(genome, "test")["image_id"][:4]
    assert [image["name"] for image in page["images"]] == [f"image {image_id}" for image_id in ids]
    assert list(dict(read_scene_graphs(tmp_path / "page.jsonl"))) == ids
    printed = capsys.readouterr().out
    assert "sgdet, IoU 0.1" in printed and f"written: {tmp_path / 'page.html'}" in printed


@pytest.mark.parametrize("num_workers", ["0", "1"])
def test_an_image_that_cannot_be_read_is_named(saved_model, genome, tmp_path, capsys, num_workers):
    shutil.copytree(genome, tmp_path / "genome")
    image = Path(load_synthetic_genome(tmp_path / "genome", "test").data["image"][1]["path"].as_py())
    image.write_bytes(b"no image")
    with pytest.raises(SystemExit) as end:
        run(saved_model, tmp_path / "genome", "--num_workers", num_workers)
    error = capsys.readouterr().err
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert end.value.code == 1 and image.name in line and "cannot be read" in line and "Traceback" not in error


def test_parts_of_processes_without_images_join(tmp_path):
    saved = SavedPredictions(tmp_path / "all.jsonl")
    for number, text in enumerate(["", "names\n1\n4\n6\n", "names\n2\n5\n", "names\n3\n"]):
        (tmp_path / f"all.jsonl.part{number}").write_text(text)
    saved.join(4)
    assert (tmp_path / "all.jsonl").read_text().split() == ["names", "1", "2", "3", "4", "5", "6"]
    assert [path.name for path in tmp_path.iterdir()] == ["all.jsonl"]


@pytest.mark.parametrize(
    ("mode", "predict"),
    [("sgdet", None), ("sgcls", GroundedPredictions("sgcls")), ("predcls", GroundedPredictions("predcls"))],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_perfect_predictions_score_one(genome, monkeypatch, mode, predict):
    """The references reach the metric unchanged, image by image."""
    dataset = load_synthetic_genome(genome, "test")
    names = {
        "id2label": dict(enumerate(object_names(dataset))),
        "id2predicate": dict(enumerate(predicate_names(dataset))),
    }
    processor = SpeaQImageProcessorPil(size={"shortest_edge": 64}, **names)
    truths = iter(dataset)

    def read_truth(outputs, target_sizes, **options):
        graphs = []
        for size in target_sizes:
            row = next(truths)
            assert size == (row["height"], row["width"])
            objects = row["objects"]
            arguments = (objects["bbox"], objects["category"], row["relations"], size)
            graphs.append(SceneGraph.from_annotation(*arguments, **names))
        return graphs

    monkeypatch.setattr(processor, "post_process_scene_graph", read_truth)
    model = SpeaQForSceneGraphGeneration(tiny_config())
    arguments = (SceneGraphRecall(50, mode=mode), Accelerator(cpu=True), LoadingOptions(batch_size=3), predict)
    results = evaluate_recall(model, processor, dataset, *arguments)
    assert results["R@20"] == 1.0 and results["num_images"] > 5


def test_evaluation_leaves_mode_and_random_numbers_alone(genome):
    dataset = load_synthetic_genome(genome, "val")
    processor = SpeaQImageProcessorPil(size={"shortest_edge": 64})
    model = SpeaQForSceneGraphGeneration(tiny_config()).train()
    before = torch.get_rng_state()
    batches = list(predict_scene_graphs(model, processor, dataset, Accelerator(cpu=True), LoadingOptions(2)))
    assert len(batches) == math.ceil(len(dataset) / 2)
    assert model.training and torch.equal(torch.get_rng_state(), before)


def test_references_keep_boxes_that_the_processor_would_clip():
    from tests.data.factories import row

    rows = [row(1, (40, 30), boxes=[[-5, 2, 50, 20], [3, 3, 3, 9]], labels=[0, 1], relations=[[0, 1, 1]])]
    batch = EvaluationCollator(SpeaQImageProcessorPil(size={"shortest_edge": 32}))(rows)
    assert batch["references"][0]["boxes"].tolist() == [[-5, 2, 50, 20], [3, 3, 3, 9]]
    assert batch["references"][0]["relations"].tolist() == [[0, 1, 1]]
    assert batch["references"][0]["image_id"] == 1
    assert batch["target_sizes"] == [(30, 40)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "nowhere"], "--data: there is no folder nowhere"),
        (["--data", "."], "no scene graph data set"),
        (["--output", "."], "--output: cannot write ."),
        (["--output", "model/config.json/report.json"], "--output: cannot write model/config.json/report.json"),
        (["--output", "/dev/null"], "--output: cannot write /dev/null"),
        (["--batch_size", "0"], "--batch_size must be at least 1"),
        (["--model", "./nowhere"], "--model: cannot load ./nowhere"),
        (["--splitt", "test"], "--splitt"),
        (
            ["--protocols", "strict", "coco"],
            "--protocols must be some of speaq, strict, sgb, sgbench; got strict coco",
        ),
        (["--ks", "20", "0"], "--ks must be numbers of at least 1, got [20, 0]"),
        (["--replicates", "-1"], "--replicates must be at least 0"),
        (
            ["--save_predictions", "model/config.json/all.jsonl"],
            "--save_predictions: cannot write model/config.json/all",
        ),
        (["--output", "x", "--save_predictions", "./x"], "--output: x is what --save_predictions names, too"),
        (["--objects", "--mode", "sgcls"], "--objects needs --mode sgdet: in sgcls boxes are given"),
        (["--iou_threshold", "0"], "--iou_threshold must be above 0 and at most 1, got 0.0"),
        (["--report", "page.html", "--mode", "predcls"], "--report needs --mode sgdet"),
        (["--report", "model/config.json/page.html"], "--report: cannot write model/config.json/page.html"),
        (["--format", "visual_genome"], "VG-SGG-dicts-with-attri.json does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_end_with_one_message(saved_model, genome, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        evaluate.main(["--model", str(saved_model), "--data", str(genome), *words])
    assert end.value.code == 1
    assert message in capsys.readouterr().err


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def cut(folder, size):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:size])


DAMAGES = [
    (lambda folder: change_weights(folder, lambda w: w.pop("class_head.weight")), "missing: class_head.weight."),
    (
        lambda folder: change_weights(folder, lambda w: w.update(extra=torch.zeros(1))),
        "belong to no part of it: extra.",
    ),
    (
        lambda folder: change_weights(folder, lambda w: w.update({"class_head.weight": torch.zeros(7, 3)})),
        "weights have other sizes: class_head.weight (7, 3) for (151, 32).",
    ),
    (lambda folder: change_config(folder, d_model=64), "more."),
    (lambda folder: change_config(folder, d_model="x"), "Field 'd_model' expected int, got str"),
    (lambda folder: change_config(folder, id2label=5), "`id2label` must be a dict"),
    (lambda folder: change_config(folder, backbone_config={"model_type": "nope"}), "'nope'"),
    (lambda folder: change_config(folder, model_type="detr", auto_map={}), "Unrecognized configuration class"),
    (lambda folder: cut(folder, 0), "header too small"),
    (lambda folder: cut(folder, 2000), "header"),
    (lambda folder: cut(folder, -10), "not fully covered"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=[message for _, message in DAMAGES])
def test_damaged_models_end_with_one_line(saved_model, damage, message):
    damage(saved_model)
    with pytest.raises(ValueError) as error:
        evaluate.load_model(str(saved_model))
    text = str(error.value)
    assert text.startswith("--model: ") and str(saved_model) in text and message in text and "\n" not in text


def test_missing_package_is_named_before_anything_is_measured(saved_model, genome, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(SystemExit) as end:
        run(saved_model, genome, "--objects")
    assert end.value.code == 1 and "error: ObjectPrecision needs faster-coco-eval" in capsys.readouterr().err


def test_weights_that_do_not_fit_are_not_tabulated(saved_model, genome, capfd):
    change_config(saved_model, d_model=64)
    with pytest.raises(SystemExit):
        evaluate.main(["--model", str(saved_model), "--data", str(genome), "--zero_shot", "false"])
    error = capfd.readouterr().err
    assert error.count("\nerror: ") + error.startswith("error: ") == 1 and "LOAD REPORT" not in error
    assert error.count(" for (") == 5


def test_default_output_avoids_a_read_only_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, forbidden = tmp_path / "model", set()
    model.mkdir()
    # Permissions do not bind every user.
    monkeypatch.setattr(evaluate.os, "access", lambda path, mode: Path(path) not in forbidden)
    arguments = evaluate.EvaluateArguments(str(model), "data")
    assert evaluate.choose_output(arguments) == model / "evaluation_test.json"
    oracle = evaluate.EvaluateArguments(str(model), "data", mode="predcls")
    assert evaluate.choose_output(oracle) == model / "evaluation_test_predcls.json"
    forbidden.add(model)
    assert evaluate.choose_output(arguments) == Path("evaluation_test.json")
    forbidden.add(tmp_path)
    for output in (None, str(model / "new" / "report.json")):
        arguments.output = output
        with pytest.raises(OSError, match="--output: cannot write"):
            evaluate.choose_output(arguments)


def test_results_are_printed_though_the_file_cannot_be_written(saved_model, genome, monkeypatch, capsys):
    def fail(*paths):
        raise OSError("No space left on device")

    monkeypatch.setattr(evaluate.os, "replace", fail)
    with pytest.raises(SystemExit) as end:
        evaluate.main(["--model", str(saved_model), "--data", str(genome), "--num_workers", "0", "--max_images", "2"])
    printed = capsys.readouterr()
    assert end.value.code == 1 and "mR" in printed.out and "error: No space left" in printed.err


def test_other_classes_are_refused(saved_model, genome, capsys):
    SpeaQForSceneGraphGeneration(tiny_config()).save_pretrained(saved_model)
    with pytest.raises(SystemExit):
        evaluate.main(["--model", str(saved_model), "--data", str(genome), "--zero_shot", "false"])
    assert "id2label has 6 names, the data set 150" in capsys.readouterr().err


def test_table():
    columns = {"trained": {"R@20": 0.51234, "zR@20": float("nan")}, "untrained": {"R@20": 0.0}}
    assert format_table(columns, ["R@20", "zR@20"], heading="%").splitlines() == [
        "%     trained untrained",
        "R@20    51.23      0.00",
        "zR@20       -         -",
    ]
