# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Predictions as COCO detection JSON with relations: the keys of `speaq_hf.data.formats.coco`, and scores.

- `categories`, and `rel_categories` (or `predicate_classes`): what class ids mean; classes are found by name;
- `annotations`: the objects, `image_id`, `category_id`, `bbox` [x, y, width, height] in pixels, `score`;
- `rel_annotations`: `image_id`, `subject_id` and `object_id` (ids of annotations), `predicate_id`, `score`; or rows
  `relations: [[subject, object, predicate, score], …]` in each image, or one mapping `relations` from image id to rows:
  subject and object count the image's annotations in file order;
- `images`: `id`, `width`, `height`; needed for images without objects and for rows in images.

Relations are ranked by `score`, equal ones in file order. If no relation has one, the order of the file is the ranking.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.formats.coco_classes import CocoClasses, check_unique
from ..data.formats.json_fields import field, image_id_field, integer_image_id
from .checked_values import number_list, number_rows, triplet_rows
from .class_numbering import ClassNumbering
from .predicted_image import PredictedImage, check_boxes_inside, corners_of


logger = logging.getLogger(__name__)

_RELATION_FIELDS = {"id", "image_id", "subject_id", "object_id", "predicate_id", "score"}
_Names = Mapping[int, str]


@dataclass
class _Graph:
    """Objects and relations of one image while they are collected."""

    where: str
    image_size: tuple[int, int] | None = None
    boxes: list = dataclass_field(default_factory=list)
    classes: list = dataclass_field(default_factory=list)
    scores: list = dataclass_field(default_factory=list)
    relations: list = dataclass_field(default_factory=list)
    relation_scores: list = dataclass_field(default_factory=list)


def is_content(content: Any) -> bool:
    """Whether parsed JSON is such a file."""
    return isinstance(content, dict) and "annotations" in content


def own_vocabulary(content: dict, path: Path) -> tuple[_Names, _Names]:
    """Names of the file's objects and predicates by class number, in the order of their ids.

    Raises:
        ValueError: They are missing or malformed.
    """
    return tuple(dict(enumerate(classes.names)) for classes in _classes(content, str(path)).values())


def read(content: dict, path: Path, id2label: _Names, id2predicate: _Names) -> Iterator[PredictedImage]:
    """Reads a parsed file; the module's docstring describes it.

    Args:
        content: The file.
        path: Its place, for messages.
        id2label: Object classes of the ground truth.
        id2predicate: Its predicates.

    Yields:
        The images in the order in which the file first mentions them.

    Raises:
        ValueError: An entry is not what it should be.
    """
    where = str(path)
    numberings = [
        ClassNumbering(names, kind, {number: classes.names[index] for number, index in classes.index_of.items()}, key)
        for names, kind, (key, classes) in zip(
            (id2label, id2predicate), ("object class", "predicate"), _classes(content, where).items(), strict=True
        )
    ]
    graphs = _images(content, where)
    places = _add_objects(graphs, content, where)
    if "rel_annotations" in content:
        _add_relation_annotations(graphs, content, places, where)
    else:
        _add_relation_rows(graphs, content, where)
    for image_id, graph in graphs.items():
        yield _predicted_image(image_id, graph, *numberings)


def _classes(content: dict, where: str) -> dict[str, CocoClasses]:
    is_alias = "predicate_classes" in content and "rel_categories" not in content
    predicates = "predicate_classes" if is_alias else "rel_categories"
    return {key: CocoClasses.of(content, key, where) for key in ("categories", predicates)}


def _images(content: dict, where: str) -> dict[int | str, _Graph]:
    graphs = {}
    entries = field(content, "images", list, where) if "images" in content else []
    for row, entry in enumerate(entries):
        image_id = image_id_field(entry, "id", f"{where}, 'images'[{row}]")
        if image_id in graphs:
            raise ValueError(f"{where}, 'images'[{row}]: image {image_id!r} is listed twice")
        graphs[image_id] = _Graph(f"{where}, image {image_id!r}")
        if "width" in entry or "height" in entry:
            size = entry.get("height"), entry.get("width")
            if not all(type(side) is int and side > 0 for side in size):
                raise ValueError(
                    f"{graphs[image_id].where}: 'width' and 'height' must be whole pixels, got {size[::-1]}"
                )
            graphs[image_id].image_size = size
    return graphs


def _graph_of(
    graphs: dict[int | str, _Graph], content: dict, entry: Any, where: str, place: str
) -> tuple[int | str, _Graph]:
    image_id = image_id_field(entry, "image_id", f"{where}, {place}")
    if image_id not in graphs:
        if "images" in content:
            raise ValueError(f"{where}, {place}: 'image_id' {image_id!r} is not among the ids of 'images'")
        graphs[image_id] = _Graph(f"{where}, image {image_id!r}")
    return image_id, graphs[image_id]


def _add_objects(graphs: dict[int | str, _Graph], content: dict, where: str) -> dict[int, tuple[int | str, int]]:
    """Adds boxes, classes and scores; returns image id and position within the image of every annotation id."""
    places, ids = {}, []
    for row, entry in enumerate(field(content, "annotations", list, where)):
        image_id, graph = _graph_of(graphs, content, entry, where, f"'annotations'[{row}]")
        place = f"{graph.where}, 'annotations'[{row}]"
        if "id" in entry or "rel_annotations" in content:
            ids.append(field(entry, "id", int, place))
            places[ids[-1]] = image_id, len(graph.boxes)
        if "score" not in entry:
            raise ValueError(
                f"{place}: the field 'score' is missing; is this a file of annotations, not of predictions?"
            )
        graph.boxes.append(field(entry, "bbox", list, place))
        graph.classes.append(field(entry, "category_id", int, place))
        graph.scores.append(entry["score"])
    check_unique(ids, f"{where}, 'annotations'")
    return places


def _add_relation_annotations(
    graphs: dict[int | str, _Graph], content: dict, places: dict[int, tuple[int | str, int]], where: str
) -> None:
    unknown: set[str] = set()
    for row, entry in enumerate(field(content, "rel_annotations", list, where)):
        image_id, graph = _graph_of(graphs, content, entry, where, f"'rel_annotations'[{row}]")
        place = f"{graph.where}, 'rel_annotations'[{row}]"
        ends = []
        for name in ("subject_id", "object_id"):
            annotation = field(entry, name, int, place)
            owner, position = places.get(annotation, (None, None))
            if position is None or owner != image_id:
                what = "no annotation has this id" if position is None else f"that is an object of image {owner!r}"
                raise ValueError(f"{place}: '{name}' {annotation} must be an annotation of this image: {what}")
            ends.append(position)
        graph.relations.append([*ends, field(entry, "predicate_id", int, place)])
        graph.relation_scores.append(entry.get("score"))
        if "score" not in entry:
            unknown |= entry.keys() - _RELATION_FIELDS
    if unknown:  # one of them may be what the score is called elsewhere
        logger.warning(
            "%s: relations without 'score' rank in the order of the file; rename the field if their score is %s",
            where,
            " or ".join(map(repr, sorted(unknown))),
        )


def _add_relation_rows(graphs: dict[int | str, _Graph], content: dict, where: str) -> None:
    rows_of = _rows_by_image(content, where)
    if not rows_of:
        raise ValueError(f"{where}: there are no relations; expected 'rel_annotations', or 'relations' of each image")
    by_text = {str(image_id): graph for image_id, graph in graphs.items()}
    for image_id, rows in rows_of.items():
        if str(image_id) not in by_text:
            raise ValueError(f"{where}, 'relations': image {image_id!r} is not among the images")
        graph = by_text[str(image_id)]
        for row, relation in enumerate(rows if isinstance(rows, list) else [rows]):
            if not isinstance(relation, list) or len(relation) not in (3, 4):
                expected = "[subject, object, predicate, score]"
                raise ValueError(f"{graph.where}: 'relations' row {row} must be {expected}, got {relation!r:.80}")
            graph.relations.append(relation[:3])
            graph.relation_scores.append(relation[3] if len(relation) == 4 else None)


def _rows_by_image(content: dict, where: str) -> dict[int | str, Any]:
    """What should be rows of relations, by image id."""
    if "relations" in content:
        return field(content, "relations", dict, where)
    return {entry["id"]: entry["relations"] for entry in content.get("images", []) if "relations" in entry}


def _predicted_image(
    image_id: int | str, graph: _Graph, objects: ClassNumbering, predicates: ClassNumbering
) -> PredictedImage:
    where = graph.where
    place = f"{where}: 'bbox'"
    boxes = corners_of(number_rows(graph.boxes, place, 4, "finite numbers (x, y, width, height)"), "xywh", place)
    if graph.image_size is not None:
        check_boxes_inside(boxes, graph.image_size, place, "xywh")
    fields = {
        "boxes": boxes,
        "labels": objects.numbers(graph.classes, f"{where}: 'category_id'"),
        "scores": number_list(graph.scores, f"{where}: 'score'", len(boxes), "annotations"),
        "relations": triplet_rows(graph.relations, f"{where}: relations", len(boxes), predicates),
    }
    fields |= _ranked(fields["relations"], graph.relation_scores, where)
    return PredictedImage(integer_image_id(image_id), fields, where, "bbox", "xywh", graph.image_size)


def _ranked(relations: np.ndarray, scores: list, where: str) -> dict[str, np.ndarray]:
    missing = [row for row, score in enumerate(scores) if score is None]
    if scores and len(missing) == len(scores):
        return {}
    place = f"{where}: 'score' of relations"
    if missing:
        raise ValueError(f"{place} row {missing[0]} is missing, though other relations have one")
    values = number_list(scores, place, len(relations), "relations")
    order = np.argsort(-values, kind="stable")
    return {"relations": relations[order], "relation_scores": values[order]}
