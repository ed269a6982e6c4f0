# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The images of an evaluation report: small pictures, and both graphs as short lists for the page's script."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..html_pages import data_uri
from .candidates import competing_rows, ranked_graph
from .error_anatomy import TripletOutcome, outcomes_of_image
from .image_batch import read_images
from .image_triplets import ImageTriplets
from .protocols import EvaluationProtocol
from .report_charts import OUTCOMES


_OUTCOME_NUMBERS = {outcome.key: number for number, outcome in enumerate(OUTCOMES)}


@dataclass(frozen=True)
class ReportExample:
    """One image of a report.

    Args:
        name: For example its file name.
        reference: Its annotation, as `SceneGraphRecall.add_batch` takes it.
        predictions: One predicted graph per model.
        image: PIL image or `(H, W, 3)` array, as large as the boxes say; None: the boxes are drawn on an empty page.
    """

    name: str
    reference: Any
    predictions: Sequence[Any]
    image: Any = None


@dataclass(frozen=True)
class ImageRules:
    """How the images of a report are judged and drawn.

    Args:
        protocol: The rules.
        k: Number of predictions that are looked at.
        iou_threshold: Lowest overlap of two boxes that agree.
        mode: One of `MODES`.
        num_objects: Number of object classes.
        num_predicates: P.
        num_predictions: Most predictions of an image that are listed, hits aside.
        thumbnail_side: Longer side of the pictures in pixels.
    """

    protocol: EvaluationProtocol
    k: int
    iou_threshold: float
    mode: str
    num_objects: int
    num_predicates: int
    num_predictions: int
    thumbnail_side: int


def image_values(example: ReportExample, rules: ImageRules) -> dict[str, Any]:
    """What the page needs of one image, ready for JSON.

    Args:
        example: The image.
        rules: How it is judged and drawn.

    Returns:
        `name`, `picture` (address, or None), `size` (width, height), `objects` (rows of class, x, y, width, height in pixels of
        the picture), `triplets` (rows of subject, object, predicate) and `models`: for each `objects`, `rows` (place, subject,
        object, predicate, score or None, whether it is the first hit of an annotated triplet) and `outcomes`, one per
        annotated triplet: number in `OUTCOMES`, place or None, and (subject, object, predicate) that speaks for it or None.

    Raises:
        ValueError: The prediction or annotation is faulty; the message names the image.
    """
    judged = [_judged(example, prediction, rules) for prediction in example.predictions]
    reference = judged[0][1]
    picture = None if example.image is None else _as_picture(example.image)
    size = _extent(judged) if picture is None else picture.size
    scale = min(1.0, rules.thumbnail_side / max(size))
    return {
        "name": example.name,
        "picture": None if picture is None else _thumbnail(picture, rules.thumbnail_side),
        "size": [max(1, round(side * scale)) for side in size],
        "objects": _object_rows(reference, range(len(reference.boxes)), scale),
        "triplets": [outcome.relation for outcome in judged[0][2]],
        "models": [_model_values(graph, outcomes, rules, scale) for graph, _, outcomes in judged],
    }


def _judged(
    example: ReportExample, prediction: Any, rules: ImageRules
) -> tuple[ImageTriplets, ImageTriplets, list[TripletOutcome]]:
    """The ranked prediction, the annotation, and what became of its triplets."""
    try:
        images = read_images([prediction], [example.reference], rules.num_predicates, rules.mode)
        for graph in (*images.predictions, *images.references):
            if graph.labels.max(initial=0) >= rules.num_objects:
                raise ValueError(f"object class {graph.labels.max()} has no name, there are {rules.num_objects}.")
    except ValueError as error:
        raise ValueError(f"Example {example.name!r} of the report: {error}") from error
    (graph,), (reference,) = images.predictions, images.references
    outcomes = outcomes_of_image(graph, reference, rules.protocol, rules.iou_threshold, rules.k)
    return ranked_graph(graph, rules.protocol), reference, outcomes


def _model_values(
    graph: ImageTriplets, outcomes: Sequence[TripletOutcome], rules: ImageRules, scale: float
) -> dict[str, Any]:
    positions = competing_rows(graph, rules.protocol)[: rules.k]
    hits = {outcome.place for outcome in outcomes if outcome.place is not None}
    places = sorted(hits | set(range(min(len(positions), rules.num_predictions))))
    rows = graph.relations[positions[places]] if places else np.zeros((0, 3), dtype=np.int64)
    speaking = [outcome.row for outcome in outcomes if outcome.row is not None]
    used = np.unique(np.concatenate([rows[:, :2], np.array(speaking, dtype=np.int64).reshape(-1, 3)[:, :2]]))
    number = {object_: position for position, object_ in enumerate(used.tolist())}
    scores = [None] * len(rows) if graph.relation_scores is None else graph.relation_scores[positions[places]].tolist()
    return {
        "objects": _object_rows(graph, used.tolist(), scale),
        "rows": [
            [place, number[s], number[o], p, None if score is None else round(score, 3), place in hits]
            for place, (s, o, p), score in zip(places, rows.tolist(), scores, strict=True)
        ],
        "outcomes": [
            [
                _OUTCOME_NUMBERS[outcome.cause or "hit"],
                outcome.place,
                outcome.row and [number[outcome.row[0]], number[outcome.row[1]], outcome.row[2]],
            ]
            for outcome in outcomes
        ],
    }


def _object_rows(graph: ImageTriplets, objects: Sequence[int], scale: float) -> list[list[int]]:
    corners = np.rint(graph.boxes[list(objects)] * scale).astype(np.int64).reshape(-1, 4)
    sizes = corners[:, 2:] - corners[:, :2]
    labels = graph.labels[list(objects)]
    return np.column_stack([labels, corners[:, :2], sizes.clip(min=0)]).tolist()


def _extent(judged: Sequence[tuple[ImageTriplets, ImageTriplets, Any]]) -> tuple[float, float]:
    """Width and height that hold all boxes."""
    boxes = np.concatenate([np.ones((1, 4)), *(graph.boxes for pair in judged for graph in pair[:2])])
    return float(boxes[:, 2].max()), float(boxes[:, 3].max())


def _as_picture(image: Any) -> Image.Image:
    return (image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))).convert("RGB")


def _thumbnail(picture: Image.Image, side: int) -> str:
    small = picture.copy()
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=75, optimize=True)
    return data_uri(buffer.getvalue(), "image/jpeg")
