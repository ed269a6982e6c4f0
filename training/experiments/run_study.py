# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Run a study: draw SceneWorld, train detectors and arms, test them, and write the numbers and the plots.

python training/experiments/run_study.py training/experiments/components.yaml --output outputs/experiments/components [--jobs 2]

What is finished is kept; an interrupted study goes on where it was when the same command is given again.
"""

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


ROOT = Path(__file__).resolve().parents[2]
if not __package__:
    sys.path[0] = str(ROOT)

from speaq_hf.data import generate_scene_world  # noqa: E402
from training.errors import USER_ERRORS, exit_on_user_error  # noqa: E402
from training.experiments.collection import collect  # noqa: E402
from training.experiments.study import Arm, Detector, Study  # noqa: E402


logger = logging.getLogger(__name__)

WORLD = "scene-world-v1"
DOMAINS = ("real", "synthetic")


@dataclass(frozen=True)
class StudyRunner:
    """Runs what a study lacks, each run in a process of its own.

    Args:
        study: What is compared.
        output: Folder of the runs: `detectors/NAME`, `arms/NAME/seed-N`.
        world: Folder of the drawn data.
        jobs: Runs at once.
        threads: Of each run.
        overrides: Further options for all of them.
    """

    study: Study
    output: Path
    world: Path
    jobs: int
    threads: int
    overrides: Sequence[str] = ()

    def run(self, runs: Sequence[tuple[Arm, int]]) -> None:
        """Train and test arms with seeds, and first the detectors that they start from.

        Raises:
            subprocess.CalledProcessError: A run failed; those that had begun are left to their end.
        """
        needed = dict.fromkeys(arm.detector for arm, _ in runs if arm.detector is not None)
        self._all(self._detector, ((self.study.detectors[name],) for name in needed))
        self._all(self._arm, runs)

    def _all(self, function: Any, jobs: Iterable[tuple]) -> None:
        with ThreadPoolExecutor(self.jobs) as pool:
            for future in [pool.submit(function, *job) for job in jobs]:
                future.result()

    def _detector(self, detector: Detector) -> None:
        folder = self.detector_folder(detector.name)
        if not (folder / "final").is_dir():
            self._train("training/pretrain_detector.py", detector.options, folder, detector.set)

    def _arm(self, arm: Arm, seed: int) -> None:
        folder = self.arm_folder(arm.name, seed)
        if not (folder / "final").is_dir():
            start = {} if arm.detector is None else {"model.detr": str(self.detector_folder(arm.detector) / "final")}
            options = arm.set | start | {"training.seed": seed}
            self._train("training/experiments/train_arm.py", self.study.options, folder, options)
        for domain in DOMAINS:
            if not (folder / f"test_{domain}.json").is_file():
                self._test(folder, domain)

    def detector_folder(self, name: str) -> Path:
        """Where a detector is."""
        return self.output / "detectors" / name

    def arm_folder(self, name: str, seed: int) -> Path:
        """Where a run of an arm is."""
        return self.output / "arms" / name / f"seed-{seed}"

    def _train(self, program: str, options: Path, folder: Path, changes: dict[str, Any]) -> None:
        places = {"data.root": str(self.world / "real"), "data.synthetic_root": str(self.world / "synthetic")}
        settings = places | changes | {"training.output_dir": str(folder), "training.resume_from": "auto"}
        self._call(folder, program, "--config", str(options), *option_words(settings), *self.overrides)

    def _test(self, folder: Path, domain: str) -> None:
        output = folder / f"test_{domain}.json"
        words = ["--model", str(folder / "final"), "--data", str(self.world / domain), "--split", "test"]
        self._call(folder, "training/evaluate.py", *words, "--num_workers", "0", "--output", str(output))

    def _call(self, folder: Path, program: str, *words: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        logger.info("%s: %s", folder, program)
        command = [sys.executable, str(ROOT / program), *words]
        environment = os.environ | {"OMP_NUM_THREADS": str(self.threads)}
        with open(folder / "output.txt", "a", encoding="utf-8") as log:
            subprocess.run(command, check=True, env=environment, stdout=log, stderr=subprocess.STDOUT)


def option_words(options: Mapping[str, Any]) -> list[str]:
    """Options by dotted name as words of a training program's command line."""
    words = []
    for name, value in options.items():
        # Of a plain value YAML marks the end.
        text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
        words += [f"--{name}", text]
    return words


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="YAML file of a study.")
    parser.add_argument("--output", type=Path, required=True, help="Folder of the runs, results.json and the plots.")
    parser.add_argument(
        "--world", type=Path, default=Path("outputs") / WORLD, help="Folder of the data; drawn if empty."
    )
    parser.add_argument("--jobs", type=int, default=1, help="Runs at once.")
    parser.add_argument(
        "--threads", type=int, default=1, help="Of each run: small models gain little by a second one."
    )
    parser.add_argument("--arms", nargs="+", help="Only these.")
    parser.add_argument("--seeds", type=int, nargs="+", help="Only these.")
    parser.add_argument("--collect", action="store_true", help="Run nothing, write the numbers of what is finished.")
    arguments, overrides = parser.parse_known_args(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        with exit_on_user_error((*USER_ERRORS, ImportError)):
            from training.experiments.plots import write_plots  # needs the extra viz

            study = Study.read(arguments.study)
            runs = study.selected(arguments.arms, arguments.seeds)
            runner = StudyRunner(
                study, arguments.output, arguments.world, arguments.jobs, arguments.threads, overrides
            )
            if not arguments.collect:
                _draw(arguments.world)
                runner.run(runs)
            results = collect(study, arguments.output)
            write_plots(results, arguments.output)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"A run ended with exit code {error.returncode}; see output.txt in its folder.") from error


def _draw(world: Path) -> None:
    missing = [domain for domain in DOMAINS if not (world / domain).is_dir()]
    if missing:
        logger.info("drawing %s in %s", " and ".join(missing), world)
        generate_scene_world(world, WORLD, domains=missing)


if __name__ == "__main__":
    main()
