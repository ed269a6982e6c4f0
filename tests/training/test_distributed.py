"""Several processes do what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from speaq_hf.predictions import read_scene_graphs
from training import evaluate

from .two_processes import MODELS, deviation_from_weighted_sum, loss_and_gradients


ROOT = Path(__file__).parents[2]


def launch(*words, accelerate=False):
    """Run a program in two processes on the CPU, and give what it prints."""
    process = start(*words, accelerate=accelerate)
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout


def start(*words, accelerate=False):
    """Run a program in two processes on the CPU."""
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment["ACCELERATE_DEBUG_MODE"] = "1"  # mismatched collectives raise instead of waiting for ever
    launcher = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launcher += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    torchrun = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, "-m", *(launcher if accelerate else torchrun), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    file = tmp_path_factory.mktemp("two") / "result.pt"
    launch(str(Path(__file__).with_name("two_processes.py")), str(file))
    return torch.load(file)


@pytest.mark.parametrize("name", MODELS)
def test_two_processes_give_the_gradients_of_one(two_processes, name):
    two, one = two_processes[name], loss_and_gradients(Accelerator(cpu=True), name)
    assert two.keys() == one.keys() and len(one) > 50
    assert abs(two["loss"] - one["loss"]) <= 1e-5 * abs(one["loss"])
    for tensor in one.keys() - {"loss"}:
        assert (two[tensor] - one[tensor]).norm() <= 1e-5 * one[tensor].norm() + 1e-6, tensor


def test_gradient_is_the_weighted_sum_of_the_images_gradients(two_processes):
    assert two_processes["deviation"] <= 1e-6
    assert deviation_from_weighted_sum(Accelerator(cpu=True)) <= 1e-6


@pytest.fixture
def trained(micro_run, genome, tmp_path):
    """A run of two processes on two sources, stopped after three of five steps and resumed."""
    options = ("--data.num_workers", "1", "--evaluation.steps", "3", "--training.gradient_accumulation_steps", "2")
    program = str(ROOT / "training" / "train.py")
    model, data = {"dropout": 0.1}, {"synthetic_root": str(genome)}

    def train_for(name, steps, *more):
        words = micro_run(name, *options, "--training.max_steps", steps, *more, model=model, data=data)
        launch(program, *words, accelerate=True)
        return tmp_path / name

    whole = train_for("whole", "5")
    train_for("parts", "3")
    return whole, train_for("parts", "5", "--training.resume_from", "auto")


def test_launch_resume_and_evaluate_with_two_processes(trained, genome, tmp_path):
    whole, parts = (load_file(folder / "final" / "model.safetensors") for folder in trained)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    log = [json.loads(line) for line in (trained[0] / "log.jsonl").read_text().splitlines()]
    assert [(entry["step"], entry["type"]) for entry in log] == [
        (1, "train"), (2, "train"), (3, "train"), (3, "evaluation"), (4, "train"), (5, "train"), (5, "evaluation"),
    ]  # fmt: skip
    # Seven images: one process has four, the other three.
    words = ["--model", str(trained[0] / "final"), "--data", str(genome), "--max_images", "7", "--batch_size", "2"]
    words += ["--num_workers", "0", "--objects"]
    results, saved = ([str(tmp_path / name) for name in (f"one.{end}", f"two.{end}")] for end in ("json", "jsonl"))
    more = ["--output", results[1], "--save_predictions", saved[1]]
    output = launch(str(ROOT / "training" / "evaluate.py"), *words, *more)
    assert output.count("protocol speaq") == 1  # one process prints
    evaluate.main([*words, "--output", results[0], "--save_predictions", saved[0]])
    one, two = (json.loads(Path(file).read_text()) for file in results)
    assert one == two
    assert one["metrics"]["num_images"] + one["metrics"]["num_images_without_relations"] == 7
    one, two = (list(read_scene_graphs(file)) for file in saved)
    assert [image_id for image_id, _ in one] == [image_id for image_id, _ in two] and len(one) == 7
    for (_, graph), (_, other) in zip(one, two, strict=True):
        assert torch.allclose(graph.boxes, other.boxes, atol=1e-2)  # in other batches, so not bit for bit


def test_what_breaks_in_one_process_is_an_end_for_both(micro_run, tmp_path):
    errors = start(str(ROOT / "tests" / "training" / "broken_processes.py"), *micro_run("run")).stderr
    skipped = [entry for entry in map(json.loads, open(tmp_path / "run" / "log.jsonl")) if entry["type"] == "skipped"]
    assert [(entry["step"], len(entry["image_ids"])) for entry in skipped] == [(2, 8), (3, 8), (4, 8)]
    for rank in (0, 1):
        assert (
            f"[rank {rank}] error: model.backbone.model.embedder.embedder.convolution.weight is not finite" in errors
        )
    assert "[rank0]:" not in errors and "[rank1]:" not in errors  # PyTorch's tracebacks
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000002"]
