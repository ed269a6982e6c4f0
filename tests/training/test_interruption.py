"""Reading processes outlive a SIGTERM to their group, but never the process that trains."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys

import pytest

from speaq_hf.data import load_scene_graphs
from speaq_hf.data.images import undecoded
from training import train
from training.prediction import LoadingOptions, predict_scene_graphs

from .conftest import ROOT


pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")

# The loader stays alive to the very end, as one does that an error's traceback holds.
READ_ON = """
import os, signal, sys
from torch.utils.data import DataLoader
from training.interruption import leave_to_parent

batches = sys.kept = iter(DataLoader(range(50), num_workers=2, worker_init_fn=leave_to_parent, persistent_workers=True))
numbers = [int(next(batches)), int(next(batches))]
for reader in batches._workers:
    os.kill(reader.pid, signal.SIGTERM)
numbers += [int(number) for number in batches]
print(numbers == list(range(50)), [reader.is_alive() for reader in batches._workers])
raise RuntimeError("the end")
"""


def end_of(*words, timeout):
    """Exit code, output and errors of a Python program that must end by itself."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_readers_survive_sigterm_and_end_with_their_parent():
    code, output, errors = end_of("-c", READ_ON, timeout=60)
    assert (code, output) == (1, "True [True, True]\n")
    assert errors.endswith("RuntimeError: the end\n") and errors.count("Error") == 1


def test_readers_of_an_evaluation_survive_sigterm(micro_run):
    trainer = train.build_trainer(train.parse_arguments(micro_run("run")))
    batches = predict_scene_graphs(
        trainer.model,
        trainer.task.processor,
        trainer.data.validation,
        trainer.accelerator,
        LoadingOptions(batch_size=1, num_workers=1),
    )
    next(batches)
    (reader,) = multiprocessing.active_children()
    os.kill(reader.pid, signal.SIGTERM)
    assert len(list(batches)) == 5


def test_an_unreadable_image_ends_the_program(micro_run, genome, tmp_path):
    root = tmp_path / "genome"
    shutil.copytree(genome, root)
    for image in undecoded(load_scene_graphs(root, "train"))["image"]:
        os.truncate(image["path"], 300)
    words = micro_run("run", "--data.root", str(root), "--data.num_workers", "1")
    code, _, errors = end_of("-m", "training.train", *words, timeout=120)
    assert code == 1 and "cannot be read" in errors and "Traceback" not in errors
