"""The benchmark of what is faster at a bounded error runs, and counts relations that are the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.bounded_error import agreement, build
from tests.helpers import random_layers, save_tiny_model


ROOT = Path(__file__).parents[2]


def test_the_program_measures_fidelity_and_speed(tmp_path):
    file = tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks.bounded_error", "--quick", "--output", str(file)]
    done = subprocess.run(
        [*command, "--alternatives", "bfloat16", "compiled"], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"TORCHDYNAMO_DISABLE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(file.read_text())
    fidelity, speed = report["fidelity"], report["seconds per image"]
    assert list(fidelity) == list(speed) == ["exact", "bfloat16", "compiled"] and not report["missing"]
    # Without a compiler the compiled model is the exact one.
    assert fidelity["exact"]["same of top 20"] == fidelity["compiled"]["same of top 20"] == 100
    assert fidelity["exact"]["largest change of recall"] == fidelity["compiled"]["largest change of recall"] == 0
    assert 50 < fidelity["bfloat16"]["same of top 20"] <= 100  # all of them on some processors
    assert fidelity["bfloat16"]["megabytes"] < 0.6 * fidelity["exact"]["megabytes"]
    assert speed["exact"]["times_faster"] == 1 and fidelity["exact"]["R@20"] > 20
    assert "same of top 20" in done.stdout and "quartiles" in done.stdout


def test_relations_are_the_same_by_query_classes_and_predicate():
    from speaq_hf import SpeaQImageProcessorPil

    def graphs(seed):
        return SpeaQImageProcessorPil().post_process_scene_graph(random_layers(1, seed=seed)[0], [(10, 10)] * 2)

    assert agreement(graphs(0), graphs(0), 5) == 1.0
    assert agreement(graphs(0), graphs(1), 5) < 0.5
    same = graphs(0)
    (first, second) = graphs(0)
    first.relations[0, 2] = (first.relations[0, 2] + 1) % 5
    assert agreement([first, second], same, 5) == pytest.approx(0.9)


def test_what_cannot_be_made_here_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    made, missing = build(["exact", "int8 weights"], save_tiny_model(tmp_path / "model"), tmp_path)
    assert list(made) == ["exact"] and "torchao" in missing["int8 weights"]
    assert made["exact"].num_bytes > 4 * sum(p.numel() for p in made["exact"].predictor.model.parameters())
    assert made["exact"].predictor.model.dtype == torch.float32
