# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Predicted scene graphs from files of any known format, which is recognised by content.

| format | files |
| --- | --- |
| `jsonl` | ours: one line per image; the only one that is read line by line |
| `sgbench` | SGBench's JSON |
| `coco` | COCO detection JSON with relations and scores |

The modules in this folder describe each in full.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..scene_graph import SceneGraph
from . import coco, jsonl, sgbench
from .predicted_image import PredictedImage, each_image_once
from .strict_json import parse_json


FORMATS = ("jsonl", "sgbench", "coco")
_LINES_EXPECTED = "jsonl has one object on each line, without brackets around and commas between them"
_PACKED = "a file that {} has packed; unpack it first"
_UTF_16 = "text in UTF-16; save it in UTF-8"
_SIGNATURES = {
    b"PK\x03\x04": "a ZIP file; of SGBench's formats, only JSON with boxes is read",
    b"\x1f\x8b": _PACKED.format("gzip"),
    b"BZh": _PACKED.format("bzip2"),
    b"\xfd7zXZ\x00": _PACKED.format("xz"),
    b"\x28\xb5\x2f\xfd": _PACKED.format("zstd"),
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
    b"{\x00": _UTF_16,
    b"\x00{": _UTF_16,
    **{b"\x80" + bytes([version]): "a pickle of Python; write JSON instead" for version in range(2, 6)},
}
_Names = Mapping[int, str]


def read_predictions(
    path: str | os.PathLike,
    id2label: _Names | None = None,
    id2predicate: _Names | None = None,
    given: Collection[str] = (),
) -> Iterator[PredictedImage]:
    """Reads what a file predicts, image by image.

    Args:
        path: The file.
        id2label: Object classes of the ground truth, 0 to C-1. None: those that the file names.
        id2predicate: Its predicates, 0 to P-1, likewise.
        given: Fields that the ground truth gives and a line of `jsonl` may lack: `GIVEN_FIELDS[mode]` of
            `speaq_hf.metrics.image_batch`.

    Yields:
        The images in the order of the file. `image.graph` is what `SceneGraphRecall.add_batch` takes, with the class
        numbers of the ground truth.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The format cannot be recognised, or the file is not what it should be: the message names file, image and
            field. Raised when the faulty image is reached.
    """
    path = _existing(path)
    format, content = _recognised(path)
    if id2label is None or id2predicate is None:
        own = _own_vocabulary(path, format, content)
        id2label, id2predicate = id2label or own[0], id2predicate or own[1]
    if format == "jsonl":
        images = jsonl.read(path, id2label, id2predicate, given)
    else:
        images = {"sgbench": sgbench, "coco": coco}[format].read(content, path, id2label, id2predicate)
    del content  # the reader keeps what it needs
    return _at_least_one(each_image_once(images), path)


def read_scene_graphs(path: str | os.PathLike) -> Iterator[tuple[int, SceneGraph]]:
    """Restores the graphs that `PredictionWriter` wrote to a `jsonl` file, with all their fields.

    Args:
        path: The file.

    Yields:
        Image id, a number as `integer_image_id` makes it of text, and graph.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is malformed, or names no classes, or a line lacks a field of `SceneGraph`.
    """
    path = _existing(path)
    format, content = _recognised(path)
    id2label, id2predicate = _own_vocabulary(path, format, content)
    for image in read_predictions(path):
        fields = image.graph | {"image_size": image.image_size, "id2label": id2label, "id2predicate": id2predicate}
        fields.pop("unconstrained_relations", None)
        missing = sorted(SceneGraph.__dataclass_fields__.keys() - {k for k, v in fields.items() if v is not None})
        if missing:
            raise ValueError(f"{image.where}: a SceneGraph needs {', '.join(missing)}, too")
        yield image.image_id, SceneGraph(**fields)


def recognise_predictions(path: str | os.PathLike) -> str:
    """The format of a file, one of `FORMATS`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: No format fits.
    """
    return _recognised(_existing(path))[0]


def _existing(path: str | os.PathLike) -> Path:
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; name a file of predictions"
        )
    return path


def _recognised(path: Path) -> tuple[str, Any]:
    """The format, and the parsed content unless it is read line by line."""
    with open(path, "rb") as file:
        first, second = islice(chain((line for line in file if line.strip()), (b"", b"")), 2)
    _check_beginning(first, path)
    if path.suffix == ".jsonl":
        return "jsonl", None
    content = _parsed_line(first, path)
    if jsonl.is_line(content):
        return "jsonl", None
    if content is None or second:
        try:
            content = parse_json(path.read_bytes(), str(path))
        except ValueError:
            if _are_objects(first, second):  # a faulty first line; the reader names it and the field
                return "jsonl", None
            raise
    for format, module in (("coco", coco), ("sgbench", sgbench)):
        if module.is_content(content):
            return format, content
    raise ValueError(
        f"{path}: expected lines with 'image_id' (jsonl), an object with 'images' and their 'triplets' (sgbench) or with "
        f"'annotations' and 'rel_annotations' (coco), got {_described(content)}"
    )


def _check_beginning(first: bytes, path: Path) -> None:
    """Refuses what is no text, by the first line that is not blank."""
    if not first:
        raise ValueError(f"{path}: the file is empty, expected predictions")
    for signature, found in _SIGNATURES.items():
        if first.startswith(signature):
            raise ValueError(f"{path}: {found}")
    if path.suffix == ".jsonl" and first.strip() == b"[":
        raise ValueError(f"{path}: a JSON list over several lines; {_LINES_EXPECTED}")


def _are_objects(*lines: bytes) -> bool:
    """Whether each line begins an object, and one of them also ends it."""
    return all(line.lstrip().startswith(b"{") for line in lines) and any(map(_is_object, lines))


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _described(content: Any) -> str:
    if isinstance(content, dict):
        return f"an object with {', '.join(map(repr, content))}"[:200]
    if isinstance(content, list) and content and isinstance(content[0], dict):
        found = f"a list of {len(content)}, the first an object with {', '.join(map(repr, content[0]))}"[:200]
        return f"{found}; {_LINES_EXPECTED}" if jsonl.is_line(content[0]) else found
    return f"{content!r:.200}"


def _parsed_line(line: bytes, path: Path) -> Any:
    try:
        return parse_json(line, str(path))
    except ValueError:  # JSON over several lines
        return None


def _own_vocabulary(path: Path, format: str, content: Any) -> tuple[_Names, _Names]:
    own = None
    if format == "jsonl":
        own = jsonl.own_vocabulary(path)
    elif format == "coco":
        own = coco.own_vocabulary(content, path)
    if own is None:
        raise ValueError(f"{path}: the file names no classes; pass id2label and id2predicate of the ground truth")
    return own


def _at_least_one(images: Iterator[PredictedImage], path: Path) -> Iterator[PredictedImage]:
    first = next(images, None)
    if first is None:
        raise ValueError(f"{path}: the file predicts no image")
    yield first
    yield from images
