# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Scene graphs as panels of a figure: image with boxes, graph, list of relations.

All sizes are in points (1/72 inch). Figures are made without pyplot: no global state and no backend is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path as CurvePath
from matplotlib.patheffects import Normal, Stroke
from PIL import Image

from ..models.speaq.scene_graph_text_speaq import one_line
from ..scene_graph import SceneGraph
from .graph_layout import GraphLayout, layout_scene_graph
from .label_placement import box_areas, gaps, place_labels
from .object_marks import luminance, numbered_names, text_color


HIT_COLOR, MISS_COLOR = "#1a7f37", "#c62828"
_FONT_SIZE, _SMALL_FONT_SIZE = 9.0, 8.0
_TEXT_PADDING = 3.0
_MARGIN, _TITLE_HEIGHT, _LINE_HEIGHT = 12.0, 20.0, 13.0
IMAGE_SIDE, SMALL_IMAGE_SIDE = 420.0, 300.0
_MOST_PIXELS = 1500  # of a side; larger images are halved, or more, before they are drawn
_EMPTY_PIXEL = np.full((1, 1), 245, dtype=np.uint8)
_MOST_LETTERS = 48


class GraphRow:
    """One graph as a row of panels: image with boxes, graph, and on request the list of its relations."""

    def __init__(
        self,
        graph: SceneGraph,
        image: Any,
        object_colors: Sequence[str],
        relation_colors: Sequence[str],
        show_scores: bool,
        image_side: float = IMAGE_SIDE,
        with_list: bool = False,
    ) -> None:
        self.graph, self.image = graph, image
        self.object_colors, self.relation_colors = object_colors, relation_colors
        self.names = [_shortened(name) for name in numbered_names(graph)]
        self.scores = _score_texts(graph, show_scores)
        self.predicates = [
            _shortened(one_line(graph.id2predicate[predicate])) + score
            for predicate, score in zip(graph.relations[:, 2].tolist(), self.scores, strict=True)
        ]
        self.lines = self._list_lines() if with_list else []
        self.name_sizes = _text_sizes(self.names, _FONT_SIZE)
        self.layout = layout_scene_graph(
            graph.relations.numpy(), self.name_sizes, _text_sizes(self.predicates, _SMALL_FONT_SIZE)
        )
        self.label_sizes = _text_sizes(self.names, _SMALL_FONT_SIZE)
        self.image_scale = image_side / max(graph.image_size)  # points per pixel
        self.image_extent = np.array(graph.image_size[::-1]) * self.image_scale  # width, height
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
        list_width = max(_text_sizes(self.lines, _SMALL_FONT_SIZE)[:, 0], default=0.0)
        image_panel = self.image_extent
        if len(self.names):  # names need room beside narrow images
            image_panel = np.maximum(image_panel, np.maximum(self.label_sizes.max(axis=0), image_side / 4))
        return [tuple(image_panel), self.layout.size, (list_width, len(self.lines) * _LINE_HEIGHT)]

    def draw(self, axes: Sequence[Axes]) -> None:
        """Draws into axes whose data units are points; those of the image become pixels, y pointing down."""
        width, height = self.panels[0]
        x, y = (np.array([width, height]) - self.image_extent) / 2
        axes[0].set(
            xlim=(-x / self.image_scale, (width - x) / self.image_scale),
            ylim=((height - y) / self.image_scale, -y / self.image_scale),
        )
        _draw_image(axes[0], self.graph, self.image)
        _draw_boxes(axes[0], self)
        _draw_graph(axes[1], self)
        _draw_list(axes[2], self.lines, self.relation_colors)


def stack_rows(rows: Sequence[GraphRow], titles: Sequence[str | None]) -> Figure:
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
    pixels = _EMPTY_PIXEL if image is None else _pixels(image, (height, width))
    limits = {"xlim": axes.get_xlim(), "ylim": axes.get_ylim()}
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0), aspect="auto")
    axes.set(**limits)


def _pixels(image: Any, size: tuple[int, int]) -> np.ndarray:
    """The image as `(H, W)` or `(H, W, c)`, smaller where it has more pixels than anybody sees."""
    shape = (image.height, image.width) if isinstance(image, Image.Image) else np.shape(image)
    if shape[:2] != size:
        raise ValueError(
            f"The graph belongs to an image of shape ({size[0]}, {size[1]}[, 3]), got an image of shape {shape}."
        )
    factor = max(size) // _MOST_PIXELS
    return np.asarray(image.reduce(factor) if isinstance(image, Image.Image) and factor > 1 else image)


def _draw_boxes(axes: Axes, row: GraphRow) -> None:
    boxes, colors = row.graph.boxes.numpy(), row.object_colors
    outline = [Stroke(linewidth=3.4, foreground="white", alpha=0.8), Normal()]  # seen on dark and light images
    # Large boxes first: small ones stay visible on top.
    for i in np.argsort(-box_areas(boxes), kind="stable"):
        (x1, y1, x2, y2), color = boxes[i], colors[i]
        axes.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, linewidth=1.8, path_effects=outline)
        )
    points = boxes * row.image_scale
    labels = place_labels(points, row.label_sizes, _frame(axes, row.image_scale))
    for name, color, box, area in zip(row.names, colors, points, labels, strict=True):
        is_apart = gaps(area[None], box)[0] > 1
        _draw_label(axes, name, color, box / row.image_scale, area / row.image_scale, is_apart)


def _frame(axes: Axes, scale: float) -> list[float]:
    """(x1, y1, x2, y2) of the panel in points from the image's top left corner."""
    (x1, x2), (y2, y1) = axes.get_xlim(), axes.get_ylim()
    return [x1 * scale, y1 * scale, x2 * scale, y2 * scale]


def _draw_label(axes: Axes, name: str, color: str, box: np.ndarray, area: np.ndarray, is_apart: bool) -> None:
    center = (area[:2] + area[2:]) / 2
    if is_apart:  # a line leads to the box
        end = np.clip(center, box[:2], box[2:])
        axes.plot(*zip(center, end, strict=True), color=color, linewidth=1.0, zorder=4)
    axes.text(
        *center, name, fontsize=_SMALL_FONT_SIZE, color=text_color(color), va="center", ha="center", parse_math=False,
        bbox={"boxstyle": "square,pad=0.15", "facecolor": color, "edgecolor": "none"}, zorder=5,
    )  # fmt: skip


def _draw_graph(axes: Axes, row: GraphRow) -> None:
    for i, (subject, object_, _) in enumerate(row.graph.relations.tolist()):
        _draw_arrow(axes, row.layout, row.name_sizes, (subject, object_, i), row.relation_colors[i])
        axes.text(
            *row.layout.relations[i], row.predicates[i], fontsize=_SMALL_FONT_SIZE, color=_darkened(row.relation_colors[i]),
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


def _shortened(name: str) -> str:
    """A name that fits, with its end, where the number is."""
    return name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 13].rstrip()}\u2026{name[-12:]}"


def _score_texts(graph: SceneGraph, show_scores: bool) -> list[str]:
    return [f" {score:.2f}" if show_scores else "" for score in graph.relation_scores.tolist()]


def _text_sizes(texts: Sequence[str], font_size: float) -> np.ndarray:
    """Width and height of texts with their padding, `(n, 2)` in points."""
    renderer = FigureCanvasAgg(Figure(dpi=72)).get_renderer()  # one pixel is one point
    font = FontProperties(size=font_size)
    sizes = [renderer.get_text_width_height_descent(text, font, ismath=False)[:2] for text in texts]
    return np.array(sizes, dtype=float).reshape(-1, 2) + 2 * _TEXT_PADDING


def _darkened(color: str) -> str:
    """The colour itself, or a darker shade that can be read on white."""
    red_green_blue = np.array(to_rgb(color))
    while luminance(to_hex(red_green_blue)) > 0.2:
        red_green_blue *= 0.9
    return to_hex(red_green_blue)
