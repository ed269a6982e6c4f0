# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Reading fields of JSON files that people wrote: every mistake is named with its place."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ..class_names import is_class_name
from ..defects import Place


_INT64 = range(-(2**63), 2**63)
_PIXELS = range(1, 2**31)
_SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
_KINDS = {int: "an integer", str: "a text", list: "a list", dict: "an object"}


def read_json(file: Path) -> Any:
    """Content of a JSON file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not JSON in UTF-8.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist; check the path")
    return parse_json(file.read_bytes(), str(file))


def parse_json(text: bytes, where: str | Place) -> Any:
    """Parses JSON in UTF-8; a ValueError names `where`."""
    try:
        return json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not valid JSON ({error})") from error


def field(entry: Any, name: str, kind: type, where: str | Place) -> Any:
    """`entry[name]`, which must be of the given type; a ValueError names `where`."""
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected an object with the field '{name}', got {_shortened(entry)}")
    value = entry.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        found = f"got {_shortened(value)}" if name in entry else f"the fields are {_shortened(sorted(entry))}"
        raise ValueError(f"{where}: expected the field '{name}' to be {_KINDS[kind]}, {found}")
    return value


def image_id_field(entry: Any, name: str, where: str | Place) -> int | str:
    """`entry[name]`, an integer or a text."""
    is_text = isinstance(entry, dict) and isinstance(entry.get(name), str)
    return field(entry, name, str if is_text else int, where)


def file_name_field(entry: dict, where: str | Place, folder: str) -> str:
    """The field `file_name`, a relative path that does not leave its folder: annotations are downloaded and shared.

    Args:
        entry: What describes an image.
        where: For messages.
        folder: What the path is relative to, in words.

    Raises:
        ValueError: It is no text, or leads elsewhere.
    """
    name = field(entry, "file_name", str, where)
    normal = os.path.normpath(name)
    if os.path.isabs(normal) or normal.split(os.sep)[0] == "..":
        raise ValueError(f"{where}: 'file_name' must lie below {folder}, got {name!r}")
    return normal


def size_fields(entry: dict, path: str, where: str | Place) -> tuple[int, int]:
    """The fields `width` and `height`; without them the size of the image file at `path`.

    Raises:
        ValueError: They are not numbers of pixels, or the file is not an image.
    """
    if "width" not in entry and "height" not in entry:
        from .image_files import image_size  # needs `datasets`, which those who read no images may lack

        return image_size(path, where)
    width, height = field(entry, "width", int, where), field(entry, "height", int, where)
    if width not in _PIXELS or height not in _PIXELS:
        raise ValueError(f"{where}: 'width' and 'height' must be at least 1 pixel, got {width} and {height}")
    return width, height


def number_rows(values: Any, columns: int, kind: type, where: str | Place) -> np.ndarray:
    """A list of rows of numbers as an array (n, columns) of int64 or float64.

    Raises:
        ValueError: It is not such a list.
    """
    try:
        array = np.array(values) if values else np.zeros((0, columns), kind)
    except (ValueError, OverflowError):  # rows of several lengths
        array = np.array(None)
    if array.shape[1:] != (columns,) or array.dtype.kind not in ("i" if kind is int else "iuf"):
        numbers = "integers" if kind is int else "numbers"
        raise ValueError(f"{where}: expected a list of rows of {columns} {numbers}, got {_shortened(values)}")
    return array.astype(np.int64 if kind is int else np.float64)


def corners(boxes: np.ndarray) -> np.ndarray:
    """Corners (n, 4) of boxes (x, y, width, height)."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def class_names(values: Any, where: str, least: int = 1) -> list[str]:
    """A list of different names, at least so many, none of them empty.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(values, list) or len(values) < least:
        raise ValueError(f"{where}: expected a list of names, got {_shortened(values)}")
    for index, name in enumerate(values):
        if not is_class_name(name):
            raise ValueError(
                f"{where}: expected a list of names, texts of Unicode that are not empty, but entry {index} is {name!r}"
            )
    repeated = [name for name, count in Counter(values).items() if count > 1]
    if repeated:
        raise ValueError(f"{where}: every name may occur once, but {repeated} occur several times")
    return values


def integer_image_id(value: int | str) -> int:
    """An integer for any image id, the same on every machine: integers and their decimal text stay, other text is hashed.

    Example:
        >>> integer_image_id(7), integer_image_id("107902"), integer_image_id("beach")
        (7, 107902, 273685476166861)
    """
    text = str(value)
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is not None and number in _INT64 and str(number) == text:
        return number
    # 52 bits: exact in every JSON reader, and collisions are out of the question.
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "big") >> 12


def split_name(name: str, where: str = "split") -> str:
    """The name that `datasets` gives a split: "val" is "validation", "training" is "train", in any case of letters.

    Raises:
        ValueError: It is not made of letters, digits and underscores.
    """
    if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
        raise ValueError(f"{where}: the name of a split is made of letters, digits and underscores, got {name!r}")
    return usual_split_name(name)


def usual_split_name(name: str) -> str:
    """The same without a check: a name that is not known stays."""
    return _SPLIT_NAMES.get(name.lower(), name)


def listed_files(folder: Path, suffix: str) -> list[Path]:
    """Files of the folder with the suffix, sorted; none if there is no such folder."""
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return [folder / name for name in names if name.endswith(suffix) and (folder / name).is_file()]


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}…"
