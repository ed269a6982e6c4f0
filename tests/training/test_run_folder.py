"""One run at a time writes to a folder, and what it goes on from is what it says."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from training import train
from training.run_folder import RunFolder

from .test_robustness import fail
from .test_train import entries, run


def test_a_checkpoint_of_another_run_does_not_replace_this_one(micro_run, capsys):
    first = run(micro_run("first", "--training.max_steps", "2"))
    second = run(micro_run("second"))
    checkpoint = str(first / "checkpoints" / "step-00000002")
    fail(micro_run("second", "--training.resume_from", checkpoint))
    assert "holds an earlier run" in capsys.readouterr().err
    assert [path.name for path in (second / "checkpoints").iterdir()] == ["step-00000004"] and len(
        entries(second)
    ) == 4
    third = run(micro_run("third", "--training.resume_from", checkpoint))
    assert [entry["step"] for entry in entries(third)] == [3, 4]
    assert (first / "checkpoints" / "step-00000002").is_dir()


def test_options_of_the_resumed_run_are_those_that_count(micro_run, caplog):
    options = ("--training.max_steps", "2", "--training.milestones", "[9]")
    run(micro_run("run", *options))
    words = ("--training.resume_from", "auto", "--training.milestones", "[9]", "--training.learning_rate", "5e-4")
    folder = run(micro_run("run", *words, "--training.weight_decay", "0.1"))
    assert [entry["learning_rate"] for entry in entries(folder)] == pytest.approx([1e-3, 1e-3, 5e-4, 5e-4])
    assert "Resuming with learning rate 0.0005 and weight decay 0.1; the checkpoint was made with 0.001" in caplog.text
    assert yaml.safe_load((folder / "config.yaml").read_text())["training"]["learning_rate"] == 5e-4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("--training.max_steps", "1"), "max_steps is 1, but .* is of step 4"),
        (("--model.d_model", "32"), "damaged or of a differently configured run"),
    ],
)
def test_what_cannot_be_resumed_leaves_everything_as_it_was(micro_run, capsys, overrides, message):
    folder = run(micro_run("run"))
    before = (folder / "config.yaml").read_text()
    fail(micro_run("run", "--training.resume_from", "auto", *overrides))
    error = " ".join(capsys.readouterr().err.split())
    assert re.search(message, error)
    assert (folder / "config.yaml").read_text() == before and len(entries(folder)) == 4


def test_a_resumed_run_mixes_as_it_is_told_and_says_so(micro_run, genome, caplog):
    def go_on(ratios, weights, steps):
        options = ["--data.synthetic_root", str(genome), "--data.ratios", ratios, "--data.loss_weights", weights]
        words = micro_run("run", *options, "--training.max_steps", steps, "--training.resume_from", "auto")
        trainer = train.build_trainer(train.parse_arguments(words))
        batch = next(trainer.stream.starting_at(trainer.state.step))
        trainer.train()
        trainer.folder.close()
        return Counter((label["source"], float(label["loss_weight"])) for label in batch["labels"])

    half, unequal = "{real: 0.5, synthetic: 0.5}", "{real: 0.75, synthetic: 0.25}"
    go_on(half, "{real: 1.0, synthetic: 0.5}", "2")
    assert go_on(half, "{real: 1.0, synthetic: 0.5}", "3") == {("real", 1.0): 2, ("synthetic", 0.5): 2}
    assert "Resuming with" not in caplog.text
    assert go_on(unequal, "{real: 1.0, synthetic: 0.25}", "4") == {("real", 1.0): 3, ("synthetic", 0.25): 1}
    for name, now, before in (("ratios", 0.25, 0.5), ("loss_weights", 0.25, 0.5)):
        pattern = (
            rf"Resuming with {name}=.*'synthetic': {now}}}, the checkpoint was made with .*'synthetic': {before}}}"
        )
        assert re.search(pattern, caplog.text)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.bin", "random_states_0.pkl", "custom_checkpoint_0.pkl"]
)
def test_a_damaged_checkpoint_is_named(micro_run, capsys, name):
    folder = run(micro_run("run"))
    file = folder / "checkpoints" / "step-00000004" / name
    file.write_bytes(file.read_bytes()[:100])
    fail(micro_run("run", "--training.resume_from", "auto", "--training.max_steps", "6"))
    assert "step-00000004 is damaged" in capsys.readouterr().err


def test_two_runs_never_share_a_folder(micro_run, tmp_path, capsys):
    words = micro_run("run")
    folder = Path(words[words.index("--training.output_dir") + 1])
    script = (
        "import sys; from training.arguments import TrainingArguments; from training.run_folder import RunFolder\n"
        "folder = RunFolder(TrainingArguments(output_dir=sys.argv[1])); folder.open(); print('open', flush=True); input()"
    )
    command = [sys.executable, "-c", script, str(folder)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as other:
        assert other.stdout.readline() == "open\n"
        fail(words)
        assert "another process is training into" in capsys.readouterr().err
        other.kill()
    run(words)


def test_a_model_that_was_being_replaced_does_not_outlive_its_run(micro_run):
    folder = run(micro_run("run", "--training.max_steps", "1"))
    (folder / "final").rename(folder / "best.old")
    options = ("--training.overwrite", "true", "--training.max_steps", "2")
    run(micro_run("run", *options))
    run(micro_run("run", "--training.resume_from", "auto", "--training.max_steps", "3"))
    assert not (folder / "best").exists() and not (folder / "best.old").exists()


def test_a_checkpoint_may_be_renamed(micro_run, tmp_path):
    folder = run(micro_run("run", "--training.max_steps", "2"))
    kept = folder.parent / "kept for later"
    (folder / "checkpoints" / "step-00000002").rename(kept)
    assert [entry["step"] for entry in entries(run(micro_run("more", "--training.resume_from", str(kept))))] == [3, 4]


def test_leftovers_of_a_crash_are_swept(micro_run):
    folder = run(micro_run("run"))
    for name in ("final.tmp", "checkpoints/step-00000006.tmp"):
        (folder / name).mkdir()
    run(micro_run("run", "--training.resume_from", "auto", "--training.max_steps", "5"))
    assert not list(folder.rglob("*.tmp"))


def test_a_run_that_skipped_most_steps_has_no_final_model(micro_run, capsys):
    folder = fail(micro_run("run", "--training.learning_rate", "1e30"))
    assert "of 4 steps were skipped" in capsys.readouterr().err or not (folder / "final").exists()
    assert not (folder / "final").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("--model.backbone_config.dephts", "[1]"),
            "Unknown field of a resnet backbone: 'dephts'. Did you mean depths",
        ),
        (("--model.backbone_config.model_type", "resnett"), "Unknown model_type: 'resnett'. Did you mean resnet"),
        (("--training.milestones", "[-1]"), "milestones must be at least 1"),
        (("--training.decay", "5"), "decay must be at most 1"),
    ],
)
def test_misspelt_fields_and_impossible_values(micro_run, capsys, overrides, message):
    fail(micro_run("run", *overrides))
    assert message in capsys.readouterr().err


def test_opening_is_the_first_change(tmp_path):
    arguments = train.TrainingArguments(output_dir=str(tmp_path / "run"))
    folder = RunFolder(arguments)
    assert not folder.path.exists()
    folder.open()
    (folder.path / "log.jsonl").write_text(json.dumps({"step": 1}))
    folder.close()
    with pytest.raises(FileExistsError, match="holds an earlier run"):
        RunFolder(arguments)
