# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""COCO detection JSON with relations.

Objects are as in COCO: `images`, `categories` and `annotations` with `bbox` [x, y, width, height] in pixels. Class ids may
be any numbers; classes are numbered in the order of their ids. Relations come in one of these forms:

- `rel_categories` and `rel_annotations` (`id`, `image_id`, `subject_id`, `predicate_id`, `object_id`), the form that
  `write` produces: ids of annotations and of `rel_categories`;
- `relations: [[subject, object, predicate], …]` in each image, or one mapping `relations` from image id to such rows, with
  the predicates in `rel_categories` or `predicate_classes`: subject and object count the image's annotations in file order;
- the same mapping for each split in a second file `rel.json` (RelTR, EGTR);
- OpenPSG's file (`data`, `thing_classes`, `stuff_classes`, `predicate_classes`, `test_image_ids`), boxes from corners.

Predicates that are plain names count from 0, where a first name "__background__" is no predicate. A file holds one split or
images with a field `split`. All annotations count as objects, also those with `iscrowd`. A file without any relations is
read, too, for training a detector; its set has no predicates.
"""

from __future__ import annotations

import json
import logging
import mmap
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from datasets import Dataset

from ..defects import DefectLog, Place
from .coco_classes import CocoClasses
from .dataset_building import build_dataset
from .graph_arrays import GraphArrays, GraphRow, Vocabulary
from .image_files import ImageFinder, encoded_images, file_names, image_in_words, write_image
from .json_fields import (
    corners,
    field,
    file_name_field,
    image_id_field,
    integer_image_id,
    listed_files,
    number_rows,
    read_json,
    split_name,
)
from .listed_image import listed_image
from .raw_split import RawSplit
from .tolerance import NOTED, STRICT, Tolerance


logger = logging.getLogger(__name__)

RELATIONS_FILE = "rel.json"
_IMAGE_REMEDY = "put it there or name the folder of the images with the option images"
CORNER_REMEDY = "write them as x, y, width and height, which COCO's 'bbox' means"
_RELATION_KEYS = (b'"rel_annotations"', b'"relations"')
_BOX_KEYS = (b'"bbox"',)
_SPLIT_IN_NAME = re.compile(r"(?<![a-z])(train|valid|validation|val|test)(?![a-z])")


@dataclass
class _Graph:
    """Objects and relations of one image while they are collected."""

    boxes: list = dataclass_field(default_factory=list)
    labels: list[int] = dataclass_field(default_factory=list)
    relations: list = dataclass_field(default_factory=list)


def found_in(folder: Path) -> bool:
    """Whether the folder, or its folder `annotations`, holds such files with relations."""
    return bool(_files_with_relations(folder))


def boxes_found_in(folder: Path) -> bool:
    """Whether they hold such files with or without relations."""
    return bool(_annotation_files(folder))


def read(path: Path, split: str | None = None, *, images: str | None = None) -> dict[str, Dataset]:
    """Reads a JSON file or the JSON files of a folder; the module's docstring describes them.

    Args:
        path: The file or folder.
        split: The split to read; None: all.
        images: Folder of the images. Without it `file_name` is looked for beside the JSON, in folders `images` and in
            folders named like the JSON file or split, beside it or one level up.

    Raises:
        FileNotFoundError: An image is missing.
        ValueError: A file is not what it should be.
    """
    found = _read(path, split, images, STRICT)
    return {
        name: build_dataset(rows, vocabulary, name, str(path), CORNER_REMEDY)
        for name, (vocabulary, rows) in found.items()
    }


def read_raw(path: Path, log: DefectLog, *, images: str | None = None) -> list[RawSplit]:
    """Reads what can be read and notes the entries that cannot; `images` as for `read`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Nothing can be read.
    """
    found = _read(path, None, images, Tolerance(log))
    return [
        RawSplit.of_rows(name, vocabulary, rows, str(path), CORNER_REMEDY)
        for name, (vocabulary, rows) in found.items()
    ]


def write(datasets: dict[str, Dataset], folder: Path) -> None:
    """Writes one JSON per split, with `rel_annotations`, and the images under their names to `images/<split>`.

    Boxes are written as x, y, width and height in double precision, from which `read` gets the same float32 corners; only a
    box with a negative x1 more than 10^8 times larger than its x2 (or likewise y) can differ by its rounding.
    """
    for split, dataset in datasets.items():
        image_folder = folder / "images" / split
        image_folder.mkdir(parents=True)
        arrays, vocabulary = GraphArrays.from_dataset(dataset), Vocabulary.of(dataset)
        names = (
            write_image(image, image_folder, name, (".jpg", ".png"), image_in_words(split, image_id, name))
            for image, image_id, name in zip(
                encoded_images(dataset), arrays.image_ids.tolist(), file_names(dataset), strict=True
            )
        )
        with open(folder / f"{split}.json", "w", encoding="utf-8") as file:
            _dump(file, _sections(arrays, vocabulary, split, names))


# Reading --------------------------------------------------------------------------------------------------------------


def _annotation_files(folder: Path) -> list[Path]:
    """Files with relations; where there are none, those with boxes alone."""
    return _files_with_relations(folder) or [
        file for file in _files_with_objects(folder) if _mentions(file, _BOX_KEYS)
    ]


def _files_with_objects(folder: Path) -> list[Path]:
    files = [file for place in (folder, folder / "annotations") for file in listed_files(place, ".json")]
    return [file for file in files if _mentions(file, (b'"annotations"',))]


def _files_with_relations(folder: Path) -> list[Path]:
    objects = _files_with_objects(folder)
    if any((place / RELATIONS_FILE).is_file() for place in (folder, folder / "annotations")):
        return [file for file in objects if file.name != RELATIONS_FILE]
    return [file for file in objects if _mentions(file, _RELATION_KEYS)]


def _mentions(file: Path, keys: tuple[bytes, ...]) -> bool:
    """Whether one of the texts occurs in a file of any size; much faster than parsing it."""
    if not file.stat().st_size:
        return False
    with open(file, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(key) >= 0 for key in keys)


def _split_of_name(file: Path) -> str | None:
    names = {split_name(name) for name in _SPLIT_IN_NAME.findall(file.stem.lower())}
    return names.pop() if len(names) == 1 else None


def _split_of_info(content: dict, where: str) -> str | None:
    info = content.get("info")
    if not isinstance(info, dict) or "split" not in info:
        return None
    return split_name(field(info, "split", str, f"{where}, 'info'"), f"{where}, 'info'")


def _read(
    path: Path, split: str | None, images: str | None, tolerance: Tolerance
) -> dict[str, tuple[Vocabulary, list[GraphRow]]]:
    """The vocabulary and the rows of every split, or of one."""
    found = {}
    for file in [path] if path.is_file() else _annotation_files(path):
        named = _split_of_name(file)
        if split is None or named in (None, split):
            vocabulary, rows = _read_file(file, named, images, tolerance)
            for name in rows.keys() & found.keys():
                raise ValueError(f"{file}: images of split '{name}' are in another file of {path} too; pass one file")
            found |= {name: (vocabulary, part) for name, part in rows.items()}
    return {name: part for name, part in found.items() if split in (None, name)}


def _read_file(
    file: Path, named: str | None, images: str | None, tolerance: Tolerance
) -> tuple[Vocabulary, dict[str, list[GraphRow]]]:
    """The vocabulary and the rows by split."""
    content = read_json(file)
    if isinstance(content, dict) and "data" in content:
        content = _from_openpsg(content, str(file))
    elif (file.parent / RELATIONS_FILE).is_file():
        content = _with_relations_file(content, file, named)
    if not field(content, "images", list, str(file)):
        raise ValueError(f"{file}: the list 'images' is empty")
    objects, predicates = CocoClasses.of(content, "categories", str(file)), _predicates(content, str(file))
    graphs = _graphs(content, objects, predicates, str(file), tolerance)
    default = named or _split_of_info(content, str(file)) or "train"
    rows = defaultdict(list)
    finders = {}
    for row, entry in enumerate(content["images"]):
        place = _place(str(file), "images", row)
        with tolerance.of("broken_entry", place):
            image_id = image_id_field(entry, "id", place)
            split = split_name(field(entry, "split", str, place), place) if "split" in entry else default
            if split not in finders:
                finders[split] = ImageFinder(_image_folders(file, split, images), _IMAGE_REMEDY)
            image = place._replace(text=f"{file}, image {image_id!r}")
            rows[split].append(_row(entry, graphs[image_id], finders[split], image, tolerance))
    return Vocabulary(objects.names, predicates.names), dict(rows)


def _place(file: str, key: str, row: int) -> Place:
    return Place(f"{file}, '{key}'[{row}]", file, key, row)


def _predicates(content: dict, where: str) -> CocoClasses:
    """The predicates; none for a file that has no relations either."""
    key = "rel_categories" if "rel_categories" in content else "predicate_classes"
    rows = [content.get("rel_annotations"), content.get("relations")]
    rows += [entry.get("relations") for entry in content["images"] if isinstance(entry, dict)]
    if all(row is None for row in rows):
        logger.warning("No relations in %s: expected rel_annotations or relations; boxes can train a detector.", where)
    return CocoClasses.of(content, key, where) if any(rows) or content.get(key) else CocoClasses([], {})


def _image_folders(file: Path, split: str, images: str | None) -> list[Path]:
    if images is not None:
        return [Path(images).expanduser(), file.parent / images, file.parent.parent / images]
    names = ["", "images", file.stem, split, f"images/{split}", file.stem.removeprefix("instances_")]
    names += ["val"] if split == "validation" else []
    return [base / name for base in (file.parent, file.parent.parent) for name in names]


def _row(entry: dict, graph: _Graph, finder: ImageFinder, where: Place, tolerance: Tolerance) -> GraphRow:
    name = file_name_field(entry, where, "the folder of the images, which the option images names")
    path, *size = listed_image(entry, name, finder, where, tolerance)
    boxes = corners(number_rows(graph.boxes, 4, float, f"{where}, 'bbox' of its annotations"))
    relations = number_rows(graph.relations, 3, int, f"{where}, its relations")
    return GraphRow(where, path, integer_image_id(entry["id"]), *size, boxes, graph.labels, relations)


def _graphs(
    content: dict, objects: CocoClasses, predicates: CocoClasses, where: str, tolerance: Tolerance
) -> dict[int | str, _Graph]:
    """The graph of every image id."""
    ids = []
    for row, entry in enumerate(content["images"]):
        place = _place(where, "images", row)
        if tolerance.is_strict or _has_id(entry):
            ids.append(image_id_field(entry, "id", place))
    _check_unique(ids, where, "images", "duplicate_image_id", tolerance)
    graphs = {image_id: _Graph() for image_id in ids}
    places = _add_objects(graphs, content, objects, where, tolerance)
    if "rel_annotations" in content:
        _add_relation_annotations(graphs, content, places, predicates, where, tolerance)
    else:
        _add_relation_rows(graphs, content, predicates, where, tolerance)
    return graphs


def _has_id(entry: Any) -> bool:
    return isinstance(entry, dict) and type(entry.get("id")) in (int, str)


def _graph_of(graphs: dict[int | str, _Graph], entry: Any, where: Place) -> tuple[int | str, _Graph]:
    image_id = image_id_field(entry, "image_id", where)
    if image_id not in graphs:
        raise ValueError(f"{where}: 'image_id' {image_id!r} is not among the ids of 'images'")
    return image_id, graphs[image_id]


def _add_objects(
    graphs: dict[int | str, _Graph], content: dict, objects: CocoClasses, where: str, tolerance: Tolerance
) -> dict[int, tuple[int | str, int]]:
    """Adds boxes and labels; returns image id and position within the image of every annotation id."""
    places, ids = {}, []
    for row, entry in enumerate(field(content, "annotations", list, where)):
        place = _place(where, "annotations", row)
        with tolerance.of("broken_entry", place):
            image_id, graph = _graph_of(graphs, entry, place)
            if "id" in entry or "rel_annotations" in content:
                ids.append(field(entry, "id", int, place))
                places[ids[-1]] = image_id, len(graph.boxes)
            _add_object(graph, entry, objects, place, tolerance)
    _check_unique(ids, where, "annotations", "broken_entry", tolerance)
    return places


def _add_object(graph: _Graph, entry: dict, objects: CocoClasses, place: Place, tolerance: Tolerance) -> None:
    box, label = [float("nan")] * 4, NOTED  # relations may count objects, so one that is of no use keeps its place
    with tolerance.of("broken_entry", place):
        given = field(entry, "bbox", list, place)
        if not tolerance.is_strict:  # strict readers check all boxes of an image at once
            number_rows([given], 4, float, f"{place}, 'bbox'")
        box = given
        with tolerance.of("unknown_class", place):
            label = objects.index(entry.get("category_id"), f"{place}, 'category_id'")
    graph.boxes.append(box)
    graph.labels.append(label)


def _add_relation_annotations(
    graphs: dict[int | str, _Graph],
    content: dict,
    places: dict[int, tuple[int | str, int]],
    predicates: CocoClasses,
    where: str,
    tolerance: Tolerance,
) -> None:
    entries = field(content, "rel_annotations", list, where)
    for row, entry in enumerate(entries):
        place = _place(where, "rel_annotations", row)
        with tolerance.of("broken_entry", place):
            image_id, graph = _graph_of(graphs, entry, place)
            ids = [field(entry, name, int, place) for name in ("subject_id", "object_id")]
            with tolerance.of("relation_to_missing_box", place):
                ends = [
                    _position(*end, image_id, places, place)
                    for end in zip(("subject_id", "object_id"), ids, strict=True)
                ]
                with tolerance.of("unknown_class", place):
                    predicate = predicates.index(entry.get("predicate_id"), f"{place}, 'predicate_id'")
                    graph.relations.append([*ends, predicate])
    ids = [entry["id"] for entry in entries if isinstance(entry, dict) and "id" in entry]
    with tolerance.of("broken_entry", Place(where, where, "rel_annotations")):
        ids = [field({"id": value}, "id", int, f"{where}, 'rel_annotations'") for value in ids]
        _check_unique(ids, where, "rel_annotations", "broken_entry", STRICT)


def _position(
    name: str, annotation: int, image_id: int | str, places: dict[int, tuple[int | str, int]], place: Place
) -> int:
    """Position of an annotation among those of the image that it must belong to."""
    owner, position = places.get(annotation, (None, None))
    if position is None or owner != image_id:
        what = "no annotation has this id" if position is None else f"that is an object of image {owner!r}"
        raise ValueError(f"{place}: '{name}' {annotation} must be an annotation of image {image_id!r}: {what}")
    return position


def _add_relation_rows(
    graphs: dict[int | str, _Graph], content: dict, predicates: CocoClasses, where: str, tolerance: Tolerance
) -> None:
    mapping = field(content, "relations", dict, where) if "relations" in content else None
    for number, entry in enumerate(content["images"]):
        if not _has_id(entry):
            continue  # noted with the image
        text = f"{where}, 'relations' of image {entry['id']!r}"
        place = Place(text, where, "images" if mapping is None else "relations", number if mapping is None else None)
        source, key = (entry, "relations") if mapping is None else (mapping, str(entry["id"]))
        with tolerance.of("broken_entry", place):
            rows = field(source, key, list, place) if key in source else []
            for subject, object_, predicate in number_rows(rows, 3, int, place).tolist():
                with tolerance.of("unknown_class", place):
                    graphs[entry["id"]].relations.append([subject, object_, predicates.index(predicate, place)])
    unknown = sorted(set(mapping or ()) - {str(image_id) for image_id in graphs})
    with tolerance.of("broken_entry", Place(f"{where}, 'relations'", where, "relations")):
        if unknown:
            raise ValueError(f"{where}, 'relations': {unknown[:3]} are not among the ids of 'images'")


def _with_relations_file(content: Any, file: Path, named: str | None) -> dict:
    """Adds what `rel.json` says about the split to the content of the split's file."""
    relations_file = file.parent / RELATIONS_FILE
    relations = read_json(relations_file)
    keys = [key for key in (relations if isinstance(relations, dict) else ()) if split_name(key) == named]
    if not keys:
        raise ValueError(f"{relations_file}: expected an object with the relations of split '{named}' of {file}")
    field(content, "images", list, str(file))
    names = field(relations, "rel_categories", list, str(relations_file))
    return content | {"relations": relations[keys[0]], "rel_categories": names}


def _from_openpsg(content: dict, where: str) -> dict:
    """The same as a COCO file whose images have relations and splits."""
    names = [*field(content, "thing_classes", list, where), *field(content, "stuff_classes", list, where)]
    test = set(map(str, field(content, "test_image_ids", list, where) if "test_image_ids" in content else ()))
    images, annotations = [], []
    for row, entry in enumerate(field(content, "data", list, where)):
        place = f"{where}, 'data'[{row}]"
        image_id = image_id_field(entry, "image_id", place)
        split = "test" if str(image_id) in test else "train"
        images.append({**entry, "id": image_id, "relations": field(entry, "relations", list, place), "split": split})
        objects = field(entry, "annotations", list, place)
        boxes = number_rows([field(item, "bbox", list, place) for item in objects], 4, float, place)
        boxes[:, 2:] -= boxes[:, :2]
        annotations += [
            {"image_id": image_id, "category_id": item.get("category_id"), "bbox": box}
            for item, box in zip(objects, boxes.tolist(), strict=True)
        ]
    shared = {"predicate_classes": content.get("predicate_classes")}
    return shared | {"images": images, "annotations": annotations, "categories": names}


def _check_unique(ids: list, where: str, key: str, kind: str, tolerance: Tolerance) -> None:
    seen = set()
    for row, value in enumerate(ids if len(set(ids)) < len(ids) else ()):
        with tolerance.of(kind, Place(f"{where}, '{key}'", where, key, row)):
            if value in seen:
                raise ValueError(f"{where}, '{key}': every 'id' may occur once, but {value!r} occurs again")
        seen.add(value)


# Writing --------------------------------------------------------------------------------------------------------------


def _dump(file: TextIO, sections: Iterable[tuple[str, Any]]) -> None:
    """A JSON object with one line per list entry, which is never in memory as a whole."""
    for place, (name, value) in enumerate(sections):
        file.write(("{" if not place else ",\n") + json.dumps(name) + ": ")
        if isinstance(value, dict):
            file.write(json.dumps(value))
            continue
        file.write("[")
        for row, entry in enumerate(value):
            file.write((",\n" if row else "\n") + json.dumps(entry, allow_nan=False))
        file.write("\n]")
    file.write("}\n")


def _sections(
    arrays: GraphArrays, vocabulary: Vocabulary, split: str, names: Iterable[str]
) -> Iterator[tuple[str, Any]]:
    yield "info", {"split": split}
    yield "categories", _numbered_names(vocabulary.objects)
    yield "rel_categories", _numbered_names(vocabulary.predicates)
    yield "images", _images(arrays, split, names)
    yield "annotations", _annotations(arrays)
    yield "rel_annotations", _relation_annotations(arrays)


def _numbered_names(names: list[str]) -> list[dict]:
    return [{"id": index, "name": name} for index, name in enumerate(names, start=1)]


def _images(arrays: GraphArrays, split: str, names: Iterable[str]) -> Iterator[dict]:
    for image_id, (width, height), name in zip(arrays.image_ids.tolist(), arrays.sizes.tolist(), names, strict=True):
        yield {"id": image_id, "file_name": f"images/{split}/{name}", "width": width, "height": height}


def _annotations(arrays: GraphArrays) -> Iterator[dict]:
    boxes = arrays.boxes.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    image_ids = arrays.image_ids[arrays.box_owners].tolist()
    rows = zip(image_ids, arrays.labels.tolist(), boxes.tolist(), strict=True)
    for number, (image_id, label, box) in enumerate(rows, start=1):
        yield {"id": number, "image_id": image_id, "category_id": label + 1, "bbox": box, "area": box[2] * box[3],
               "iscrowd": 0}  # fmt: skip


def _relation_annotations(arrays: GraphArrays) -> Iterator[dict]:
    owners = arrays.relation_owners
    first_annotations = np.cumsum(arrays.box_counts) - arrays.box_counts + 1
    ends = arrays.relations[:, :2] + first_annotations[owners][:, None]
    rows = zip(arrays.image_ids[owners].tolist(), ends.tolist(), arrays.relations[:, 2].tolist(), strict=True)
    for number, (image_id, (subject, object_), predicate) in enumerate(rows, start=1):
        yield {"id": number, "image_id": image_id, "subject_id": subject, "predicate_id": predicate + 1,
               "object_id": object_}  # fmt: skip
