# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Kill training at random moments until it has survived often enough, and compare its weights with an uninterrupted run's.

OMP_NUM_THREADS=1 python -m benchmarks.crash_recovery --kills 25 [--processes 2] [--output FILE.json]

Processes are forked from one that has imported everything, so that a kill costs seconds. A run saves a checkpoint at every
second step and evaluates at every third: many kills fall into writing.
"""

import argparse
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file

from speaq_hf.data import generate_synthetic_genome
from tests.training.micro_run import MICRO_RUN
from training import train


SECTIONS = {
    "model": MICRO_RUN["model"] | {"dropout": 0.1},
    "data": MICRO_RUN["data"],
    "training": MICRO_RUN["training"] | {"max_steps": 24, "milestones": []},
    "evaluation": {"steps": 3, "max_images": 4, "best_metric": "R@50"},
}


def start(words: Sequence[str], processes: int) -> list[int]:
    """Fork the processes of a run; they end with 0 when it is complete."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(processes):
        child = os.fork()
        if child == 0:
            _run(words, rank, processes, port)
        children.append(child)
    return children


def _run(words: Sequence[str], rank: int, processes: int, port: int) -> None:
    """In a child: train, and leave without the parent's clean-up."""
    os.environ["ACCELERATE_USE_CPU"] = "true"
    if processes > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    log = os.open(
        words[words.index("--training.output_dir") + 1] + f".{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND
    )
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        train.main(words)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def wait(children: Sequence[int], seconds: float | None = None) -> bool:
    """Wait until all children have ended, at most some seconds; whether they have."""
    deadline = None if seconds is None else time.monotonic() + seconds
    remaining = list(children)
    while remaining:
        ended, status = os.waitpid(remaining[0], 0 if deadline is None else os.WNOHANG)
        if ended and status != 0:
            raise RuntimeError(f"process {ended} ended with status {status}; see the .log files beside the run")
        if ended:
            remaining.pop(0)
        elif time.monotonic() > deadline:
            return False
        else:
            time.sleep(0.002)
    return True


def kill(children: Sequence[int]) -> None:
    """End the children at once, as a crash or a power cut does."""
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        try:
            os.waitpid(child, 0)
        except ChildProcessError:
            continue  # it had just ended


def survive(config: Path, folder: Path, processes: int, duration: float, generator: random.Random) -> tuple[int, int]:
    """Train to the end through kills at random moments; how many there were, and how many in the middle of writing."""
    kills = writing = 0
    words = ["--config", str(config), "--training.output_dir", str(folder)]
    while True:
        children = start([*words, "--training.resume_from", "auto"], processes)
        if wait(children, generator.uniform(0.2, 0.8) * duration):
            return kills, writing
        kill(children)
        kills += 1
        writing += any(folder.rglob("*.tmp")) or any(folder.rglob("*.old"))


def measure(root: Path, num_kills: int, processes: int, seed: int) -> dict[str, float | int | bool]:
    """Figures of at least so many kills."""
    generate_synthetic_genome(root / "data", 60, image_size=64, split_shares=(0.6, 0.2, 0.2), num_workers=1)
    config = root / "config.yaml"
    config.write_text(yaml.safe_dump(SECTIONS | {"data": SECTIONS["data"] | {"root": str(root / "data")}}))
    begin = time.monotonic()
    wait(start(["--config", str(config), "--training.output_dir", str(root / "whole")], processes))
    duration, generator = time.monotonic() - begin, random.Random(seed)
    expected = load_file(root / "whole" / "final" / "model.safetensors")
    kills = writing = runs = 0
    while kills < num_kills:
        folder = root / f"run{runs}"
        more, in_writing = survive(config, folder, processes, duration, generator)
        kills, writing, runs = kills + more, writing + in_writing, runs + 1
        found = load_file(folder / "final" / "model.safetensors")
        different = [name for name, value in expected.items() if not torch.equal(value, found[name])]
        if different:
            raise SystemExit(f"run {runs} ended with other weights: {different[:3]}")
    return {"processes": processes, "kills": kills, "while_writing": writing, "runs": runs, "identical": True}


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # forked processes must not inherit a thread pool
    with tempfile.TemporaryDirectory() as root:
        report = json.dumps(measure(Path(root), arguments.kills, arguments.processes, arguments.seed))
    if arguments.output:
        arguments.output.write_text(report + "\n", encoding="utf-8")
    sys.stdout.write(report + "\n")


if __name__ == "__main__":
    main()
