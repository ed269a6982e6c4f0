# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Our prediction files: one JSON object per line, one line per image.

    {"id2label": {"0": "man", "1": "horse"}, "id2predicate": {"0": "riding"}}
    {"image_id": 7, "image_size": [480, 640], "boxes": [[4, 8, 50, 40], [2, 45, 90, 99.5]], "labels": [0, 1],
     "scores": [0.9, 0.8], "relations": [[0, 1, 0]], "relation_scores": [0.5]}

(the second line is broken here only). The fields are those of `SceneGraph.to_dict`, with the vocabularies once, in a first
line that may be missing:

- `image_id`: integer or text, as the ground truth has it;
- `boxes`: (x1, y1, x2, y2) in pixels of the original image, `labels` and `scores`: one for each box. Where the ground truth
  gives them (predcls, sgcls), they may be missing;
- `relations`: rows [subject, object, predicate], best first; subject and object count the line's boxes from 0;
- `labels` and predicates are names, or numbers: keys of the first line, without one those of the ground truth;
- optional: `relation_scores`, `predicate_probabilities` (P+1 for each relation, last one background; without them,
  `unconstrained_relations` or the relations compete for ng-R), `query_indices`, and `image_size` [height, width] or `width`
  and `height`.

A file is read line by line, however large it is.
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..data.formats.json_fields import class_names, field, image_id_field, integer_image_id
from .checked_values import check_count, integer_list, number_list, number_rows, triplet_rows
from .class_numbering import ClassNumbering
from .predicted_image import PredictedImage, check_boxes_inside, corners_of
from .strict_json import parse_json


logger = logging.getLogger(__name__)

VOCABULARY_FIELDS = ("id2label", "id2predicate")
_FIELDS = (
    *("image_id", "boxes", "labels", "scores", "relations", "relation_scores", "predicate_probabilities"),
    *("unconstrained_relations", "query_indices", "image_size", "width", "height"),
)
_Names = Mapping[int, str]


def vocabulary_line(id2label: _Names, id2predicate: _Names) -> str:
    """The first line of a file, without its end."""
    names = zip(VOCABULARY_FIELDS, (id2label, id2predicate), strict=True)
    return json.dumps({field: {str(key): name for key, name in values.items()} for field, values in names})


def is_line(entry: Any) -> bool:
    """Whether parsed JSON can be the first line of such a file."""
    return isinstance(entry, dict) and ("image_id" in entry or is_vocabulary(entry)) and "annotations" not in entry


def is_vocabulary(entry: Any) -> bool:
    """Whether a parsed line names classes instead of predicting an image."""
    return isinstance(entry, dict) and "image_id" not in entry and any(name in entry for name in VOCABULARY_FIELDS)


def own_vocabulary(path: Path) -> tuple[_Names, _Names] | None:
    """`id2label` and `id2predicate` of a file; None if its first line names none.

    Raises:
        ValueError: The first line is malformed.
    """
    for where, entry in _lines(path):
        return _names_of(entry, where) if is_vocabulary(entry) else None
    return None


def read(path: Path, id2label: _Names, id2predicate: _Names, given: Collection[str] = ()) -> Iterator[PredictedImage]:
    """Reads a file line by line; the module's docstring describes it.

    Args:
        path: The file.
        id2label: Object classes of the ground truth.
        id2predicate: Its predicates.
        given: Fields that the ground truth gives and the file may lack.

    Yields:
        The images in the order of the file.

    Raises:
        ValueError: A line is not what it should be.
    """
    objects, predicates = ClassNumbering(id2label, "object class"), ClassNumbering(id2predicate, "predicate")
    warned = False
    for number, (where, entry) in enumerate(_lines(path)):
        if number == 0 and is_vocabulary(entry):
            own_objects, own_predicates = _names_of(entry, where)
            objects = ClassNumbering(id2label, "object class", own_objects, "id2label")
            predicates = ClassNumbering(id2predicate, "predicate", own_predicates, "id2predicate")
        else:
            image = _predicted_image(entry, objects, predicates, given, where)
            warned = warned or _warn_of_order(image)
            yield image


def _warn_of_order(image: PredictedImage) -> bool:
    """Warns if the relations are not in the order of their scores; whether it did."""
    scores = image.graph.get("relation_scores")
    is_sorted = scores is None or (scores[1:] <= scores[:-1]).all()
    if not is_sorted:
        logger.warning(
            "%s: 'relation_scores' do not fall from row to row, here and maybe in other images: protocols that rank by "
            "score, as strict does, sort the relations, the others take the order of the file",
            image.where,
        )
    return not is_sorted


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Place and parsed content of every line that is not blank."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                where = f"{path}, line {number}"
                yield where, parse_json(line, where)


def _names_of(entry: dict, where: str) -> tuple[_Names, _Names]:
    return tuple(_names(field(entry, name, dict, where), f"{where}: '{name}'") for name in VOCABULARY_FIELDS)


def _names(names: dict[str, Any], where: str) -> _Names:
    numbers = range(len(names))
    if not names or set(names) != set(map(str, numbers)) or not all(isinstance(name, str) for name in names.values()):
        shown = f"{json.dumps(names):.80}"
        raise ValueError(f'{where} must give every class number from 0 a name, as {{"0": "man", …}}, got {shown}')
    return dict(enumerate(class_names([names[str(number)] for number in numbers], where)))


def _predicted_image(
    entry: Any, objects: ClassNumbering, predicates: ClassNumbering, given: Collection[str], where: str
) -> PredictedImage:
    image_id = image_id_field(entry, "image_id", where)
    where = f"{where}, image {image_id!r}"
    _check_fields(entry, given, where)
    graph = _objects(entry, objects, where) | _relations(entry, predicates, _num_objects(entry, where), where)
    image_size = _image_size(entry, where)
    if image_size is not None:
        check_boxes_inside(graph.get("boxes"), image_size, f"{where}: 'boxes'", "xyxy")
    return PredictedImage(integer_image_id(image_id), graph, where, image_size=image_size)


def _check_fields(entry: dict, given: Collection[str], where: str) -> None:
    for name in ("boxes", "labels", "scores", "relations"):
        if name not in entry and name not in given:
            raise ValueError(f"{where}: the field '{name}' is missing; the fields are {', '.join(entry)}")
    for name in entry.keys() - set(_FIELDS):  # others are their author's business, unless misspelt
        close = difflib.get_close_matches(name, _FIELDS, n=1, cutoff=0.85)
        if close and close[0] not in entry:
            raise ValueError(f"{where}: there is no field '{name}'; rename it if '{close[0]}' is meant, or remove it")


def _num_objects(entry: dict, where: str) -> int:
    """Number of boxes, or of what else tells it; without limit where the ground truth alone knows."""
    for name in ("boxes", "labels", "scores"):
        if name in entry:
            return len(field(entry, name, list, where))
    return 2**31


def _objects(entry: dict, objects: ClassNumbering, where: str) -> dict[str, np.ndarray]:
    graph, count = {}, _num_objects(entry, where)
    if "boxes" in entry:
        place = f"{where}: 'boxes'"
        boxes = number_rows(entry["boxes"], place, 4, "finite numbers (x1, y1, x2, y2)")
        graph["boxes"] = corners_of(boxes, "xyxy", place)
    if "labels" in entry:
        graph["labels"] = objects.numbers(field(entry, "labels", list, where), f"{where}: 'labels'")
        check_count(len(graph["labels"]), f"{where}: 'labels'", count, "boxes")
    if "scores" in entry:
        graph["scores"] = number_list(entry["scores"], f"{where}: 'scores'", count, "boxes")
    return graph


def _relations(entry: dict, predicates: ClassNumbering, num_objects: int, where: str) -> dict[str, np.ndarray]:
    graph = {
        name: triplet_rows(entry[name], f"{where}: '{name}'", num_objects, predicates)
        for name in ("relations", "unconstrained_relations")
        if entry.get(name) is not None
    }
    if "relations" not in graph:
        raise ValueError(f"{where}: the field 'relations' must be a list, got None")
    count = len(graph["relations"])
    for name, read_list in (("relation_scores", number_list), ("query_indices", integer_list)):
        if entry.get(name) is not None:
            graph[name] = read_list(entry[name], f"{where}: '{name}'", count, "relations")
    if entry.get("predicate_probabilities") is not None:
        place = f"{where}: 'predicate_probabilities'"
        columns = predicates.num_own + 1
        names = f"finite numbers ({predicates.num_own} predicates and background)"
        values = number_rows(entry["predicate_probabilities"], place, columns, names)
        check_count(len(values), place, count, "relations")
        graph["predicate_probabilities"] = predicates.columns(values, place)
    return graph


def _image_size(entry: dict, where: str) -> tuple[int, int] | None:
    if entry.get("image_size") is not None:
        size = entry["image_size"]
    elif "width" in entry or "height" in entry:
        size = [entry.get("height"), entry.get("width")]
    else:
        return None
    if type(size) is not list or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise ValueError(f"{where}: 'image_size' must be [height, width] in whole pixels, got {size!r:.60}")
    return tuple(size)
