# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""An image folder with `metadata.jsonl`, as the "imagefolder" of `datasets` reads it.

Each line is one image:

    {"file_name": "desk.jpg", "objects": {"bbox": [[4, 8, 50, 40], [2, 45, 90, 20]], "category": ["cup", "table"]},
     "relations": [[0, 1, "on"]]}

- `file_name`: relative to the folder of the `metadata.jsonl`
- `objects`: boxes [x, y, width, height] in pixels and their categories (the key may also be `categories`)
- `relations`: rows [subject, object, predicate]; subject and object count the line's objects from 0
- `image_id`, `width`, `height`, `split`: optional

Categories and predicates are names, or indices into the lists `objects` and `predicates` of a file `vocabulary.json` beside
them; without this file the vocabulary is the sorted names. With `"bbox_format": "xyxy"` in it, boxes are corners. A folder may
have folders for splits, each with its own `metadata.jsonl`; where no `split` says otherwise their name is the split.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from ..class_names import is_class_name
from ..defects import DefectLog, Place
from .dataset_building import build_dataset
from .graph_arrays import GraphArrays, GraphRow, Vocabulary
from .image_files import ImageFinder, encoded_images, file_names, image_in_words, write_image
from .json_fields import (
    class_names,
    corners,
    field,
    file_name_field,
    image_id_field,
    integer_image_id,
    number_rows,
    parse_json,
    read_json,
    split_name,
)
from .listed_image import listed_image
from .raw_split import RawSplit
from .tolerance import NOTED, STRICT, Tolerance


METADATA, VOCABULARY = "metadata.jsonl", "vocabulary.json"
BBOX_FORMATS = ("xywh", "xyxy")
CORNER_REMEDY = f'say "bbox_format": "xyxy" in {VOCABULARY}'


@dataclass(frozen=True)
class _Line:
    """One line of a `metadata.jsonl`."""

    where: Place
    folder: Path
    split: str
    entry: dict
    categories: list
    relations: list


@dataclass(frozen=True)
class _Indices:
    """Index of every name; numbers stand for themselves where a file orders the names."""

    objects: dict[str, int]
    predicates: dict[str, int]
    are_known: bool


def found_in(folder: Path) -> bool:
    """Whether the folder, or a folder in it, holds a `metadata.jsonl`."""
    return bool(_metadata_files(folder))


def read(path: Path, split: str | None = None) -> dict[str, Dataset]:
    """Reads a folder, or one `metadata.jsonl`; the module's docstring describes it.

    Args:
        path: The folder or file.
        split: The split to read; None: all.

    Raises:
        FileNotFoundError: An image is missing.
        ValueError: A line is not what it should be.
    """
    rows, vocabulary, corner_remedy = _read(path, split, STRICT)
    return {name: build_dataset(rows[name], vocabulary, name, str(path), corner_remedy) for name in rows}


def read_raw(path: Path, log: DefectLog) -> list[RawSplit]:
    """Reads what can be read and notes the lines, and parts of lines, that cannot.

    Raises:
        ValueError: Nothing can be read.
    """
    rows, vocabulary, corner_remedy = _read(path, None, Tolerance(log))
    return [RawSplit.of_rows(name, vocabulary, rows[name], str(path), corner_remedy) for name in rows]


def write(datasets: dict[str, Dataset], folder: Path) -> None:
    """Writes `vocabulary.json`, and for each split a folder of images with its `metadata.jsonl`.

    Boxes are written as x, y, width and height in double precision, from which `read` gets the same float32 corners; only a
    box with a negative x1 more than 10^8 times larger than its x2 (or likewise y) can differ by its rounding.
    """
    vocabulary = Vocabulary.of(next(iter(datasets.values())))
    content = {"objects": vocabulary.objects, "predicates": vocabulary.predicates, "bbox_format": "xywh"}
    (folder / VOCABULARY).write_text(json.dumps(content, indent=1), encoding="utf-8")
    for split, dataset in datasets.items():
        (folder / split).mkdir()
        with open(folder / split / METADATA, "w", encoding="utf-8") as file:
            images = zip(encoded_images(dataset), file_names(dataset), _entries(dataset), strict=True)
            for image, name, entry in images:
                where = image_in_words(split, entry["image_id"], name)
                name = write_image(image, folder / split, name, (".jpg", ".png"), where)
                # Classes as indices: readers of typed columns take no rows of numbers and names.
                file.write(json.dumps({"file_name": name, **entry}, allow_nan=False) + "\n")


# Reading --------------------------------------------------------------------------------------------------------------


def _metadata_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    candidates = [folder / METADATA, *(folder / name / METADATA for name in sorted(os.listdir(folder)))]
    return [file for file in candidates if file.is_file()]


def _read(
    path: Path, split: str | None, tolerance: Tolerance
) -> tuple[dict[str, list[GraphRow]], Vocabulary, str | None]:
    """Rows by split, the names of the classes, and what to do about corners in the place of sizes."""
    root = path if path.is_dir() else path.parent
    files = _metadata_files(path) if path.is_dir() else [path]
    lines = [line for file in files for line in _read_lines(file, root, tolerance)]
    if not lines:
        raise ValueError(f"{', '.join(map(str, files))}: there is no image, expected one JSON object per line")
    vocabulary, bbox_format = _vocabulary(root / VOCABULARY, lines, tolerance)
    index_of = ({name: index for index, name in enumerate(names)} for names in astuple(vocabulary))
    indices = _Indices(*index_of, are_known=(root / VOCABULARY).is_file())
    finders = {folder: ImageFinder([folder]) for folder in {line.folder for line in lines}}
    rows = defaultdict(list)
    for line in lines:
        if split in (None, line.split):
            with tolerance.of("broken_entry", line.where):
                rows[line.split].append(_row(line, indices, bbox_format, finders[line.folder], tolerance))
    return rows, vocabulary, CORNER_REMEDY if bbox_format == "xywh" else None


def _read_lines(file: Path, root: Path, tolerance: Tolerance) -> list[_Line]:
    default_split = "train" if file.parent == root else split_name(file.parent.name, str(file.parent))
    lines = []
    with open(file, "rb") as handle:
        for number, text in enumerate(handle, start=1):
            place = Place(f"{file}, line {number}", str(file), line=number)
            with tolerance.of("broken_entry", place):
                if text.strip():
                    lines.append(_line(text, place, file.parent, default_split))
    return lines


def _line(text: bytes, place: Place, folder: Path, default_split: str) -> _Line:
    where = str(place)
    entry = parse_json(text, where)
    objects = field(entry, "objects", dict, where)
    key = "categories" if "categories" in objects else "category"
    split = split_name(field(entry, "split", str, where), where) if "split" in entry else default_split
    categories = field(objects, key, list, f"{where}, 'objects'")
    return _Line(place, folder, split, entry, categories, _relation_fields(entry, where))


def _relation_fields(entry: dict, where: str) -> list[list]:
    """The rows [subject, object, predicate], of which only the lengths are known."""
    rows = field(entry, "relations", list, where)
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != 3:
            raise ValueError(
                f"{where}, 'relations'[{index}]: expected a row [subject, object, predicate], got {row!r}"
            )
    return rows


def _vocabulary(file: Path, lines: list[_Line], tolerance: Tolerance) -> tuple[Vocabulary, str]:
    """The names and the format of the boxes."""
    if not file.is_file():
        categories = ((line, value) for line in lines for value in line.categories)
        predicates = ((line, predicate) for line in lines for _, _, predicate in line.relations)
        names = [
            _sorted_names(values if tolerance.is_strict else filter(_has_name, values), key, lines)
            for values, key in ((categories, "category"), (predicates, "relations"))
        ]
        return Vocabulary(*names), "xywh"
    content = read_json(file)
    names = [
        class_names(field(content, key, list, str(file)), f"{file}, '{key}'", least)
        for key, least in (("objects", 1), ("predicates", 0))
    ]
    bbox_format = content.get("bbox_format", "xywh")
    if bbox_format not in BBOX_FORMATS:
        raise ValueError(f"{file}: 'bbox_format' must be one of {BBOX_FORMATS}, got {bbox_format!r}")
    return Vocabulary(*names), bbox_format


def _has_name(value: tuple[_Line, Any]) -> bool:
    return is_class_name(value[1])


def _sorted_names(values: Iterable[tuple[_Line, Any]], key: str, lines: list[_Line]) -> list[str]:
    names = set()
    for line, value in values:
        if not isinstance(value, str):
            raise ValueError(
                f"{line.where}, '{key}': {value!r} is not a name; use names, or put the lists 'objects' and 'predicates' into "
                f"{VOCABULARY} to use indices"
            )
        if not is_class_name(value):
            raise ValueError(f"{line.where}, '{key}': a name is a text of Unicode that is not empty, got {value!r}")
        names.add(value)
    if not names:
        raise ValueError(f"{lines[0].folder / METADATA}, '{key}': no line has any; list the names in {VOCABULARY}")
    return sorted(names)


def _row(line: _Line, indices: _Indices, bbox_format: str, finder: ImageFinder, tolerance: Tolerance) -> GraphRow:
    where, entry = line.where, line.entry
    name = file_name_field(entry, where, f"the folder of the {METADATA}")
    path, *size = listed_image(entry, name, finder, where, tolerance)
    boxes = number_rows(field(entry["objects"], "bbox", list, f"{where}, 'objects'"), 4, float, f"{where}, 'bbox'")
    labels = [_index(value, indices, "objects", where, tolerance) for value in line.categories]
    if len(labels) != len(boxes):
        raise ValueError(f"{where}, 'objects': {len(boxes)} boxes but {len(labels)} categories")
    return GraphRow(
        where,
        path,
        _line_image_id(entry, where),
        *size,
        corners(boxes) if bbox_format == "xywh" else boxes,
        labels,
        _relation_rows(line, indices, tolerance),
    )


def _line_image_id(entry: dict, where: Place) -> int:
    if "image_id" not in entry:
        return integer_image_id(os.path.splitext(entry["file_name"])[0])
    return integer_image_id(image_id_field(entry, "image_id", where))


def _relation_rows(line: _Line, indices: _Indices, tolerance: Tolerance) -> np.ndarray:
    where = f"{line.where}, 'relations'"
    rows = [
        [*ends, _index(predicate, indices, "predicates", line.where, tolerance)] for *ends, predicate in line.relations
    ]
    return number_rows(rows, 3, int, where)


def _index(value: Any, indices: _Indices, kind: str, place: Place, tolerance: Tolerance) -> int:
    """Index of a name; an index stays."""
    index_of: dict[str, int] = getattr(indices, kind)
    index = index_of.get(value) if isinstance(value, str) else value if indices.are_known else None
    if type(index) is int and 0 <= index < len(index_of):
        return index
    with tolerance.of("unknown_class", place):
        key = "category" if kind == "objects" else "relations"
        raise ValueError(
            f"{place}, '{key}': {value!r} is neither one of the {len(index_of)} names of the vocabulary nor its index"
            + ("" if indices.are_known else f" ({VOCABULARY} would give indices)")
        )
    return NOTED


# Writing --------------------------------------------------------------------------------------------------------------


def _entries(dataset: Dataset) -> Iterator[dict]:
    """Lines without file names."""
    arrays = GraphArrays.from_dataset(dataset)
    boxes = arrays.boxes.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    box_ends, relation_ends = np.cumsum(arrays.box_counts)[:-1], np.cumsum(arrays.relation_counts)[:-1]
    columns = np.split(boxes, box_ends), np.split(arrays.labels, box_ends), np.split(arrays.relations, relation_ends)
    rows = zip(arrays.image_ids.tolist(), arrays.sizes.tolist(), *columns, strict=True)
    for image_id, (width, height), bbox, category, relations in rows:
        yield {
            "image_id": image_id,
            "width": width,
            "height": height,
            "objects": {"bbox": bbox.tolist(), "category": category.tolist()},
            "relations": relations.tolist(),
        }
