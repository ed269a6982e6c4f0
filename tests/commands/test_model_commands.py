"""The commands around models: what they print and write, and their errors in a sentence."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from speaq_hf.cli import app
from speaq_hf.training_runs.training_command import TrainingCommand
from tests.helpers import REFERENCE, save_tiny_model


ROOT = Path(__file__).parents[2]


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(*arguments):
    result = run(*arguments)
    assert result.exit_code == 2 and "Traceback" not in result.output
    return result.output


@pytest.fixture
def saved(tmp_path):
    return save_tiny_model(tmp_path / "mine")


def test_card_writes_a_card_with_a_picture(saved, tmp_path):
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (80, 60), (90, 60, 30)).save(photo)
    result = run("card", saved, "--picture", photo, "--license", "mit", "--source", "owner/mine")
    assert result.exit_code == 0, result.output
    text = (saved / "README.md").read_text()
    assert "license: mit" in text and 'from_pretrained("owner/mine")' in text and "](graph.png)" in text
    assert Image.open(saved / "graph.png").format == "PNG"
    assert run("card", saved).exit_code == 0
    assert "graph.png" not in (saved / "README.md").read_text().split("## Use")[0]


def test_card_does_not_replace_what_somebody_wrote(saved):
    (saved / "README.md").write_text("# Mine\n")
    assert "--overwrite" in refused("card", saved) and (saved / "README.md").read_text() == "# Mine\n"
    assert run("card", saved, "--overwrite").exit_code == 0
    assert (saved / "README.md").read_text().startswith("---\n")


def test_card_takes_metrics_and_another_file(saved, tmp_path):
    evaluation = ROOT / "speaq_hf" / "assets" / "speaq-tiny" / "evaluation_test.json"
    result = run(
        "card", saved, "--metrics", evaluation, "--output", tmp_path / "cards" / "mine.md", "--name", "graphs"
    )
    assert result.exit_code == 0, result.output
    text = (tmp_path / "cards" / "mine.md").read_text()
    assert "# graphs" in text and "| speaq (747d9e47) | R | 40.03 |" in text and not (saved / "README.md").exists()
    assert "none.json" in refused("card", saved, "--metrics", tmp_path / "none.json")
    assert "--output" in refused("card", "owner/name")


def test_info_tells_what_is_in_a_model_and_its_card(saved):
    shown = " ".join(run("info", ROOT / "speaq_hf" / "assets" / "speaq-tiny").output.split())
    for words in (
        "SpeaQForSceneGraphGeneration",
        "1,001,118",
        "9,669 images",
        "R@20, protocol speaq 40.03",
        "torch 2.",
    ):
        assert words in shown
    report = json.loads(run("info", saved, "--json").stdout)
    assert report["model"]["predicates"] == ["on", "near", "wearing", "riding", "behind"]
    assert "there is no folder" in refused("info", "/nowhere")


def test_info_tells_what_there_is_to_compute_with():
    report = json.loads(run("info", "--json").stdout)
    assert report["versions"]["torch"] == torch.__version__ and report["threads"] == torch.get_num_threads()
    assert "torchvision" in run("info").output


def test_bench_prints_a_table_or_json(saved, tmp_path):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (80, 60)).save(photo)
    options = ("bench", saved, photo, "-b", 2, "--repeats", 1, "--warm-up", 0)
    assert "images/s" in run(*options).output
    report = json.loads(run(*options, "--json").stdout)
    assert report["image"] == f"{photo}, 80 x 60" and [batch["batch_size"] for batch in report["batches"]] == [2]
    assert "batch_size must be at least 1" in refused(*options[:3], "-b", 0)


def test_convert_makes_a_model_that_info_knows(tmp_path):
    paths = ("--checkpoint", REFERENCE / "checkpoint_speaq.pth", "--config", REFERENCE / "config_speaq.json")
    result = run("convert", *paths, "--output", tmp_path / "converted")
    assert result.exit_code == 0, result.output
    assert json.loads(run("info", tmp_path / "converted", "--json").stdout)["model"]["variant"] == "SpeaQ"
    assert "not an empty directory" in refused("convert", *paths, "--output", tmp_path / "converted")


def test_train_prints_the_command_of_accelerate():
    program = str(ROOT / "training" / "train.py")
    config = str(ROOT / "training" / "configs" / "tiny.yaml")
    result = run("train", "--config", "tiny", "--training.max_steps", 3, "--data.root=my data", "--dry-run")
    expected = [
        "accelerate",
        "launch",
        "--quiet",
        program,
        "--config",
        config,
        "--training.max_steps",
        "3",
        "--data.root=my data",
    ]
    assert result.exit_code == 0 and shlex.split(result.output) == expected
    words = shlex.split(run("train", "--config", "detr_tiny", "--detector", "-n", 2, "--cpu", "--dry-run").output)
    assert words[:6] == [
        "ACCELERATE_USE_CPU=true",
        "accelerate",
        "launch",
        "--quiet",
        "--multi_gpu",
        "--num_processes",
    ]
    assert words[7].endswith("pretrain_detector.py")


def test_train_refuses_what_cannot_start():
    assert "speaq_vg" in refused("train", "--config", "mine")
    assert "at least 1" in refused("train", "--config", "tiny", "-n", 0)


def test_train_runs_the_program_and_passes_its_exit_code_on(monkeypatch):
    calls = []

    class Process:
        pid = 0

        def __init__(self, words, env):
            calls.append((words, env["ACCELERATE_USE_CPU"]))

        def wait(self):
            return 7

    monkeypatch.setattr(subprocess, "Popen", Process)
    assert run("train", "--config", "tiny", "--cpu").exit_code == 7
    command = TrainingCommand.of("tiny", cpu=True)
    assert calls == [([sys.executable, "-m", "accelerate.commands.launch", "--quiet", *command.program], "true")]


@pytest.mark.parametrize("command", ["card", "info", "train", "convert", "bench"])
def test_help_shows_an_example(command):
    assert f"speaq {command}" in " ".join(run(command, "--help").output.split())


def _changed_config(folder, **fields):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"12345678901"), "weights cannot be read"),
        (lambda folder: _changed_config(folder, d_model="x"), "configuration is wrong"),
        (lambda folder: _changed_config(folder, backbone_config={"model_type": "nosuch"}), "unknown 'nosuch'"),
        (lambda folder: _changed_config(folder, num_relation_queries=3), "configuration is wrong"),
        (lambda folder: _changed_config(folder, encoder_ffn_dim=12), "weights do not fit"),
    ],
)
def test_damaged_models_are_named_in_a_sentence(saved, damage, words):
    damage(saved)
    photo = saved / "photo.jpg"
    Image.new("RGB", (80, 60)).save(photo)
    commands = [("predict", photo, "--model", saved), ("bench", saved, photo)]
    commands += [("info", saved), ("card", saved)] if "fit" not in words else []
    for command in commands:
        output = " ".join(refused(*command).split())
        assert words in output and "mine" in output, output


def test_a_card_with_broken_metadata_is_named(saved):
    (saved / "README.md").write_text("---\n: : [\n---\n")
    assert "README.md" in refused("info", saved)
