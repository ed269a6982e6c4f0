# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The command that trains a model: one of our programs, started by accelerate."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ..project_files import configuration_file, project_folder


@dataclass(frozen=True)
class TrainingCommand:
    """A training program with its options.

    Args:
        launcher: Options of `accelerate launch`.
        program: The program and its options.
        environment: Variables to set.
    """

    launcher: tuple[str, ...]
    program: tuple[str, ...]
    environment: dict[str, str]

    @classmethod
    def of(
        cls,
        config: str,
        options: Sequence[str] = (),
        *,
        num_processes: int | None = None,
        detector: bool = False,
        cpu: bool = False,
    ) -> TrainingCommand:
        """The command for a configuration.

        Args:
            config: See `configuration_file`.
            options: Words `--section.field value` for the program.
            num_processes: On this machine; None: as accelerate is configured.
            detector: Whether to train a detector instead of a scene graph model.
            cpu: Whether to leave accelerators alone.

        Raises:
            FileNotFoundError: There is no such configuration, or the programs cannot be found.
            ImportError: Accelerate is not installed.
            ValueError: The number of processes is not positive.
        """
        if importlib.util.find_spec("accelerate") is None:
            raise ImportError("accelerate is not installed")
        if num_processes is not None and num_processes < 1:
            raise ValueError(f"the number of processes must be at least 1, got {num_processes}")
        launcher = [
            "--quiet"
        ]  # our programs say in one sentence what is wrong; no traceback of the launcher behind it
        if num_processes is not None and num_processes > 1:
            launcher.append("--multi_gpu")  # means several processes on one machine, on CPUs, too
        if num_processes is not None:
            launcher += ["--num_processes", str(num_processes)]
        program = project_folder() / "training" / ("pretrain_detector.py" if detector else "train.py")
        words = (str(program), "--config", str(configuration_file(config)), *options)
        return cls(tuple(launcher), words, {"ACCELERATE_USE_CPU": "true"} if cpu else {})

    @property
    def shown(self) -> list[str]:
        """The words that a user would type."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return [*variables, "accelerate", "launch", *self.launcher, *self.program]

    def run(self) -> int:
        """Run it to its end. SIGTERM reaches the training, which saves a checkpoint and stops.

        Returns:
            Its exit code.
        """
        words = [sys.executable, "-m", "accelerate.commands.launch", *self.launcher, *self.program]
        process = subprocess.Popen(words, env=os.environ | self.environment)
        previous = signal.signal(signal.SIGTERM, lambda *_: _stop_training(process.pid))
        try:
            return process.wait()
        except KeyboardInterrupt:  # the terminal has sent it to the training, too
            return process.wait()
        finally:
            signal.signal(signal.SIGTERM, previous)


def _stop_training(launcher: int) -> None:
    """The launcher itself would die of the signal and leave the training alone; it ends with its children."""
    import psutil  # comes with accelerate

    for child in psutil.Process(launcher).children(recursive=True):
        child.terminate()
