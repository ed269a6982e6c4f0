# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Folders that are either complete or not there: checkpoints to resume from, and saved models."""

import logging
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from .writing import naming_target


logger = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d+)")
_UNFINISHED, _REPLACED = ".tmp", ".old"  # endings of a folder that is being written, and of the one it replaces


@dataclass
class TrainingState:
    """What a run remembers besides weights, optimizer, schedule and random numbers.

    Args:
        step: Optimizer steps taken, skipped ones included.
        skipped_steps: Steps without finite loss and gradients.
        consecutive_skips: How many of the last steps were skipped in a row.
        num_unreadable: Images that could not be read and that others took the place of, those of all processes.
        best_value: Best value of the chosen metric, or None.
        evaluation_is_due: Whether this step is still to be evaluated.
        setup: What the order of the images and their weight in the loss depend on.
    """

    step: int = 0
    skipped_steps: int = 0
    consecutive_skips: int = 0
    num_unreadable: int = 0
    best_value: float | None = None
    evaluation_is_due: bool = False
    setup: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the fields. A run that is set up differently goes on, but not to the same weights."""
        for name, now in (self.setup or {}).items():
            saved = (state["setup"] or {}).get(name)
            if saved != now:
                logger.warning("Resuming with %s=%s, the checkpoint was made with %s.", name, now, saved)
        for field in fields(self):
            if field.name != "setup":
                setattr(self, field.name, state[field.name])


class CheckpointFolder:
    """The checkpoints of a run; the latest is kept.

    Args:
        path: Folder that holds them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def latest(self) -> Path | None:
        """The checkpoint with the highest step, None if there is none."""
        return max(self._complete(), key=_step, default=None)

    def save(self, accelerator: Accelerator, step: int) -> None:
        """Write a checkpoint and remove the others. Every process must call it."""
        target = self.path / f"step-{step:08d}"
        write_folder(target, lambda folder: accelerator.save_state(str(folder)), accelerator)
        if accelerator.is_main_process:
            for old in self._complete():
                if old != target:
                    shutil.rmtree(old)
        accelerator.wait_for_everyone()

    def _complete(self) -> list[Path]:
        # Unfinished folders have another ending, see `write_folder`.
        return [path for path in self.path.glob("step-*") if _NAME.fullmatch(path.name)]


def resolve_resume(resume_from: str | None, checkpoints: CheckpointFolder) -> Path | None:
    """The checkpoint that `training.resume_from` means.

    Raises:
        FileNotFoundError: There is no such checkpoint, or it is not complete.
    """
    if resume_from is None:
        return None
    if resume_from == "auto":
        return checkpoints.latest()
    path = Path(resume_from).expanduser()
    # People rename and copy checkpoints; only an unfinished one tells by its name.
    if path.name.endswith(_UNFINISHED) or not (path / "random_states_0.pkl").is_file():
        latest = checkpoints.latest()
        hint = f"the latest is {latest}" if latest else f"there is none in {checkpoints.path}"
        raise FileNotFoundError(f"training.resume_from: {path} is not a complete checkpoint; {hint}.")
    return path


def check_random_states(checkpoint: Path, process_index: int) -> None:
    """Accelerate goes on without the random states of a process if it cannot read them: dropout would differ, silently.

    Raises:
        ValueError: There are none, or the file is damaged.
    """
    file = checkpoint / f"random_states_{process_index}.pkl"
    if not zipfile.is_zipfile(file) or zipfile.ZipFile(file).testzip() is not None:
        raise ValueError(
            f"{file.name} is missing or damaged, which holds the random states of process {process_index}"
        )


def write_folder(target: Path, write: Callable[[Path], None], accelerator: Accelerator) -> None:
    """Fill a folder under another name and rename it when it is complete; replaces an older one.

    Args:
        target: Its final name.
        write: Writes into the folder it is given; called by every process.
        accelerator: Only its main process makes, renames and deletes folders.

    Raises:
        OSError: It cannot be written, for example because the disk is full. What was there before is untouched.
    """
    temporary, previous = target.with_name(target.name + _UNFINISHED), replaced_name(target)
    try:
        with naming_target(target):
            if accelerator.is_main_process:
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
            accelerator.wait_for_everyone()
            write(temporary)
            _sync(temporary)
    except OSError:
        if accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(previous, ignore_errors=True)
        if target.exists():
            os.replace(target, previous)
        os.replace(temporary, target)
        _sync_one(target.parent)  # before what it replaces is deleted
        shutil.rmtree(previous, ignore_errors=True)
    accelerator.wait_for_everyone()


def recover_folder(target: Path) -> None:
    """Give a folder its name back that `write_folder` was about to replace when the process died."""
    previous = replaced_name(target)
    if previous.exists() and not target.exists():
        os.replace(previous, target)


def replaced_name(target: Path) -> Path:
    """Where `write_folder` keeps the folder that it replaces, until it is done."""
    return target.with_name(target.name + _REPLACED)


def _sync(folder: Path) -> None:
    """Wait until the files are on the disk: after a power cut a renamed folder must not hold empty files."""
    for path in (*folder.rglob("*"), folder):
        _sync_one(path)


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _step(path: Path) -> int:
    return int(_NAME.fullmatch(path.name).group(1))
