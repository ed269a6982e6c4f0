# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Frames of a video with boxes and a list of relations, drawn with Pillow: fast enough for every frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from ..scene_graph import SceneGraph
from .class_colors import Color, class_color, text_color
from .readable_text import object_names
from .shown_graph import shown_graph


_LEAST_SIDE, _LARGEST_SIDE = 360, 1280  # pixels of a drawn frame: text must be readable and drawing fast
_WIDE = 1.2  # width / height above which the list is below the frame, not beside it
_ROWS_BELOW = 5
_COLUMN_WIDTH = 21  # heights of a letter
_PANEL_COLOR, _TEXT_COLOR, _FAINT_COLOR = (22, 24, 29), (235, 237, 240), (150, 156, 166)
_FONTS = ("DejaVuSans.ttf", "Arial.ttf", "Helvetica.ttc")

_Area = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Layout:
    """Sizes in pixels of everything that is the same in all frames."""

    frame: tuple[int, int]  # width, height as drawn
    canvas: tuple[int, int]
    font_size: int
    panel: tuple[int, int]  # left, top
    columns: int
    rows: int

    @property
    def row_height(self) -> int:
        return round(1.9 * self.font_size)


class FrameArtist:
    """Draws the frames of one video, all of the same size.

    Args:
        frame_size: (width, height) of its frames in pixels, at least 1.
        max_relations: Most relations of a frame.
        min_score: Lowest relation score drawn, in [0, 1].
    """

    def __init__(self, frame_size: tuple[int, int], max_relations: int = 10, min_score: float = 0.05) -> None:
        self._layout = _layout(frame_size)
        self._font = _font(self._layout.font_size)
        self._min_score = min_score
        self._max_relations = min(max_relations, self._layout.rows * self._layout.columns)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of a drawn frame: even numbers, as H.264 demands."""
        return self._layout.canvas

    def draw(self, image: Image.Image, graph: SceneGraph, caption: str = "") -> Image.Image:
        """Draws a frame.

        Args:
            image: The frame, of whatever size: a video may change it.
            graph: Its graph.
            caption: What stands above the list, for example the time.

        Returns:
            The picture, of `size`.
        """
        shown = shown_graph(graph, self._max_relations, self._min_score)
        names = object_names(shown, list(range(len(shown.boxes))))
        canvas = Image.new("RGB", self._layout.canvas, _PANEL_COLOR)
        if image.size != self._layout.frame:
            image = image.resize(self._layout.frame, Image.Resampling.BILINEAR, reducing_gap=2.0)
        canvas.paste(image)
        draw = ImageDraw.Draw(canvas)
        self._draw_boxes(draw, shown, names)
        self._draw_list(draw, shown, names, caption)
        return canvas

    def _draw_boxes(self, draw: ImageDraw.ImageDraw, graph: SceneGraph, names: dict[int, str]) -> None:
        height, width = graph.image_size
        scale = self._layout.frame[0] / width, self._layout.frame[1] / height
        boxes = [self._on_frame(box, scale) for box in graph.boxes.tolist()]
        colors = [class_color(label) for label in graph.labels.tolist()]
        order = sorted(range(len(boxes)), key=lambda row: -_area(boxes[row]))
        line = max(3, self._layout.font_size // 5)
        for row in order:  # large boxes first: small ones stay visible
            draw.rectangle(_grown(boxes[row], 1), outline=(0, 0, 0), width=line + 2)
            draw.rectangle(boxes[row], outline=colors[row], width=line)
        placed: list[_Area] = []
        for row in reversed(order):  # the smallest box has the fewest places for its name
            placed.append(self._draw_name(draw, boxes[row], names[row], colors[row], placed))

    def _on_frame(self, box: list[float], scale: tuple[float, float]) -> _Area:
        """A box in pixels of the drawn frame, without what lies outside."""
        width, height = self._layout.frame
        x1, x2 = (min(max(x * scale[0], 0), width - 1) for x in box[::2])
        y1, y2 = (min(max(y * scale[1], 0), height - 1) for y in box[1::2])
        return x1, y1, max(x1, x2), max(y1, y2)

    def _draw_name(self, draw: ImageDraw.ImageDraw, box: _Area, name: str, color: Color, placed: list[_Area]) -> _Area:
        """Writes a name where it covers least of the names before; returns its area."""
        width, height = _text_width(self._font, name) + 8, round(1.35 * self._layout.font_size)
        places = [
            self._inside_frame(x, y, width, height)
            for y in (box[1] - height, box[1], box[3], box[3] - height)
            for x in (box[0], box[2] - width, (box[0] + box[2] - width) / 2)
        ]
        area = min(places, key=lambda place: sum(_overlap(place, other) for other in placed))
        draw.rectangle(area, fill=color)
        draw.text((area[0] + 4, (area[1] + area[3]) / 2), name, text_color(color), self._font, anchor="lm")
        return area

    def _inside_frame(self, x: float, y: float, width: float, height: float) -> _Area:
        x = max(0.0, min(x, self._layout.frame[0] - width))
        y = max(0.0, min(y, self._layout.frame[1] - height))
        return x, y, x + width, y + height

    def _draw_list(self, draw: ImageDraw.ImageDraw, graph: SceneGraph, names: dict[int, str], caption: str) -> None:
        layout = self._layout
        left, top = layout.panel
        margin = layout.font_size * 0.8
        middle = layout.row_height / 2 + margin / 2
        draw.text((left + margin, top + middle), caption, _FAINT_COLOR, self._font, anchor="lm")
        if not len(graph):
            nothing = f"no relation scores {self._min_score:g} or more"
            draw.text(
                (left + margin, top + middle + layout.row_height), nothing, _FAINT_COLOR, self._font, anchor="lm"
            )
        column_width = (layout.canvas[0] - left) / layout.columns
        rows = zip(graph.relations.tolist(), graph.relation_scores.tolist(), strict=True)
        for number, ((subject, object_, predicate), score) in enumerate(rows):
            column, row = divmod(number, layout.rows)
            x = left + margin + column * column_width
            y = top + middle + (row + 1) * layout.row_height
            end = left + (column + 1) * column_width - margin / 2
            draw.text((x, y), f"{score:.2f}", _FAINT_COLOR, self._font, anchor="lm")
            x += 2.6 * layout.font_size
            x = self._draw_chip(draw, x, y, end, names[subject], class_color(graph.labels[subject].item()))
            x = self._draw_word(draw, x, y, end, graph.id2predicate[predicate])
            self._draw_chip(draw, x, y, end, names[object_], class_color(graph.labels[object_].item()))

    def _draw_chip(self, draw: ImageDraw.ImageDraw, x: float, y: float, end: float, name: str, color: Color) -> float:
        """Writes an object's name on its colour; returns where the next word begins."""
        gap, half = self._layout.font_size * 0.4, self._layout.font_size * 0.75
        name = _shortened(self._font, name, end - x - 2 * gap)
        if not name:
            return end
        right = x + _text_width(self._font, name) + 2 * gap
        draw.rounded_rectangle((x, y - half, right, y + half), radius=half / 2, fill=color)
        draw.text((x + gap, y), name, text_color(color), self._font, anchor="lm")
        return right + gap

    def _draw_word(self, draw: ImageDraw.ImageDraw, x: float, y: float, end: float, word: str) -> float:
        word = _shortened(self._font, word, end - x)
        draw.text((x, y), word, _TEXT_COLOR, self._font, anchor="lm")
        return x + _text_width(self._font, word) + self._layout.font_size * 0.4


def _layout(frame_size: tuple[int, int]) -> _Layout:
    width, height = frame_size
    scale = min(max(1.0, _LEAST_SIDE / min(width, height)), _LARGEST_SIDE / max(width, height))
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    font_size = max(13, min(round(min(width, height) / 26), 32))
    column = _COLUMN_WIDTH * font_size
    row_height = round(1.9 * font_size)
    if width > _WIDE * height:
        canvas = (_even(max(width, column)), _even(height + (_ROWS_BELOW + 1) * row_height + font_size))
        return _Layout((width, height), canvas, font_size, (0, height), max(1, canvas[0] // column), _ROWS_BELOW)
    canvas = (_even(width + column), _even(max(height, 3 * row_height)))
    return _Layout((width, height), canvas, font_size, (width, 0), 1, canvas[1] // row_height - 1)


def _even(pixels: int) -> int:
    return pixels + pixels % 2


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font with many letters if the system has one, else Pillow's own."""
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


@lru_cache(maxsize=4096)
def _text_width(font: ImageFont.FreeTypeFont, text: str) -> float:
    return font.getlength(text)


@lru_cache(maxsize=4096)
def _shortened(font: ImageFont.FreeTypeFont, text: str, width: float) -> str:
    """The text, cut where it is wider than allowed."""
    if _text_width(font, text) <= width:
        return text
    while text and _text_width(font, text + "…") > width:
        text = text[:-1]
    return text + "…" if text else ""


def _area(box: _Area) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _grown(box: _Area, pixels: float) -> _Area:
    return box[0] - pixels, box[1] - pixels, box[2] + pixels, box[3] + pixels


def _overlap(a: _Area, b: _Area) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0
