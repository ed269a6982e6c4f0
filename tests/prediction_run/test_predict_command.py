"""`speaq predict`: what it prints, what it says of mistakes, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from speaq_hf.cli import app
from speaq_hf.predictor import SceneGraphPredictor


def run(*arguments):
    return CliRunner().invoke(app, ["predict", "--device", "cpu", *map(str, arguments)])


def test_an_image_alone_prints_its_graph(photos):
    result = run(photos / "004.png", "--threshold", "0.001")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"{photos / '004.png'} (104 x 80 pixels)"
    assert lines[1].startswith("  objects: ") and lines[2] == "  relations:"
    assert lines[3].split()[0].startswith("0.")


def test_help_shows_examples_line_by_line():
    result = CliRunner().invoke(app, ["predict", "--help"], env={"COLUMNS": "80"})
    assert "\n    speaq predict photo.jpg\n    speaq predict photo.jpg --pictures pictures\n" in result.output
    assert "frame is" in result.output


def test_a_folder_gives_a_file_and_bad_images_exit_code_1(photos, tmp_path):
    result = run(photos, "--recursive", "--output", tmp_path / "out.jsonl", "--top-k", 3)
    assert result.exit_code == 1, result.output
    assert result.stdout.startswith(f"Wrote {tmp_path / 'out.jsonl'}: 11 images or frames, predicted in ")
    assert (
        f"2 could not be read, listed in {tmp_path / 'out.skipped.jsonl'}:\n  {photos / '004b.jpg'}: cannot be"
        in result.stderr
    )
    entries = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [len(entry["relations"]) for entry in entries[1:]] == [3] * 11
    assert entries[-1]["image_id"] == "deeper/7"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.jpg"], "nothing.jpg does not exist"),
        ([], "name images, folders or videos"),
        (["PHOTO", "--dtype", "float7"], "--dtype must be"),
        (["PHOTO", "--device", "toaster"], "--device toaster"),
        (["PHOTO", "--top-k", "0"], "--top-k must be at least 1"),
        (["PHOTO", "--model", "no/such/model"], "no/such/model"),
        (["PHOTO", "--output", "a.json"], "a.json: predictions are written line by line"),
        (["PHOTO", "--output", "FOLDER"], "is a folder; name a file in it"),
    ],
)
def test_mistakes_are_one_sentence(photos, tmp_path, arguments, words):
    places = {"PHOTO": photos / "001.png", "FOLDER": tmp_path}
    result = run(*(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == 2
    assert words in result.stderr and "Traceback" not in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_low_scores_are_explained(photos, tmp_path, monkeypatch):
    from PIL import Image

    Image.new("RGB", (64, 64), "gray").save(tmp_path / "grey.png")
    result = run(tmp_path / "grey.png")
    assert result.exit_code == 0
    assert "none with a score of 0.05 or more" in result.stdout
    assert "knows drawn scenes only" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_a_message_and_resume_goes_on(photos, tmp_path, monkeypatch, number):
    whole, output = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    run(photos, "--output", whole, "--batch-size", 2)
    predict, batches = SceneGraphPredictor.predict_prepared, []

    def predict_until_signal(self, prepared, options=None):
        batches.append(prepared)
        if len(batches) == 3:
            os.kill(os.getpid(), number)
        return predict(self, prepared, options)

    monkeypatch.setattr(SceneGraphPredictor, "predict_prepared", predict_until_signal)
    before = signal.getsignal(number)
    result = run(photos, "--output", output, "--batch-size", 2)
    assert result.exit_code == 128 + number
    assert "Interrupted with 4 of 12 images done; the same command with --resume goes on" in result.stderr
    assert signal.getsignal(number) is before
    refused = run(photos, "--output", output, "--batch-size", 2)
    assert refused.exit_code == 2 and "holds an interrupted run; --resume goes on" in refused.stderr
    result = run(photos, "--output", output, "--batch-size", 2, "--resume")
    assert result.exit_code == 1 and "10 images or frames, 6 of them predicted here and now in" in result.stdout
    assert output.read_bytes() == whole.read_bytes()


def test_predictions_of_a_data_set_can_be_evaluated(genome, tmp_path):
    output = tmp_path / "out.jsonl"
    assert run("--data", genome, "--split", "train", "--output", output).exit_code == 0
    result = CliRunner().invoke(
        app,
        [
            "evaluate",
            "--predictions",
            str(output),
            "--ground-truth",
            str(genome),
            "--split",
            "train",
            "--replicates",
            "0",
        ],
    )
    assert result.exit_code == 0, result.output
    assert "12 images of" in result.stdout and "protocol speaq" in result.stdout


@pytest.mark.slow
def test_launched_processes_share_a_folder(photos, tmp_path):
    whole, shared = tmp_path / "whole.jsonl", tmp_path / "shared.jsonl"
    run(photos, "--output", whole, "--batch-size", 2)
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--main_process_port",
        "0",
    ]
    command = [*launch, "-m", "speaq_hf.cli", "predict", photos, "--output", shared, "--batch-size", "2"]
    environment = os.environ | {
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path]),
    }
    result = subprocess.run(command, check=True, env=environment, timeout=300, capture_output=True, text=True)
    assert "of 2 is done; the last one writes" in result.stderr
    assert shared.read_bytes() == whole.read_bytes()
