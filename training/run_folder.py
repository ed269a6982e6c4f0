# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The output folder of a run: one run at a time writes to it, and none by accident over an older one."""

import functools
import shutil
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from speaq_hf.text_files import write_text

from .arguments import RunArguments, TrainingArguments
from .checkpoints import CheckpointFolder, recover_folder, replaced_name, resolve_resume
from .writing import naming_target


_TRACES = ("log.jsonl", "checkpoints", "best", "final", "tracker")


class RunFolder:
    """Checks the folder when it is made, changes it in `open`.

    Args:
        arguments: `output_dir`, `resume_from` and `overwrite`.

    Raises:
        FileExistsError: The folder holds an earlier run that is neither gone on with nor to be replaced.
        FileNotFoundError: The checkpoint to resume from does not exist.
    """

    def __init__(self, arguments: TrainingArguments) -> None:
        self.path = Path(arguments.output_dir).expanduser()
        # The system releases it when the process ends, however it ends.
        self._lock = FileLock(self.path / ".lock", is_singleton=True)
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"training.output_dir: {self.path} is a file.")
        checkpoints = CheckpointFolder(self.path / "checkpoints")
        self._resolve = functools.partial(resolve_resume, arguments.resume_from, checkpoints)
        self.checkpoint = self._resolve()
        self.goes_on = self.checkpoint is not None and self.checkpoint.resolve().parent == checkpoints.path.resolve()
        # With auto, a run that died before its first checkpoint begins again: schedulers repeat the same command.
        traces = ("final",) if arguments.resume_from == "auto" else _TRACES
        is_used = any((self.path / name).exists() for name in traces)
        if is_used and not self.goes_on and not arguments.overwrite:
            raise FileExistsError(
                f"training.output_dir: {self.path} holds an earlier run. Go on with it, if it has a checkpoint "
                "(--training.resume_from auto), replace it (--training.overwrite true) or choose another folder."
            )

    def open(self) -> None:
        """Take the folder for this process, and remove what an earlier run left unless this one goes on with it.

        Raises:
            FileExistsError: Another process is training into it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise FileExistsError(
                f"training.output_dir: another process is training into {self.path}; choose another folder."
            ) from error
        if self._resolve() != self.checkpoint:
            raise FileExistsError(
                f"training.output_dir: another run has just written to {self.path}; start again to go on from it."
            )
        if self.goes_on:
            recover_folder(self.path / "best")
        else:
            for name in _TRACES:
                _remove(self.path / name)
                _remove(replaced_name(self.path / name))
        for unfinished in (*self.path.glob("*.tmp"), *(self.path / "checkpoints").glob("*.tmp")):
            _remove(unfinished)

    def close(self) -> None:
        """Leave the folder to others."""
        self._lock.release()

    def write_arguments(self, arguments: RunArguments) -> None:
        """Keep what the run was told, in `config.yaml`."""
        target = self.path / "config.yaml"
        with naming_target(target):
            write_text(target, yaml.safe_dump(arguments.to_dict(), sort_keys=False))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
