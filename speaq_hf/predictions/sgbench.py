# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Prediction files of SGBench (Lorenz et al., 2024), as its program reads them; its README describes another form.

    {"version": 1, "images": [
      {"id": "107902", "annotation": [{"category": 3, "bbox": [4, 8, 50, 40]}, …], "triplets": [[0, 1, 7], …],
       "ng_triplets": [[0, 1, 7], [0, 1, 2], …]}, …]}

- `category` and predicates: class numbers of the ground truth;
- `bbox`: (x1, y1, x2, y2) in pixels; further columns are ignored;
- `triplets`: rows (subject, object, predicate), best first; `ng_triplets`, which may be missing: several predicates of a
  pair, ranked together.

The format knows no scores: every object scores 1. Its ZIP files with masks instead of boxes are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..data.formats.json_fields import field, image_id_field, integer_image_id
from .checked_values import number_rows, triplet_rows
from .class_numbering import ClassNumbering
from .predicted_image import PredictedImage, corners_of


VERSION = 1


def is_content(content: Any) -> bool:
    """Whether parsed JSON is such a file."""
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or "annotations" in content:
        return False
    return "version" in content or any(isinstance(entry, dict) and "triplets" in entry for entry in images[:1])


def read(
    content: dict, path: Path, id2label: Mapping[int, str], id2predicate: Mapping[int, str]
) -> Iterator[PredictedImage]:
    """Reads a parsed file; the module's docstring describes it.

    Args:
        content: The file.
        path: Its place, for messages.
        id2label: Object classes of the ground truth.
        id2predicate: Its predicates.

    Yields:
        The images in the order of the file.

    Raises:
        ValueError: An entry is not what it should be.
    """
    objects, predicates = ClassNumbering(id2label, "object class"), ClassNumbering(id2predicate, "predicate")
    for row, entry in enumerate(field(content, "images", list, str(path))):
        where = f"{path}, 'images'[{row}]"
        image_id = image_id_field(entry, "id", where)
        graph = _graph(entry, objects, predicates, f"{where}, image {image_id!r}")
        yield PredictedImage(integer_image_id(image_id), graph, f"{where}, image {image_id!r}", "bbox")


def _graph(entry: dict, objects: ClassNumbering, predicates: ClassNumbering, where: str) -> dict[str, np.ndarray]:
    annotation = _annotation(entry, where)
    place = f"{where}: 'bbox' of 'annotation'"
    corners = [box[:4] for box in (field(item, "bbox", list, place) for item in annotation)]
    boxes = number_rows(corners, place, 4, "finite numbers (x1, y1, x2, y2)")
    labels = [field(item, "category", int, f"{where}: 'annotation'") for item in annotation]
    graph = {
        "boxes": corners_of(boxes, "xyxy", place),
        "labels": objects.numbers(labels, f"{where}: 'category' of 'annotation'"),
        "scores": np.ones(len(labels)),
    }
    for name, key in (("relations", "triplets"), ("unconstrained_relations", "ng_triplets")):
        rows = entry.get(key)
        if rows or key == "triplets":  # the program takes empty ones for missing ones
            rows = field(entry, key, list, where)
            graph[name] = triplet_rows(rows, f"{where}: '{key}'", len(labels), predicates)
    return graph


def _annotation(entry: dict, where: str) -> list:
    if "annotation" not in entry and "bboxes" in entry:
        raise ValueError(
            f'{where}: SGBench\'s program reads objects from \'annotation\': [{{"category": 3, "bbox": [x1, y1, x2, y2]}}, …]; '
            "'bboxes' and 'categories' are in its README only"
        )
    annotation = field(entry, "annotation", list, where)
    if "seg_filename" in entry and not all(isinstance(item, dict) and "bbox" in item for item in annotation):
        raise ValueError(f"{where}: its objects are masks ('seg_filename'); only boxes ('bbox') can be judged")
    return annotation
