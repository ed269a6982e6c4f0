# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Predict a folder in one go, then again with a kill, a SIGTERM and a SIGINT on the way; compare the files, and watch the memory.

OMP_NUM_THREADS=1 python -m benchmarks.predict_folder --images 2000 [--batch-size 8] [--output FILE.json]

Memory is the resident set, sampled over the run that is not interrupted.
"""

import argparse
import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from speaq_hf.data import generate_synthetic_genome


SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def start(folder: Path, output: Path, *options: str) -> subprocess.Popen:
    """A process that predicts the folder."""
    command = [sys.executable, "-m", "speaq_hf.cli", "predict", str(folder), "--output", str(output), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def resident_megabytes(process: subprocess.Popen) -> float:
    """Memory that a process holds now."""
    fields = Path(f"/proc/{process.pid}/status").read_text().split("VmRSS:")
    return int(fields[1].split()[0]) / 1024 if len(fields) > 1 else 0.0


def num_recorded(output: Path) -> int:
    """Lines that an unfinished run has written."""
    return sum(file.read_bytes().count(b"\n") for file in Path(f"{output}.unfinished").glob("*.jsonl"))


def uninterrupted(folder: Path, output: Path, options: Sequence[str]) -> dict:
    """Seconds and memory of a run in one go, by the number of images done."""
    process, samples = start(folder, output, *options), []
    begin = first = time.monotonic()
    while process.poll() is None:
        done = num_recorded(output)
        if done == 0 and not samples:
            first = time.monotonic()
        elif not samples or done > samples[-1][0]:
            samples.append((done, resident_megabytes(process)))
        time.sleep(0.2)
    end = time.monotonic()
    if process.returncode != 0:
        raise RuntimeError(process.stderr.read())
    return {"seconds": end - begin, "seconds_without_start": end - first, "memory": samples}


def interrupted(folder: Path, output: Path, options: Sequence[str], num_images: int) -> list[dict]:
    """Runs that end at signals, after a quarter of the images each, and one that comes to the end."""
    runs = []
    for number, sent in enumerate(SIGNALS, start=1):
        process = start(folder, output, "--resume", *options)
        while process.poll() is None and num_recorded(output) < number * num_images // (len(SIGNALS) + 1):
            time.sleep(0.02)
        process.send_signal(sent)
        _, message = process.communicate()
        runs.append(
            {"signal": sent.name, "exit_code": process.returncode, "done": num_recorded(output), "said": message}
        )
    process = start(folder, output, "--resume", *options)
    said, message = process.communicate()
    return [*runs, {"exit_code": process.returncode, "said": said + message}]


def checked(one: Path, other: Path, folder: Path) -> dict:
    """Whether two files are equal, and hold every image of the folder once."""
    ids = [json.loads(line)["image_id"] for line in one.read_bytes().splitlines()[1:]]
    files = sorted(int(path.stem) for path in folder.glob("*.jpg"))
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (one, other)]
    return {
        "equal": digests[0] == digests[1],
        "every_image_once": sorted(ids) == files,
        "megabytes": one.stat().st_size / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch-size", default="8")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    options = ("--batch-size", arguments.batch_size)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        generate_synthetic_genome(root / "data", arguments.images, domain="real", image_size=128)
        folder = root / "data" / "VG_100K"
        result = uninterrupted(folder, root / "whole.jsonl", options)
        result["images_per_second"] = arguments.images / result["seconds_without_start"]
        result["runs"] = interrupted(folder, root / "resumed.jsonl", options, arguments.images)
        result |= checked(root / "whole.jsonl", root / "resumed.jsonl", folder)
    samples = result.pop("memory")
    quarters = [samples[len(samples) * quarter // 4 : len(samples) * (quarter + 1) // 4] for quarter in range(4)]
    result["memory_of_quarters"] = [round(max(size for _, size in quarter)) for quarter in quarters]
    print(json.dumps(result, indent=2))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
