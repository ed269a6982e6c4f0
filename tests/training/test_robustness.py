"""What must not cost a run: broken numbers, broken images, a full disk, a polite stop."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from speaq_hf import SpeaQForSceneGraphGeneration
from tests.helpers import random_label, tiny_config
from training import train
from training.checkpoints import recover_folder, write_folder
from training.logs import JsonLinesLog
from training.optimization_step import OptimizationStep

from .conftest import ROOT
from .test_optimization import build_step, make_batch
from .test_train import assert_same_weights, entries, run, weights


def fail(words, code=1):
    with pytest.raises(SystemExit) as end:
        train.main(words)
    assert end.value.code == code
    return Path(words[words.index("--training.output_dir") + 1])


def test_a_broken_image_does_not_reach_the_batch_norms():
    step = build_step()
    norm = torch.nn.BatchNorm2d(3)

    def see_pixels(_, inputs, named):
        norm(named["pixel_values"])

    step.model.model.backbone.add_module("norm", norm)
    step.model.register_forward_pre_hook(see_pixels, with_kwargs=True)
    step([make_batch()])
    before = {name: value.clone() for name, value in step.model.state_dict().items()}
    batch = make_batch()
    batch["pixel_values"][0, 0, 3, 3] = torch.nan
    assert not step([batch]).is_finite
    assert all(torch.equal(value, before[name]) for name, value in step.model.state_dict().items())
    step([make_batch(seed=1)])
    assert not torch.equal(norm.running_mean, before["model.backbone.norm.running_mean"])


def test_skipped_steps_name_their_images(micro_run, monkeypatch, caplog):
    calls, plain = [], OptimizationStep._forward

    def break_second(self, batch):
        calls.append([int(label["image_id"]) for label in batch["labels"]])
        if len(calls) == 2:
            batch["pixel_values"][1] = torch.inf
        return plain(self, batch)

    monkeypatch.setattr(OptimizationStep, "_forward", break_second)
    skipped = [entry for entry in entries(run(micro_run("run"))) if entry["type"] == "skipped"]
    assert [(entry["step"], entry["image_ids"]) for entry in skipped] == [(2, calls[1])]
    assert f"Step 2 was skipped, it was not finite; its images: {calls[1]}" in caplog.text
    assert "sources" not in skipped[0]


def test_skipped_steps_name_the_sources_of_their_images(micro_run, genome, monkeypatch, caplog):
    seen, plain = [], OptimizationStep._forward

    def break_pixels(self, batch):
        seen.extend((label["source"], int(label["image_id"])) for label in batch["labels"])
        batch["pixel_values"][:] = torch.nan
        return plain(self, batch)

    monkeypatch.setattr(OptimizationStep, "_forward", break_pixels)
    fail(words := micro_run("run", "--data.synthetic_root", str(genome), "--training.max_skipped_steps", "1"))
    (entry,) = entries(Path(words[words.index("--training.output_dir") + 1]))
    assert list(zip(entry["sources"], entry["image_ids"], strict=True)) == seen
    assert {source for source, _ in seen} == {"real", "synthetic"}
    assert str([f"{source} {number}" for source, number in seen]) in caplog.text


def test_weights_that_are_not_finite_are_never_saved(micro_run, monkeypatch, capsys):
    good = run(micro_run("run"))
    broken = good.parent / "broken"
    shutil.copytree(good / "final", broken)
    state = load_file(broken / "model.safetensors")
    state["class_head.weight"][0, 0] = torch.nan
    save_file(state, broken / "model.safetensors", metadata={"format": "pt"})
    fail(micro_run("again", "--model.pretrained", str(broken)))
    assert "model.pretrained: " in capsys.readouterr().err

    plain = OptimizationStep.__call__

    def poison(self, batches, interrupted=False):
        result = plain(self, batches, interrupted)
        if self.scheduler.last_epoch == 3:
            self.model.class_head.weight.data[0, 0] = torch.nan
        return result

    monkeypatch.setattr(OptimizationStep, "__call__", poison)
    folder = fail(micro_run("later", "--training.save_steps", "1"))
    error = capsys.readouterr().err
    assert "class_head.weight is not finite at step 3" in error and "step-00000002" in error
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-00000002"]
    assert not (folder / "final").exists()


def test_sigterm_saves_a_checkpoint_and_resuming_gives_the_same_weights(micro_run, monkeypatch, capsys):
    plain = OptimizationStep.__call__
    stop_at = {"step": 3}

    def stop(self, batches, interrupted=False):
        if self.scheduler.last_epoch + 1 == stop_at["step"]:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, batches, interrupted)

    options = ("--training.max_steps", "6", "--training.save_steps", "5")
    whole = run(micro_run("whole", *options))
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(OptimizationStep, "__call__", stop)
    parts = fail(micro_run("parts", *options), code=143)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert "Stopped by SIGTERM after step" in capsys.readouterr().err
    (checkpoint,) = (parts / "checkpoints").iterdir()
    assert checkpoint.name in ("step-00000003", "step-00000004") and not (parts / "final").exists()
    stop_at["step"] = None
    run(micro_run("parts", *options, "--training.resume_from", "auto"))
    assert_same_weights(whole, parts)


@pytest.mark.skipif(os.name != "posix", reason="there are no process groups")
def test_sigterm_to_the_whole_group_saves_a_checkpoint(micro_run, tmp_path):
    """What `timeout` and cluster schedulers send also reaches the readers, in which it must not end anything."""
    words = micro_run(
        "run", "--data.num_workers", "2", "--training.max_steps", "100000", "--training.save_steps", "100000"
    )
    program = subprocess.Popen(
        [sys.executable, "-m", "training.train", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    log, deadline = tmp_path / "run" / "log.jsonl", time.monotonic() + 120
    while time.monotonic() < deadline and not (log.is_file() and log.stat().st_size):
        time.sleep(0.05)
    os.killpg(program.pid, signal.SIGTERM)
    _, errors = program.communicate(timeout=120)
    assert program.returncode == 143, errors
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step-"))
    assert f"error: Stopped by SIGTERM after step {step}, which is saved" in errors
    assert "Traceback" not in errors and "killed by signal" not in errors
    assert json.loads(log.read_text().splitlines()[-1])["step"] == step


def test_a_crash_ends_the_readers(micro_run, monkeypatch):
    def crash(self, batch):
        raise RuntimeError("no more memory")

    monkeypatch.setattr(OptimizationStep, "_forward", crash)
    trainer = train.build_trainer(train.parse_arguments(micro_run("run", "--data.num_workers", "2")))
    with pytest.raises(
        RuntimeError, match="no more memory"
    ) as error:  # keeps the frames, as an interpreter does at its end
        trainer.train()
    assert multiprocessing.active_children() == [] and error.tb is not None


def test_a_run_that_died_before_its_first_checkpoint_begins_again(micro_run, capsys):
    words = micro_run("run", "--training.resume_from", "auto")
    folder = Path(words[words.index("--training.output_dir") + 1])
    folder.mkdir()
    (folder / "log.jsonl").write_text('{"step": 1, "type": "train"}\n')
    run(words)
    assert len([entry for entry in entries(folder) if entry["step"] == 1]) == 1
    shutil.rmtree(folder / "checkpoints")
    fail(words)
    assert "holds an earlier run" in capsys.readouterr().err


def test_saving_a_model_leaves_its_number_format_alone(micro_run):
    trainer = train.build_trainer(train.parse_arguments(micro_run("run", "--training.mixed_precision", "bf16")))
    before = trainer.model.forward
    trainer.save_model(trainer.output_dir / "best")
    assert trainer.model.forward == before and hasattr(trainer.model, "_original_forward")
    trainer.train()
    assert weights(trainer.output_dir)


def test_full_disk_leaves_the_last_checkpoint(micro_run, monkeypatch, capsys):
    saved = []
    plain = train.Accelerator.save_state

    def save_state(self, folder):
        saved.append(folder)
        if len(saved) == 2:
            (Path(folder) / "model.safetensors").write_bytes(b"half")
            monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4096))
            raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")
        return plain(self, folder)

    monkeypatch.setattr(train.Accelerator, "save_state", save_state)
    folder = fail(micro_run("run"))
    place = folder / "checkpoints"
    error = (
        f"cannot write {place / 'step-00000004'}: the disk of {place} is full. Make room on it; then --training.resume"
    )
    assert error in capsys.readouterr().err
    monkeypatch.undo()
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-00000002"]
    run(micro_run("run", "--training.resume_from", "auto"))
    assert_same_weights(run(micro_run("whole")), folder)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_for_single_files(tmp_path, monkeypatch, number):
    def fail_to_sync(handle):
        raise OSError(number, os.strerror(number))

    log = JsonLinesLog(tmp_path / "log.jsonl")
    monkeypatch.setattr(os, "fsync", fail_to_sync)
    for change in (lambda: log.write({"step": 1}), lambda: log.drop_after(1)):
        with pytest.raises(OSError, match="cannot write .*log.jsonl: the disk of .* is full"):
            change()


@pytest.mark.parametrize("method", ["init_trackers", "log"])
def test_a_tracker_that_cannot_write_is_named(micro_run, monkeypatch, capsys, method):
    def fail_to_write(self, *arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(train.Accelerator, method, fail_to_write)
    folder = fail(micro_run("run"))
    assert f"error: cannot write {folder / 'tracker'}: the disk of {folder} is full" in capsys.readouterr().err


def test_a_folder_is_never_missing(tmp_path):
    target = tmp_path / "best"
    accelerator = train.Accelerator()
    write_folder(target, lambda folder: (folder / "file").write_text("1"), accelerator)
    with pytest.raises(OSError, match="cannot write .*best: no more space"):
        write_folder(target, lambda folder: (_ for _ in ()).throw(RuntimeError("no more space")), accelerator)
    assert (target / "file").read_text() == "1" and len(list(tmp_path.iterdir())) == 1
    os.replace(target, tmp_path / "best.old")  # where a kill can leave it
    recover_folder(target)
    assert (target / "file").read_text() == "1" and len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def broken_genome(genome, tmp_path):
    """A copy with three images that cannot be read: cut short, empty, and text; two for training, one for validation."""
    root = tmp_path / "broken genome"
    shutil.copytree(genome, root)
    train_rows, validation_rows = (train.load_training_data(data_arguments(root)).__dict__[name] for name in ("train", "validation"))  # fmt: skip
    cut, empty = (Path(train_rows.data.column("image")[row].as_py()["path"]) for row in (0, 5))
    text = Path(validation_rows.data.column("image")[1].as_py()["path"])
    cut.write_bytes(cut.read_bytes()[:300])
    empty.write_bytes(b"")
    text.write_text("<html>404 not found</html>")
    return root


def data_arguments(root):
    words = ["--config", str(CONFIGS / "tiny.yaml"), "--data.root", str(root), "--data.synthetic_root", "null"]
    return train.parse_arguments(words).data


CONFIGS = Path(train.__file__).parent / "configs"


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_count_of_unreadable_images_outlives_a_stop(micro_run, broken_genome, caplog, workers):
    options = ["--data.root", str(broken_genome), "--data.num_workers", workers, "--data.unreadable_images", "replace"]

    def counts(name, steps):
        folder = run(micro_run(name, *options, "--training.max_steps", steps, "--training.resume_from", "auto"))
        return [entry["unreadable_images"] for entry in entries(folder)]

    whole = counts("whole", "12")
    assert f"An unreadable image was replaced by another one {whole[-1]} times" in caplog.text
    assert 0 < counts("parts", "7")[-1] < whole[-1]
    assert counts("parts", "12") == whole


@pytest.mark.parametrize("workers", ["0", "2"])
def test_unreadable_images_are_replaced_and_counted(micro_run, broken_genome, workers):
    options = ("--data.root", str(broken_genome), "--data.num_workers", workers, "--training.max_steps", "12")
    folder = run(micro_run("run", *options, "--data.unreadable_images", "replace", "--evaluation.steps", "12"))
    last = [entry for entry in entries(folder) if entry["type"] == "train"][-1]
    assert last["unreadable_images"] in range(4, 7)  # about 48 images drawn from 24
    evaluation = entries(folder)[-1]
    assert (
        evaluation["type"] == "evaluation"
        and evaluation["num_images"] + evaluation["num_images_without_relations"] == 5
    )


def test_unreadable_images_end_the_run_by_name(micro_run, broken_genome, capsys):
    fail(micro_run("run", "--data.root", str(broken_genome), "--training.max_steps", "12"))
    assert "cannot be read" in (error := capsys.readouterr().err) and "broken genome/synthetic_images/" in error


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "I;16", "P", "1"])
def test_images_of_every_mode_are_read(micro_run, genome, tmp_path, mode):
    root = tmp_path / "genome"
    shutil.copytree(genome, root)
    for path in (root / "synthetic_images").iterdir():
        image = (
            Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64))
            if mode == "I;16"
            else Image.open(path).convert(mode)
        )
        image.save(path, format="TIFF")
    assert weights(run(micro_run("run", "--data.root", str(root), "--training.max_steps", "1")))


LABELS = {
    "no objects": random_label(0, 0),
    "no relations": random_label(3, 0),
    "500 relations": random_label(30, 500),
    "one pixel": random_label(4, 6) | {"boxes": torch.tensor([[0.5, 0.5, 1 / 64, 1 / 64]]).repeat(4, 1)},
    "a box on itself": random_label(1, 0) | {"relations": torch.tensor([[0, 0, 1]])},
}


@pytest.mark.parametrize("name", LABELS)
def test_odd_images_train(name):
    model = SpeaQForSceneGraphGeneration(tiny_config()).train()
    for labels in ([LABELS[name]], [LABELS[name], random_label(4, 3)], [LABELS[name]] * 3):
        model.zero_grad()
        loss = model(torch.randn(len(labels), 3, 64, 64), labels=labels).loss
        loss.backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert loss.isfinite() and all(gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.abs().sum() > 0 for gradient in gradients)


def test_log_is_strict_json_also_with_skipped_steps(micro_run, monkeypatch):
    plain = OptimizationStep._forward

    def break_the_second_half(self, batch):
        if self.scheduler.last_epoch > 1:
            batch["pixel_values"][:] = torch.nan
        return plain(self, batch)

    monkeypatch.setattr(OptimizationStep, "_forward", break_the_second_half)
    folder = run(micro_run("run"))
    lines = (folder / "log.jsonl").read_text().splitlines()
    logged = [
        json.loads(line, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON")) for line in lines
    ]
    assert [entry["step"] for entry in logged if entry["type"] == "skipped"] == [3, 4]
    assert [entry["loss"] is None for entry in logged if entry["type"] == "train"] == [False, False, True, True]


def test_losses_are_means_over_the_steps_that_were_not_skipped(micro_run, monkeypatch):
    def losses(name, log_steps):
        folder = run(micro_run(name, "--training.log_steps", log_steps, "--training.gradient_accumulation_steps", "2"))
        return [entry for entry in entries(folder) if entry["type"] == "train"]

    plain = OptimizationStep._forward

    def break_the_second_step(self, batch):
        if self.scheduler.last_epoch == 1:
            batch["pixel_values"][:] = torch.nan
        return plain(self, batch)

    monkeypatch.setattr(OptimizationStep, "_forward", break_the_second_step)
    first, second, *rest = losses("each", "1")
    (window,) = losses("window", "4")
    assert second["loss"] is None and window["skipped_steps"] == 1
    for name in ("loss", "loss_predicate"):
        assert window[name] == pytest.approx(sum(entry[name] for entry in (first, *rest)) / 3, rel=1e-5)
