"""Whole runs in one process: repeatable, resumable, and clear about mistakes."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from speaq_hf import AutoModelForSceneGraphGeneration, SpeaQImageProcessorPil
from speaq_hf.models.speaq.loss_speaq import SpeaQCriterion
from training import train


DROPOUT = {"dropout": 0.1, "attention_dropout": 0.1}


def run(words):
    train.main(words)
    return Path(words[words.index("--training.output_dir") + 1])


def weights(folder):
    return load_file(folder / "final" / "model.safetensors")


def entries(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def without_speed(folder):
    return [{k: v for k, v in entry.items() if k != "images_per_second"} for entry in entries(folder)]


def assert_same_weights(first, second):
    first, second = weights(first), weights(second)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


def test_one_seed_gives_identical_weights_and_another_seed_others(micro_run):
    first, second = (run(micro_run(name, model=DROPOUT)) for name in ("first", "second"))
    assert_same_weights(first, second)
    other = run(micro_run("other", "--training.seed", "1", model=DROPOUT))
    assert not torch.equal(weights(first)["class_head.weight"], weights(other)["class_head.weight"])


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("--training.gradient_accumulation_steps", "2"),
        ("--data.num_workers", "2"),
        ("--data.image_reading", "quick", "--data.num_workers", "1"),
        ("--data.synthetic_root", "GENOME", "--data.num_workers", "2", "--training.gradient_accumulation_steps", "2"),
    ],
    ids=["plain", "accumulation", "workers", "quick reading", "mixture"],
)
def test_stopped_and_resumed_equals_uninterrupted(micro_run, genome, overrides):
    # An epoch has six batches: with accumulation the run resumes inside one epoch and ends in the next. The mixture's
    # has twenty, in which the real images come twice and more.
    overrides = tuple(str(genome) if word == "GENOME" else word for word in overrides)
    options = ("--training.max_steps", "8", "--evaluation.steps", "3", *overrides)
    whole = run(micro_run("whole", *options, model=DROPOUT))
    parts = run(micro_run("parts", *options, "--training.max_steps", "5", model=DROPOUT))
    assert not torch.equal(weights(whole)["class_head.weight"], weights(parts)["class_head.weight"])
    with open(parts / "log.jsonl", "a") as file:  # what a crash after the checkpoint would leave
        file.write('{"step": 6, "type": "train", "loss": 1e9}\n{"step": 7, "ty')
    run(micro_run("parts", *options, "--training.resume_from", "auto", model=DROPOUT))
    assert_same_weights(whole, parts)
    # The shorter run evaluated at its end; apart from that the logs agree.
    ends = [entry for entry in without_speed(parts) if (entry["step"], entry["type"]) != (5, "evaluation")]
    assert ends == without_speed(whole)


def test_a_run_leaves_what_it_promises(micro_run):
    folder = run(micro_run("run", "--evaluation.steps", "2"))
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock",
        "best",
        "checkpoints",
        "config.yaml",
        "final",
        "log.jsonl",
    ]
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-00000004"]
    log = entries(folder)
    assert [(entry["step"], entry["type"]) for entry in log] == [
        (1, "train"), (2, "train"), (2, "evaluation"), (3, "train"), (4, "train"), (4, "evaluation"),
    ]  # fmt: skip
    for name in ("loss", "loss_predicate", "loss_giou_subject", "learning_rate", "gradient_norm", "images_per_second"):
        assert log[0][name] > 0
    assert [entry["learning_rate"] for entry in log if entry["type"] == "train"] == [1e-3] * 3 + [pytest.approx(1e-4)]
    assert {"R@20", "ng-R@50", "mR@100", "zR@20"} <= log[2].keys() and log[2]["num_images"] <= 6
    model = AutoModelForSceneGraphGeneration.from_pretrained(folder / "final")
    assert SpeaQImageProcessorPil.from_pretrained(folder / "final").id2predicate == model.config.id2predicate
    # The set is synthetic: groups and class weights follow its own training counts.
    assert sum(model.config.predicate_counts) > 0 and sum(model.config.object_counts) > 0
    assert model.config.zero_shot_triplets and all(len(row) == 3 for row in model.config.zero_shot_triplets)
    assert model.config.group_predicate_counts == model.config.predicate_counts
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert saved["training"]["max_steps"] == 4 and saved["model"]["d_model"] == 16


def test_best_is_the_model_of_the_best_evaluation(micro_run, monkeypatch):
    values = iter([0.1, 0.3, 0.2, float("nan")])
    monkeypatch.setattr(train.Trainer, "evaluate", lambda self: {"R@50": next(values)})
    written = []
    save_model = train.Trainer.save_model
    monkeypatch.setattr(
        train.Trainer,
        "save_model",
        lambda self, folder: (written.append((folder.name, self.state.step)), save_model(self, folder)),
    )
    run(micro_run("run", "--evaluation.steps", "1"))
    assert written == [("best", 1), ("best", 2), ("final", 4)]


def test_a_metric_that_nothing_defines_keeps_the_latest_model(micro_run, monkeypatch, caplog):
    values = iter([float("nan"), float("nan"), 0.0, 0.0])
    monkeypatch.setattr(train.Trainer, "evaluate", lambda self: {"zR@20": next(values)})
    folder = run(micro_run("run", "--evaluation.steps", "1", "--evaluation.best_metric", "zR@20"))
    shown = [message for message in caplog.messages if "best" in message]
    assert shown[1:3] == ["Step 2: zR@20 - %, best - %", "Step 3: zR@20 0.00 %, best 0.00 %"]
    best, final = (load_file(folder / name / "model.safetensors") for name in ("best", "final"))
    assert not torch.equal(best["class_head.weight"], final["class_head.weight"])  # of step 3, not of the last


def test_unfinished_checkpoints_are_ignored(micro_run):
    folder = run(micro_run("run"))
    complete = folder / "checkpoints" / "step-00000004"
    half = folder / "checkpoints" / "step-00000006.tmp"
    shutil.copytree(complete, half)
    (half / "optimizer.bin").unlink()
    trainer = train.build_trainer(
        train.parse_arguments(micro_run("run", "--training.resume_from", "auto", "--training.max_steps", "6"))
    )
    assert trainer.state.step == 4
    with pytest.raises(
        FileNotFoundError, match="step-00000006.tmp is not a complete checkpoint; the latest is .*00004"
    ):
        train.build_trainer(train.parse_arguments(micro_run("run", "--training.resume_from", str(half))))


def test_non_finite_steps_are_skipped_and_counted_and_finally_stop_the_run(micro_run, monkeypatch, capsys):
    criterion, calls = SpeaQCriterion.__call__, []

    def break_third(self, layers, labels):
        loss, losses = criterion(self, layers, labels)
        calls.append(1)
        return (loss * float("nan") if len(calls) >= 3 else loss), losses

    monkeypatch.setattr(SpeaQCriterion, "__call__", break_third)
    words = micro_run(
        "run", "--training.max_steps", "20", "--training.max_skipped_steps", "3", "--training.save_steps", "1"
    )
    with pytest.raises(SystemExit) as end:
        train.main(words)
    assert end.value.code == 1
    assert "not finite for 3 steps in a row, up to step 5" in capsys.readouterr().err
    folder = Path(words[words.index("--training.output_dir") + 1])
    log = [entry for entry in entries(folder) if entry["type"] == "train"]
    assert [entry["skipped_steps"] for entry in log] == [0, 0, 1, 2]
    assert [entry["loss"] is None for entry in log] == [False, False, True, True]
    state = load_file(folder / "checkpoints" / "step-00000004" / "model.safetensors")
    assert all(value.isfinite().all() for value in state.values())


def test_mixed_sources_log_their_own_losses(micro_run, genome):
    mix = {"synthetic_root": str(genome), "ratios": {"real": 0.75, "synthetic": 0.25}}
    log = entries(run(micro_run("run", "--training.max_steps", "2", data=mix)))
    names = {
        f"loss_{term}/{source}"
        for term in ("predicate", "class_subject", "bbox_relation", "giou_object")
        for source in ("real", "synthetic")
    }
    assert names <= log[0].keys()
    assert log[0]["loss_predicate/real"] != log[0]["loss_predicate/synthetic"]
    # Of the whole batch the weighted loss is smaller than that of the real images alone.
    assert log[0]["loss_predicate"] < log[0]["loss_predicate/real"] + 0.5 * log[0]["loss_predicate/synthetic"]


def test_iterative_sgg_and_gradient_checkpointing_train(micro_run):
    words = (
        "--model.variant",
        "iterative_sgg",
        "--training.gradient_checkpointing",
        "true",
        "--training.max_steps",
        "2",
    )
    folder = run(micro_run("run", *words))
    config = json.loads((folder / "final" / "config.json").read_text())
    assert (config["relation_query_multiplier"], config["assignment"]) == (1, "one_to_one")


def test_training_goes_on_from_a_saved_model(micro_run):
    folder = run(micro_run("first"))
    words = micro_run("second", "--model.pretrained", str(folder / "final"), "--training.learning_rate", "0")
    trainer = train.build_trainer(train.parse_arguments(words))
    assert_equal = torch.testing.assert_close
    assert_equal(trainer.model.state_dict()["class_head.weight"], weights(folder)["class_head.weight"], rtol=0, atol=0)


def test_fp16_falls_back_with_a_warning_where_there_is_none(micro_run, caplog):
    if torch.accelerator.is_available():
        pytest.skip("this machine has fp16")
    folder = run(micro_run("run", "--training.mixed_precision", "fp16", "--training.max_steps", "1"))
    assert "has no fp16" in caplog.text
    assert entries(folder)[0]["loss"] > 0


MISTAKES = [
    (("--data.root", "nowhere"), "data.root: there is no folder nowhere"),
    (("--data.format", "visual_genome"), "VG-SGG-dicts-with-attri.json does not exist"),
    (("--data.annotations", "synthetic_image_data.json"), "not an HDF5 file"),
    (("--data.synthetic_root", "nowhere"), "data.synthetic_root: there is no file or folder nowhere; name another set, or set it to null"),
    (("--data.crop_probability", "1.5"), "crop_probability"),
    (("--training.batch_size", "100"), "training.batch_size is 100, but the training split has only"),
    (("--training.resume_from", "nowhere"), "training.resume_from: nowhere is not a complete checkpoint"),
    (("--model.num_query_groups", "9"), "num_object_queries"),
    (("--model.dropout", "high"), "model: Validation error for field 'dropout'"),
    (("--model.detr", "./nowhere"), "model.detr: cannot load ./nowhere"),
    (("--model.pretrained", "./nowhere"), "model.pretrained: cannot load ./nowhere"),
    (("--training.output_dir", __file__), "is a file"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "message"), MISTAKES, ids=lambda value: value[0] if isinstance(value, tuple) else ""
)
def test_mistakes_end_with_one_message(micro_run, assert_refused, overrides, message):
    assert_refused(train, micro_run("run", *overrides), message)


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        ({"real": 0.7, "synthetic": 0.7}, "ratios must sum to 1"),
        ({"real": 0.9, "synthetic": 0.1}, "batch of 4 holds 0.4 examples of 'synthetic'"),
        ({"real": 0.7, "fake": 0.3}, "fake"),
    ],
)
def test_wrong_ratios_are_named(micro_run, genome, assert_refused, ratios, message):
    assert_refused(train, micro_run("run", data={"synthetic_root": str(genome), "ratios": ratios}), message)


def test_an_earlier_run_is_not_mixed_with_a_new_one(micro_run, capsys):
    folder = run(micro_run("run", "--training.max_steps", "2"))
    with pytest.raises(SystemExit):
        train.main(micro_run("run"))
    assert "holds an earlier run" in capsys.readouterr().err
    run(micro_run("run", "--training.max_steps", "1", "--training.overwrite", "true"))
    assert [entry["step"] for entry in entries(folder)] == [1]


def test_a_compiled_network_trains_the_same_and_resumes(micro_run, monkeypatch):
    compiled = []

    def compile_without_generating_code(module):
        compiled.append(module)
        module._compiled_call_impl = torch.compile(module._call_impl, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", compile_without_generating_code)
    plain = run(micro_run("plain"))
    whole = run(micro_run("whole", "--training.compile", "true"))
    run(micro_run("parts", "--training.compile", "true", "--training.max_steps", "2"))
    parts = run(micro_run("parts", "--training.compile", "true", "--training.resume_from", "auto"))
    assert len(compiled) == 3
    assert_same_weights(whole, parts)
    expected, found = weights(plain), weights(whole)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
