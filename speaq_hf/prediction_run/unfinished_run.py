# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The folder beside an output in which a run keeps what it has, until the output is complete."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..json_files import write_json
from ..predictions import PredictionWriter, jsonl
from .records import RecordFile, Records, graph_of_line, replace_file


_SETTINGS, _MERGING, _DONE, _LOCK = "run.json", "merging", "done-{}", "lock"
_REMEDY = "--resume goes on with it, --overwrite begins anew"


class UnfinishedRun:
    """Predictions on their way to a file: `OUTPUT.unfinished/` holds a file of lines for each process that had part in the run.

    Args:
        output: The file to write in the end.
        format: One of `speaq_hf.predictions.FORMATS`.
    """

    def __init__(self, output: str | os.PathLike, format: str = "jsonl") -> None:
        self.output, self.format = Path(output), format
        self.folder = self.output.with_name(self.output.name + ".unfinished")
        self._file = self.folder / _SETTINGS
        # The system releases it when the process ends, however it ends.
        self._lock = FileLock(self.folder / _LOCK)

    def check(self, resume: bool, overwrite: bool) -> None:
        """Makes sure that nothing is there that is not to be gone on with or replaced.

        Raises:
            FileExistsError: Something is.
            IsADirectoryError: The output is a folder.
            ValueError: It is a device or a pipe, in whose place a file would be put.
        """
        if self.output.is_dir():
            raise IsADirectoryError(f"{self.output} is a folder; name a file in it")
        if self.output.exists() and not self.output.is_file():
            raise ValueError(f"{self.output} is no regular file; name another one")
        if resume and self.output.exists() and self.format != "jsonl" and not self._file.exists():
            raise FileExistsError(
                f"{self.output} is complete; only a JSONL file can get more images later, --overwrite begins anew"
            )
        if resume or overwrite:
            return
        if self._file.exists():
            raise FileExistsError(f"{self.folder} holds an interrupted run; {_REMEDY}")
        if self.output.exists():
            raise FileExistsError(f"{self.output} exists; {_REMEDY}")

    def begin(self, settings: Mapping[str, Any], resume: bool, overwrite: bool) -> None:
        """Makes the folder or, to go on, checks that it belongs to the same run. For one process alone, while others wait.

        Args:
            settings: What decides the content of the output, as JSON knows it.
            resume: Go on with what is there.
            overwrite: Begin anew; an output that is there stays until it can be replaced.

        Raises:
            FileExistsError: See `check`; or another run is writing there now.
            ValueError: The run that is there has other settings.
        """
        self.check(resume, overwrite)
        self._take()
        self.check(resume, overwrite)  # another run may just have come to its end, or have been killed
        if overwrite and self._file.exists():
            self._clear()
        if self._file.exists():
            self._check_settings(self._settings(), settings)
        else:
            continues = resume and self.output.exists()
            if continues:
                self._check_classes(settings)
            write_json(self._file, {**settings, "continues": continues})
        for mark in (*self.folder.glob(_DONE.format("*")), self.folder / _MERGING):
            mark.unlink(missing_ok=True)

    def _take(self) -> None:
        """Keeps other runs away: of two that share the folder, one would finish with the lines of the other."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except NotImplementedError:  # some file systems of networks know no locks
            pass
        except Timeout as error:
            raise FileExistsError(
                f"another run is writing {self.output} now; wait for it, or name another file"
            ) from error

    def unlock(self) -> None:
        """Lets other runs go on; a folder in which nothing was begun goes, too."""
        if not self._lock.is_locked:  # one process has it for all
            return
        if self.folder.exists() and not self._file.exists():
            self._remove()
        self._lock.release()

    def _remove(self) -> None:
        (self.folder / _LOCK).unlink(missing_ok=True)
        self.folder.rmdir()

    def _clear(self) -> None:
        """Removes what a run has left in the folder, the settings last: without them it is none."""
        for entry in sorted(self.folder.iterdir(), key=lambda path: path.name == _SETTINGS):
            if entry.name != _LOCK:
                entry.unlink()

    def _check_settings(self, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        for name, value in wanted.items():
            if found.get(name) != value:
                differ = f"{_shown(found.get(name))}, now it is {_shown(value)}"
                raise ValueError(
                    f"{self.folder} holds an interrupted run in which {name.replace('_', ' ')} was {differ}; "
                    "take the same, or begin anew with --overwrite"
                )

    def _check_classes(self, settings: Mapping[str, Any]) -> None:
        """An output that is complete can get more images if they are of the same classes."""
        own = jsonl.own_vocabulary(self.output)
        if own is None or [dict(names) for names in own] != [_by_number(names) for names in _vocabulary(settings)]:
            raise ValueError(f"{self.output} names other classes than the model; --overwrite begins anew")

    def open(self, process: int) -> RecordFile:
        """A file for the lines of one process."""
        return RecordFile(self.folder, process)

    def records(self) -> Records:
        """What is done."""
        files = sorted(self.folder.glob("*.jsonl"))
        return Records.read([self.output, *files] if self._settings()["continues"] else files)

    def leave(self, process: int, count: int) -> bool:
        """Says that a process has no more to do.

        Args:
            process: Its number, from 0.
            count: How many there are.

        Returns:
            Whether it is the last one, and has to finish the run.
        """
        (self.folder / _DONE.format(process)).touch()
        there = set(os.listdir(self.folder))
        if not all(_DONE.format(number) in there for number in range(count)):
            return False
        try:
            (self.folder / _MERGING).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def finish(self, image_ids: Iterable[int | str], records: Records) -> None:
        """Writes the output and removes the folder.

        Args:
            image_ids: Of all images, in the order of the output.
            records: What is done; images without a line are left out. What nobody names any more comes first.
        """
        image_ids = list(image_ids)
        named = set(map(str, image_ids))
        image_ids = [image_id for image_id in records.predicted if image_id not in named] + image_ids
        if self.format == "jsonl":
            self._write_lines(image_ids, records)
        else:
            self._write_graphs(image_ids, records)
        self._clear()
        self._remove()

    def _write_lines(self, image_ids: Iterable[int | str], records: Records) -> None:
        merged = self.folder / "merged"
        with open(merged, "wb") as file:
            names = [_by_number(names) for names in _vocabulary(self._settings())]
            file.write(jsonl.vocabulary_line(*names).encode("ascii") + b"\n")
            file.writelines(records.lines(image_ids))
        replace_file(merged, self.output)

    def _write_graphs(self, image_ids: Iterable[int | str], records: Records) -> None:
        names = [_by_number(names) for names in _vocabulary(self._settings())]
        with PredictionWriter(self.output, self.format) as writer:
            for line in records.lines(image_ids):
                writer.write(json.loads(line)["image_id"], graph_of_line(line, *names))

    def _settings(self) -> dict[str, Any]:
        try:
            settings = json.loads(self._file.read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{self._file} is damaged ({error}); begin anew with --overwrite") from error
        if not isinstance(settings, dict):
            raise ValueError(f"{self._file} holds no settings of a run; begin anew with --overwrite")
        return settings


def _vocabulary(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    return [settings[name] for name in jsonl.VOCABULARY_FIELDS]


def _by_number(names: Mapping[str, str]) -> dict[int, str]:
    return {int(number): name for number, name in names.items()}


def _shown(value: Any) -> str:
    return f"{value!r:.60}" if not isinstance(value, dict) else f"that of {len(value)} classes"
