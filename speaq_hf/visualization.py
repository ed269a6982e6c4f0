# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Pictures of scene graphs: boxes on the image, the graph beside it, prediction against truth, and a page of them.

All sizes are in points (1/72 inch). Figures are made without pyplot: no global state and no backend is touched.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path as CurvePath
from matplotlib.patheffects import Normal, Stroke
from matplotlib.transforms import Bbox

from .graph_layout import GraphLayout, layout_scene_graph
from .html_gallery import render_page
from .metrics.box_overlap import pairwise_iou
from .metrics.pair_matching import find_hits
from .object_marks import PALETTE, numbered_names, object_colors, text_color
from .scene_graph import SceneGraph


HIT_COLOR, MISS_COLOR, NEUTRAL_COLOR = "#1a7f37", "#c62828", "#5f6b7a"
_FONT_SIZE, _SMALL_FONT_SIZE = 9.0, 8.0
_TEXT_PADDING = 3.0
_MARGIN, _TITLE_HEIGHT, _LINE_HEIGHT = 12.0, 20.0, 13.0
_IMAGE_SIDE, _SMALL_IMAGE_SIDE = 420.0, 300.0


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
    image: Any = None,
    *,
    max_relations: int | None = 30,
    show_scores: bool = True,
    title: str | None = None,
) -> Figure:
    """Draws the image with its boxes at the left and the graph at the right, objects in the same colours.

    Args:
        graph: What to draw.
        image: PIL image or `(H, W, 3)` array; `None` draws the boxes on an empty canvas.
        max_relations: Draw the first relations only; `None` draws all.
        show_scores: Write the relation scores behind the predicates.
        title: Heading.

    Returns:
        A figure as large as its content needs; `figure.savefig(path)` writes it.

    Raises:
        ValueError: The image has another size than the graph's.
    """
    graph = graph if max_relations is None else graph.top(max_relations, keep_isolated=len(graph) <= max_relations)
    row = _Row(graph, image, object_colors(len(graph.boxes)), [NEUTRAL_COLOR] * len(graph), show_scores)
    return _stack_rows([row], [title])


def compare_scene_graphs(
    image: Any,
    predicted: SceneGraph,
    reference: SceneGraph,
    *,
    num_predictions: int = 10,
    iou_threshold: float = 0.5,
) -> Figure:
    """Draws the predicted graph above the true one; hits are green and solid, misses red and dashed.

    A predicted relation is a hit when it agrees with a true one as in the evaluation (classes, predicate, both
    boxes). A true relation is a hit when one of the drawn predictions found it.

    Args:
        image: PIL image or `(H, W, 3)` array.
        predicted: Predicted graph, best relations first.
        reference: True graph, see `SceneGraph.from_annotation`.
        num_predictions: Number of predicted relations drawn, and counted as found.
        iou_threshold: Lowest overlap of two boxes that agree, in [0, 1].

    Returns:
        The figure.
    """
    predicted = predicted.top(num_predictions)
    hits = find_hits(predicted, reference, iou_threshold)
    predicted_hits, reference_hits = hits.any(axis=1), hits.any(axis=0)
    options = {"image_side": _SMALL_IMAGE_SIDE, "with_list": True}
    colors = object_colors(len(reference.boxes))
    rows = [
        _Row(predicted, image, _matching_colors(predicted, reference), _hit_colors(predicted_hits), True, **options),
        _Row(reference, image, colors, _hit_colors(reference_hits), False, **options),
    ]
    titles = [
        f"Predicted: {predicted_hits.sum()} of {len(predicted)} relations correct",
        f"True: {reference_hits.sum()} of {len(reference)} relations found",
    ]
    return _stack_rows(rows, titles)


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
        _write_figure(figure, folder / picture, dpi)
        entries.append(_gallery_entry(example, picture, num_predictions))
    page = render_page(title=title, description=description, metrics=metrics or {}, entries=entries)
    _replace_file(folder / "index.html", lambda path: path.write_text(page, encoding="utf-8"))
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


def _write_figure(figure: Figure, path: Path, dpi: int) -> None:
    _replace_file(path, lambda temporary: figure.savefig(temporary, dpi=dpi, format="png"))


def _replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    os.replace(temporary, path)


class _Row:
    """One graph as a row of panels: image with boxes, graph, and on request the list of its relations."""

    def __init__(
        self,
        graph: SceneGraph,
        image: Any,
        object_colors: Sequence[str],
        relation_colors: Sequence[str],
        show_scores: bool,
        image_side: float = _IMAGE_SIDE,
        with_list: bool = False,
    ) -> None:
        self.graph, self.image = graph, image
        self.object_colors, self.relation_colors = object_colors, relation_colors
        self.names, self.scores = numbered_names(graph), _score_texts(graph, show_scores)
        self.predicates = [
            graph.id2predicate[predicate] + score
            for predicate, score in zip(graph.relations[:, 2].tolist(), self.scores, strict=True)
        ]
        self.lines = self._list_lines() if with_list else []
        self.name_sizes = _text_sizes(self.names, _FONT_SIZE)
        self.layout = layout_scene_graph(
            graph.relations.numpy(), self.name_sizes, _text_sizes(self.predicates, _SMALL_FONT_SIZE)
        )
        self.panels = self._panel_sizes(image_side)
        self.height = max(height for _, height in self.panels)

    def _list_lines(self) -> list[str]:
        marks = ["\u2713" if color == HIT_COLOR else "\u2717" for color in self.relation_colors]
        return [
            f"{mark} {self.names[s]} {self.graph.id2predicate[p]} {self.names[o]}{score}"
            for mark, (s, o, p), score in zip(marks, self.graph.relations.tolist(), self.scores, strict=True)
        ]

    def _panel_sizes(self, image_side: float) -> list[tuple[float, float]]:
        """(width, height) of the image, the graph and the list."""
        height, width = self.graph.image_size
        scale = image_side / max(height, width, 1)
        list_width = max(_text_sizes(self.lines, _SMALL_FONT_SIZE)[:, 0], default=0.0)
        return [(width * scale, height * scale), self.layout.size, (list_width, len(self.lines) * _LINE_HEIGHT)]

    def draw(self, axes: Sequence[Axes]) -> None:
        """Draws into axes whose data units are points (the image's: pixels)."""
        _draw_image(axes[0], self.graph, self.image)
        _draw_boxes(axes[0], self.graph.boxes.tolist(), self.names, self.object_colors)
        _draw_graph(axes[1], self)
        _draw_list(axes[2], self.lines, self.relation_colors)


def _stack_rows(rows: Sequence[_Row], titles: Sequence[str | None]) -> Figure:
    """A figure just large enough for the rows; panels of one kind share a column."""
    widths = [max(row.panels[i][0] for row in rows) for i in range(3)]
    lefts = [_MARGIN + sum(width + 2 * _MARGIN for width in widths[:i] if width) for i in range(3)]
    right = max(left + width for left, width in zip(lefts, widths, strict=True) if width)
    title_heights = [_TITLE_HEIGHT if title else 0.0 for title in titles]
    height = sum(row.height + _MARGIN for row in rows) + sum(title_heights) + _MARGIN
    canvas = _Canvas(right + _MARGIN, height)
    top = height - _MARGIN
    for row, title, title_height in zip(rows, titles, title_heights, strict=True):
        canvas.add_title(title or "", _MARGIN, top)
        top -= title_height
        # The graph is centred in its cell, image and list hang from the top.
        x_shifts = [0.0, (widths[1] - row.panels[1][0]) / 2, 0.0]
        y_shifts = [0.0, (row.height - row.panels[1][1]) / 2, 0.0]
        row.draw([canvas.add_panel(lefts[i] + x_shifts[i], top - y_shifts[i], row.panels[i]) for i in range(3)])
        top -= row.height + _MARGIN
    return canvas.figure


class _Canvas:
    """A figure measured in points, origin bottom left."""

    def __init__(self, width: float, height: float) -> None:
        self.size = np.array([width, height])
        self.figure = Figure(figsize=self.size / 72, dpi=100, facecolor="white")
        FigureCanvasAgg(self.figure)  # measures text; no backend is chosen for anybody else

    def add_title(self, title: str, x: float, top: float) -> None:
        self.figure.text(*((x, top) / self.size), title, fontsize=11, fontweight="bold", va="top", parse_math=False)

    def add_panel(self, x: float, top: float, size: tuple[float, float]) -> Axes:
        """Frameless axes whose data units are points."""
        width, height = max(size[0], 1.0), max(size[1], 1.0)
        axes = self.figure.add_axes((*((x, top - height) / self.size), *((width, height) / self.size)))
        axes.set(xlim=(0, width), ylim=(0, height))
        axes.set_axis_off()
        return axes


def _draw_image(axes: Axes, graph: SceneGraph, image: Any) -> None:
    height, width = graph.image_size
    pixels = np.full((height, width), 245, dtype=np.uint8) if image is None else np.asarray(image)
    if pixels.shape[:2] != (height, width):
        raise ValueError(
            f"The graph belongs to an image of shape ({height}, {width}[, 3]), got an image of shape {pixels.shape}."
        )
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0), aspect="auto")
    axes.set(xlim=(0, width), ylim=(height, 0))


def _draw_boxes(axes: Axes, boxes: Sequence[Sequence[float]], names: Sequence[str], colors: Sequence[str]) -> None:
    # Large boxes first: small ones, and their labels, stay visible on top.
    order = sorted(range(len(boxes)), key=lambda i: -_box_area(boxes[i]))
    outline = [Stroke(linewidth=3.4, foreground="white", alpha=0.8), Normal()]  # seen on dark and light images
    for i in order:
        x1, y1, x2, y2 = boxes[i]
        axes.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colors[i], linewidth=1.8, path_effects=outline)
        )
    placed: list[Bbox] = []
    for i in reversed(order):  # the smallest box has the fewest places for its label
        placed.append(_place_label(axes, boxes[i], names[i], colors[i], placed))


def _box_area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _place_label(axes: Axes, box: Sequence[float], name: str, color: str, placed: Sequence[Bbox]) -> Bbox:
    """Writes a name at the free place nearest to the top left corner of its box; returns the area in pixels."""
    size = _text_sizes([name], _SMALL_FONT_SIZE)[0] * axes.figure.dpi / 72
    area = _free_area(axes, box, size, placed)
    x, y = axes.transData.inverted().transform(((area.x0 + area.x1) / 2, (area.y0 + area.y1) / 2))
    axes.text(
        x, y, name, fontsize=_SMALL_FONT_SIZE, color=text_color(color), va="center", ha="center", parse_math=False,
        bbox={"boxstyle": "square,pad=0.15", "facecolor": color, "edgecolor": "none"}, zorder=5,
    )  # fmt: skip
    return area


def _free_area(axes: Axes, box: Sequence[float], size: np.ndarray, placed: Sequence[Bbox]) -> Bbox:
    """The candidate that covers least of the placed labels; earlier candidates win ties. Display pixels."""
    (left, top), (right, bottom) = axes.transData.transform([(box[0], box[1]), (box[2], box[3])])
    frame = axes.get_window_extent()
    width, height = size
    columns = [left, right - width, (left + right - width) / 2]
    rows = [top - height, top, bottom, bottom - height, *np.arange(top - 2 * height, bottom, -height)]
    if top - bottom < 4 * height:  # inside, the label would hide much of the object
        rows[:2] = rows[1::-1]
    best, least = None, np.inf
    for y in rows:
        for x in columns:
            x0 = np.clip(x, frame.x0, max(frame.x1 - width, frame.x0))
            y0 = np.clip(y, frame.y0, max(frame.y1 - height, frame.y0))
            area = Bbox.from_bounds(x0, y0, width, height)
            covered = sum(_overlap(area, other) for other in placed)
            if covered < least:
                best, least = area, covered
            if least == 0:
                return best
    return best


def _overlap(a: Bbox, b: Bbox) -> float:
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return width * height if width > 0 and height > 0 else 0.0


def _draw_graph(axes: Axes, row: _Row) -> None:
    for i, (subject, object_, _) in enumerate(row.graph.relations.tolist()):
        _draw_arrow(axes, row.layout, row.name_sizes, (subject, object_, i), row.relation_colors[i])
        axes.text(
            *row.layout.relations[i], row.predicates[i], fontsize=_SMALL_FONT_SIZE, color=row.relation_colors[i],
            ha="center", va="center", parse_math=False, zorder=3,
            bbox={"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none"},
        )  # fmt: skip
    for center, name, color in zip(row.layout.objects, row.names, row.object_colors, strict=True):
        axes.text(
            *center, name, fontsize=_FONT_SIZE, color=text_color(color), ha="center", va="center", parse_math=False,
            bbox={"boxstyle": "round,pad=0.3", "facecolor": color, "edgecolor": "none"}, zorder=4,
        )  # fmt: skip


def _draw_arrow(axes: Axes, layout: GraphLayout, sizes: np.ndarray, ends: tuple[int, int, int], color: str) -> None:
    """A curve subject -> predicate label -> object that starts and ends at the edge of the nodes."""
    subject, object_, relation = ends
    middle = layout.relations[relation]
    start = _leave(layout.objects[subject], sizes[subject], middle)
    stop = _leave(layout.objects[object_], sizes[object_], middle)
    control = 2 * middle - (start + stop) / 2  # the curve passes the label half way
    path = CurvePath([start, control, stop], [CurvePath.MOVETO, CurvePath.CURVE3, CurvePath.CURVE3])
    axes.add_patch(
        FancyArrowPatch(
            path=path, arrowstyle="-|>", mutation_scale=9, linewidth=1.2, color=color,
            linestyle="--" if color == MISS_COLOR else "-", zorder=2,
        )
    )  # fmt: skip


def _leave(center: np.ndarray, size: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Where the line from the centre of a rectangle to `target` crosses its edge."""
    direction = target - center
    with np.errstate(divide="ignore"):
        steps = (size / 2) / np.abs(direction)
    return center + direction * min(1.0, float(steps.min()))


def _draw_list(axes: Axes, lines: Sequence[str], colors: Sequence[str]) -> None:
    top = axes.get_ylim()[1]
    for i, (line, color) in enumerate(zip(lines, colors, strict=False)):
        y = top - i * _LINE_HEIGHT
        axes.text(0, y, line, fontsize=_SMALL_FONT_SIZE, color=color, va="top", ha="left", parse_math=False)


def _score_texts(graph: SceneGraph, show_scores: bool) -> list[str]:
    return [f" {score:.2f}" if show_scores else "" for score in graph.relation_scores.tolist()]


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


def _text_sizes(texts: Sequence[str], font_size: float) -> np.ndarray:
    """Width and height of texts with their padding, `(n, 2)` in points."""
    renderer = FigureCanvasAgg(Figure(dpi=72)).get_renderer()  # one pixel is one point
    font = FontProperties(size=font_size)
    sizes = [renderer.get_text_width_height_descent(text, font, ismath=False)[:2] for text in texts]
    return np.array(sizes, dtype=float).reshape(-1, 2) + 2 * _TEXT_PADDING
