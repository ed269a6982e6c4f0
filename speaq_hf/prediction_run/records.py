# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""One line for each image that a run is done with, in files that a crash may cut off anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..scene_graph import SceneGraph


_BEGINNING = b'{"image_id": '


class RecordPlace(NamedTuple):
    """Where a line is: row of its file among `Records.files`, first byte, number of bytes with the line's end."""

    file: int
    start: int
    length: int


@dataclass
class Records:
    """What is recorded.

    Args:
        files: The files.
        predicted: Places of the lines of predicted images and frames, by id as text.
        skipped: For images and videos that cannot be read, or not to the end, the reasons, by id as text.
        num_frames: For videos that are done, the numbers of their frames, by id as text.
    """

    files: list[Path] = field(default_factory=list)
    predicted: dict[str, RecordPlace] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    frames: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def read(cls, files: Iterable[Path]) -> Records:
        """Reads files of lines. Of an image with several lines the first counts; a line that was cut off counts for nothing."""
        records = cls()
        for file in files:
            records.files.append(file)
            for start, line in _complete_lines(file):
                records._add(len(records.files) - 1, start, line)
        return records

    def _add(self, file: int, start: int, line: bytes) -> None:
        if line.startswith(b'{"skipped": '):
            entry = json.loads(line)
            self.skipped.setdefault(entry["skipped"], entry["reason"])
        elif line.startswith(b'{"video": '):
            entry = json.loads(line)
            self.frames.setdefault(entry["video"], entry["frames"])
        elif line.startswith(_BEGINNING):
            # The line itself may be long: 51 probabilities for each of a hundred relations.
            image_id, _ = json.JSONDecoder().raw_decode(line.decode("ascii"), len(_BEGINNING))
            self.predicted.setdefault(str(image_id), RecordPlace(file, start, len(line)))

    def graph(
        self, image_id: int | str, id2label: Mapping[int, str], id2predicate: Mapping[int, str]
    ) -> SceneGraph | None:
        """The graph of a predicted image; None if there is none."""
        line = next(self.lines([image_id]), None)
        return None if line is None else graph_of_line(line, id2label, id2predicate)

    def lines(self, image_ids: Iterable[int | str]) -> Iterator[bytes]:
        """The lines of predicted images, with their ends; ids without a line are left out."""
        opened = [open(file, "rb") for file in self.files]
        try:
            for image_id in image_ids:
                place = self.predicted.get(str(image_id))
                if place is not None:
                    opened[place.file].seek(place.start)
                    yield opened[place.file].read(place.length)
        finally:
            for file in opened:
                file.close()


def graph_of_line(line: bytes, id2label: Mapping[int, str], id2predicate: Mapping[int, str]) -> SceneGraph:
    """The graph of the line of an image. Probabilities that were not written are 0."""
    fields = json.loads(line)
    known = {name: fields[name] for name in SceneGraph.__dataclass_fields__ if name in fields}
    known.setdefault("predicate_probabilities", torch.zeros(len(fields["relations"]), len(id2predicate) + 1))
    return SceneGraph(**known, id2label=id2label, id2predicate=id2predicate)


def skipped_line(id: int | str, reason: str) -> str:
    """The line of an image or video that cannot be read."""
    return json.dumps({"skipped": str(id), "reason": reason})


def video_line(id: int | str, frames: Sequence[int]) -> str:
    """The line that ends a video."""
    return json.dumps({"video": str(id), "frames": list(frames)})


class RecordFile:
    """A file of its own, to which one process adds lines."""

    def __init__(self, folder: Path, process: int) -> None:
        self._file = _new_file(folder, process)

    def add(self, lines: Sequence[str]) -> None:
        """Adds lines in one piece, as far as the system can."""
        self._file.write("".join(line + "\n" for line in lines).encode("ascii"))
        self._file.flush()

    def close(self) -> None:
        """Ends the file."""
        self._file.close()


def _new_file(folder: Path, process: int) -> Any:
    """A file that no process, now or before an interruption, has begun: an unfinished line must not get a continuation."""
    number = 0
    while True:
        try:
            return open(folder / f"{number:04d}-{process:04d}.jsonl", "xb")
        except FileExistsError:
            number += 1


def _complete_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """First byte and content of the lines that were written to their end. A power failure may leave zeros."""
    start = 0
    with open(file, "rb") as opened:
        for line in opened:
            if line.endswith(b"}\n") and b"\0" not in line:
                yield start, line
            start += len(line)


def replace_file(temporary: Path, path: Path) -> None:
    """Gives a complete file its name, on the disk, too."""
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
