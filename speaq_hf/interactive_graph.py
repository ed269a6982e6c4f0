# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A page that shows one scene graph to point at: image with boxes, graph, table of relations, and sliders for how many.

The page holds its picture, style and program; it asks for nothing else, and draws and places everything in the browser.
"""

from __future__ import annotations

import io
from typing import Any

from markupsafe import Markup
from PIL import Image

from .graph_views.object_marks import numbered_names, object_colors, text_color
from .html_pages import data_uri, embedded_json, render_template
from .image_reading import ImageSource, read_image
from .scene_graph import SceneGraph


_JPEG_QUALITY = 85


def render_interactive_graph(
    graph: SceneGraph,
    image: ImageSource | None = None,
    *,
    title: str | None = None,
    file_name: str = "scene_graph",
    num_shown: int = 10,
    max_relations: int = 100,
    image_side: int = 1000,
) -> str:
    """Makes the page.

    Args:
        graph: What to show.
        image: The image the graph belongs to, see `read_image`; `None` draws the boxes on an empty canvas.
        title: Heading; default none.
        file_name: Of what is downloaded from the page, without ending; also the image's name in the JSON.
        num_shown: Number of relations shown first, at least 1; the slider changes it.
        max_relations: Number of relations on the page, at least 1; the slider ends there.
        image_side: Longest side of the picture on the page in pixels; larger images are made smaller.

    Returns:
        HTML.

    Raises:
        ValueError: The image has another size than the graph's, or a number is below 1.
        UnreadableImageError: The image cannot be read.
    """
    for name, number in (("num_shown", num_shown), ("max_relations", max_relations), ("image_side", image_side)):
        if number < 1:
            raise ValueError(f"render_interactive_graph: `{name}` must be at least 1, got {number}.")
    picture = None if image is None else _embedded_picture(read_image(image), graph.image_size, image_side)
    data = _page_data(graph.top(max_relations, keep_isolated=len(graph) <= max_relations))
    data |= {"total": len(graph), "shown": num_shown, "image": picture, "fileName": file_name}
    return render_template("interactive_graph.html", title=title, data=embedded_json(data))


def framed_page(page: str, title: str = "Scene graph") -> str:
    """A page inside a frame of its own, for notebooks and web apps: nothing in it meets the page around it.

    Args:
        page: HTML of the page; it makes the frame as high as itself.
        title: What screen readers call it.

    Returns:
        HTML of the frame.
    """
    style = "display: block; width: 100%; height: 640px; border: 0"
    return str(Markup('<iframe title="{}" srcdoc="{}" style="{}"></iframe>').format(title, page, style))


def _page_data(graph: SceneGraph) -> dict[str, Any]:
    height, width = graph.image_size
    colors = object_colors(len(graph.boxes))
    objects = zip(graph.labels.tolist(), graph.scores.tolist(), graph.boxes.tolist(), strict=True)
    relations = zip(graph.relations.tolist(), graph.relation_scores.tolist(), strict=True)
    return {
        "size": [width, height],
        "names": numbered_names(graph),
        "colors": colors,
        "textColors": [text_color(color) for color in colors],
        "objects": [
            [graph.id2label[label], _four_digits(score), *(round(side, 2) for side in box)]
            for label, score, box in objects
        ],
        "relations": [
            [subject, object_, graph.id2predicate[predicate], _four_digits(score)]
            for (subject, object_, predicate), score in relations
        ],
    }


def _four_digits(value: float) -> float:
    return float(f"{value:.4g}")


def _embedded_picture(image: Image.Image, image_size: tuple[int, int], side: int) -> str:
    if (image.height, image.width) != image_size:
        raise ValueError(
            f"The graph belongs to an image of height and width {image_size}, got {(image.height, image.width)}."
        )
    image.thumbnail((side, side))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=_JPEG_QUALITY)
    return data_uri(content.getvalue(), "image/jpeg")
