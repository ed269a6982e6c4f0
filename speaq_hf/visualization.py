# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Pictures of scene graphs: boxes on the image, the graph beside it, prediction against truth, and a page of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from .complete_files import complete_file
from .graph_views.graph_drawing import HIT_COLOR, MISS_COLOR, SMALL_IMAGE_SIDE, GraphRow, stack_rows
from .graph_views.html_gallery import render_page
from .graph_views.object_marks import PALETTE, object_colors
from .image_reading import ImageSource, read_image
from .metrics.box_overlap import pairwise_iou
from .metrics.pair_matching import find_hits
from .models.speaq.scene_graph_merge_speaq import with_common_names
from .scene_graph import SceneGraph
from .text_files import write_text


@dataclass(frozen=True)
class GalleryExample:
    """One image of a gallery.

    Args:
        image: PIL image or `(H, W, 3)` array.
        predicted: Predicted graph of the image.
        reference: True graph of the image.
        name: Heading, for example the file name.
    """

    image: Any
    predicted: SceneGraph
    reference: SceneGraph
    name: str


def plot_scene_graph(
    graph: SceneGraph,
    image: ImageSource | None = None,
    *,
    max_relations: int | None = 30,
    max_objects: int = 40,
    show_scores: bool = True,
    title: str | None = None,
) -> Figure:
    """Draws the image with its boxes at the left and the graph at the right, objects in the same colours.

    Arrows have the colour of their subject.

    Args:
        graph: What to draw.
        image: Path, address, bytes of a file, PIL image (turned upright by its EXIF tag) or `(H, W, 3)` array; `None`
            draws the boxes on an empty canvas.
        max_relations: Draw the first relations only; `None` draws all.
        max_objects: Objects without relation are drawn, the best first, up to this number of objects in all, and none of them
            where relations are left out.
        show_scores: Write the relation scores behind the predicates.
        title: Heading.

    Returns:
        A figure as large as its content needs; `figure.savefig(path)` writes PNG, SVG or PDF, as the name says.

    Raises:
        ValueError: The image has another size than the graph's, or cannot be read.
    """
    graph = _what_is_drawn(graph, max_relations, max_objects)
    colors = object_colors(len(graph.boxes))
    arrow_colors = [colors[subject] for subject in graph.relations[:, 0].tolist()]
    return stack_rows([GraphRow(graph, _opened(image), colors, arrow_colors, show_scores)], [title])


def compare_scene_graphs(
    image: Any,
    predicted: SceneGraph,
    reference: SceneGraph,
    *,
    num_predictions: int = 10,
    iou_threshold: float = 0.5,
) -> Figure:
    """Draws the predicted graph above the true one; hits are green and solid, misses red and dashed.

    `SceneGraph.compare` says in words what the two have in common.

    A predicted relation is a hit when it agrees with a true one as in the evaluation (classes, predicate, both
    boxes). A true relation is a hit when one of the drawn predictions found it.

    Args:
        image: See `plot_scene_graph`.
        predicted: Predicted graph, best relations first.
        reference: True graph, see `SceneGraph.from_annotation`. Classes and predicates are compared by name.
        num_predictions: Number of predicted relations drawn, and counted as found.
        iou_threshold: Lowest overlap of two boxes that agree, in [0, 1].

    Returns:
        The figure.
    """
    image = _opened(image)
    predicted, reference = with_common_names(predicted.top(num_predictions), reference)
    hits = find_hits(predicted, reference, iou_threshold)
    predicted_hits, reference_hits = hits.any(axis=1), hits.any(axis=0)
    options = {"image_side": SMALL_IMAGE_SIDE, "with_list": True}
    colors = object_colors(len(reference.boxes))
    rows = [
        GraphRow(
            predicted, image, _matching_colors(predicted, reference), _hit_colors(predicted_hits), True, **options
        ),
        GraphRow(reference, image, colors, _hit_colors(reference_hits), False, **options),
    ]
    titles = [
        f"Predicted: {predicted_hits.sum()} of {len(predicted)} relations correct",
        f"True: {reference_hits.sum()} of {len(reference)} relations found",
    ]
    return stack_rows(rows, titles)


def write_html_gallery(
    folder: str | os.PathLike,
    examples: Iterable[GalleryExample],
    *,
    title: str,
    metrics: Mapping[str, Mapping[str, Any]] | None = None,
    description: str = "",
    num_predictions: int = 10,
    dpi: int = 110,
) -> Path:
    """Writes a folder with `index.html` and the pictures it shows; nothing on the page comes from elsewhere.

    Args:
        folder: Made if missing; pictures of the same name are replaced.
        examples: One picture each, see `compare_scene_graphs`. They are drawn one by one; wrap them in `tqdm` to watch.
        title: Heading of the page.
        metrics: Column name ("trained", "untrained", ...) -> metric name -> share in [0, 1]; the table at the top, in percent.
        description: A sentence under the heading.
        num_predictions: Number of predicted relations drawn per image.
        dpi: Resolution of the pictures.

    Returns:
        Path of `index.html`.
    """
    folder = Path(folder)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    entries = []
    for i, example in enumerate(examples):
        figure = compare_scene_graphs(
            example.image, example.predicted, example.reference, num_predictions=num_predictions
        )
        picture = f"pictures/{i:04d}.png"
        with complete_file(folder / picture) as unfinished:
            figure.savefig(unfinished, dpi=dpi, format="png")
        entries.append(_gallery_entry(example, picture, num_predictions))
    page = render_page(title=title, description=description, metrics=metrics or {}, entries=entries)
    write_text(folder / "index.html", page)
    return folder / "index.html"


def _gallery_entry(example: GalleryExample, picture: str, num_predictions: int) -> dict[str, Any]:
    predicted = example.predicted.top(num_predictions)
    hits = find_hits(predicted, example.reference)
    return {
        "name": example.name,
        "picture": picture,
        "predicted": list(zip(predicted.triplets(), hits.any(axis=1).tolist(), strict=True)),
        "reference": list(zip(example.reference.triplets(), hits.any(axis=0).tolist(), strict=True)),
    }


def _what_is_drawn(graph: SceneGraph, max_relations: int | None, max_objects: int) -> SceneGraph:
    if max_relations is not None and len(graph) > max_relations:
        return graph.top(max_relations)
    in_relation = np.isin(np.arange(len(graph.boxes)), graph.relations[:, :2].numpy())
    best_first = np.argsort(-(graph.scores.numpy() + 2 * in_relation), kind="stable")  # a score is at most 1
    kept = in_relation.copy()
    kept[best_first[:max_objects]] = True
    return graph.select(objects=kept, keep_isolated=True)


def _opened(image: Any) -> Any:
    return read_image(image) if isinstance(image, (str, os.PathLike, bytes, Image.Image)) else image


def _hit_colors(is_hit: np.ndarray) -> list[str]:
    return [HIT_COLOR if hit else MISS_COLOR for hit in is_hit]


def _matching_colors(predicted: SceneGraph, reference: SceneGraph) -> list[str]:
    """Gives a predicted object the colour of the true object it overlaps most, others the colours left over."""
    overlap = pairwise_iou(predicted.boxes.numpy(), reference.boxes.numpy())
    overlap = np.where(predicted.labels.numpy()[:, None] == reference.labels.numpy()[None, :], overlap, 0.0)
    partner: dict[int, int] = {}
    for flat in np.argsort(-overlap, axis=None, kind="stable"):
        i, j = np.unravel_index(flat, overlap.shape)
        if overlap[i, j] > 0 and i not in partner and j not in partner.values():
            partner[i] = j
    spare = itertools.count(len(reference.boxes))
    slots = [partner[i] if i in partner else next(spare) for i in range(len(predicted.boxes))]
    return [PALETTE[slot % len(PALETTE)] for slot in slots]
