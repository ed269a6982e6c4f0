# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Flat-coloured figures made of polygons: the drawing kit behind the synthetic scenes.

A figure lives in its own coordinates (x to the right, y down, any origin) until it is painted. Everything is a polygon,
so its extent is known without rendering: that is what makes annotated boxes exact.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from PIL import ImageDraw


Point = tuple[float, float]
Colour = tuple[int, int, int]
Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Pose:
    """All that decides a figure's outline; colours are drawn separately and do not change it.

    Attributes:
        body: "stand", "walk", "sit", "ride", "lie", "fly" or "hang"; a class ignores those it does not know.
        arms: "down", "hold" (one hand out) or "carry" (both up), for people.
        build: Proportions, in [0, 1]; of few distinct values, so that outlines can be cached.
        tilt: Degrees, for things in the air; of few distinct values too.
    """

    body: str = "stand"
    arms: str = "down"
    build: float = 0.5
    tilt: float = 0.0


@dataclass(frozen=True)
class Part:
    """One filled polygon; `back` parts are painted before anything the figure contains."""

    points: list[Point]
    colour: Colour
    back: bool = False


@dataclass
class Figure:
    """Polygons in painting order and the named points at which other figures touch this one."""

    parts: list[Part] = field(default_factory=list)
    joints: dict[str, Point] = field(default_factory=dict)

    @cached_property
    def bounds(self) -> Bounds:
        """Extent of all polygons, to be asked for once the figure is complete: (left, top, right, bottom)."""
        points = [point for part in self.parts for point in part.points]
        xs, ys = zip(*points, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def back_parts(self) -> list[Part]:
        """What lies behind the figure's contents."""
        return [part for part in self.parts if part.back]

    @property
    def front_parts(self) -> list[Part]:
        """What lies in front of the figure's contents."""
        return [part for part in self.parts if not part.back]

    def polygon(self, points: Iterable[Point], colour: Colour, back: bool = False) -> None:
        """Adds a filled polygon."""
        self.parts.append(Part(list(points), colour, back))

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour, back: bool = False):
        """Adds an upright rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour, back)

    def ellipse(self, centre: Point, radii: Point, colour: Colour, angle: float = 0.0, back: bool = False) -> None:
        """Adds an ellipse turned by `angle` degrees (clockwise on the screen)."""
        (x, y), (rx, ry) = centre, radii
        if angle:
            cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            points = [(x + rx * u * cos - ry * v * sin, y + rx * u * sin + ry * v * cos) for u, v in CIRCLE]
        else:
            points = [(x + rx * u, y + ry * v) for u, v in CIRCLE]
        self.polygon(points, colour, back)

    def limb(self, start: Point, end: Point, width: float, colour: Colour, back: bool = False) -> None:
        """Adds a straight bar of the given width from `start` to `end`."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy)
        ox, oy = -dy / length * width / 2, dx / length * width / 2
        corners = [(start[0] + ox, start[1] + oy), (end[0] + ox, end[1] + oy)]
        corners += [(end[0] - ox, end[1] - oy), (start[0] - ox, start[1] - oy)]
        self.polygon(corners, colour, back)

    def path(self, points: list[Point], width: float, colour: Colour, back: bool = False) -> None:
        """Adds bars along a chain of points."""
        for start, end in zip(points[:-1], points[1:], strict=True):
            self.limb(start, end, width, colour, back)

    def ring(self, centre: Point, radius: float, width: float, colour: Colour) -> None:
        """Adds a circular ring; what lies inside stays visible."""
        inner = (radius - width, radius - width)
        self.polygon(arc(centre, (radius, radius), 0, 360, 16) + arc(centre, inner, 360, 0, 16), colour)

    def mirrored(self) -> Figure:
        """The figure facing the other way."""
        return self._mapped(lambda x, y: (-x, y))

    def turned(self, angle: float) -> Figure:
        """The figure turned by `angle` degrees (clockwise on the screen) about its origin."""
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        return self._mapped(lambda x, y: (x * cos - y * sin, x * sin + y * cos))

    def moved(self, dx: float, dy: float) -> Figure:
        """The figure shifted by (dx, dy)."""
        return self._mapped(lambda x, y: (x + dx, y + dy))

    def _mapped(self, move: Callable[[float, float], Point]) -> Figure:
        parts = [Part([move(x, y) for x, y in part.points], part.colour, part.back) for part in self.parts]
        return Figure(parts, {name: move(x, y) for name, (x, y) in self.joints.items()})


CIRCLE = [(math.cos(step * math.pi / 8), math.sin(step * math.pi / 8)) for step in range(16)]


def arc(centre: Point, radii: Point, start: float, stop: float, steps: int = 12) -> list[Point]:
    """Points on an ellipse from `start` to `stop` degrees (0 = right, 90 = down)."""
    phases = [math.radians(start + (stop - start) * step / steps) for step in range(steps + 1)]
    return [(centre[0] + radii[0] * math.cos(phase), centre[1] + radii[1] * math.sin(phase)) for phase in phases]


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """RGB (0 to 255) of a colour given as hue in degrees and saturation and value in [0, 1]."""
    red, green, blue = colorsys.hsv_to_rgb(hue / 360 % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return round(red * 255), round(green * 255), round(blue * 255)


def shade(colour: Colour, factor: float) -> Colour:
    """The colour darker (factor < 1) or lighter (factor > 1)."""
    red, green, blue = colour
    return min(255, int(red * factor)), min(255, int(green * factor)), min(255, int(blue * factor))


def usual_colour(
    rng: np.random.Generator, hue: float, saturation: float = 0.65, value: float = 0.75, faithful: float = 0.7
) -> Colour:
    """A class's usual colour with jitter in `faithful` of all cases, any colour otherwise.

    Colour then helps to recognise a class but never suffices.
    """
    if rng.random() >= faithful:
        return hsv(rng.uniform(0, 360), rng.uniform(0.15, 0.9), rng.uniform(0.3, 0.95))
    return hsv(hue + rng.normal(0, 10), saturation + rng.normal(0, 0.08), value + rng.normal(0, 0.08))


def paint(draw: ImageDraw.ImageDraw, parts: Iterable[Part], bounds: Bounds, box: tuple[int, int, int, int]) -> None:
    """Paints parts so that the figure with these bounds exactly fills a box of whole pixels.

    Args:
        draw: Canvas.
        parts: Some or all of the figure's parts.
        bounds: Extent of the whole figure in its own coordinates.
        box: (x1, y1, x2, y2) on the canvas, x2 and y2 exclusive. The figure touches all four sides: a pixel of the
            first and last column and row is painted.
    """
    left, top, right, bottom = bounds
    scale_x, scale_y = (box[2] - 1 - box[0]) / (right - left), (box[3] - 1 - box[1]) / (bottom - top)
    offset_x, offset_y = box[0] - left * scale_x + 0.5, box[1] - top * scale_y + 0.5
    for part in parts:
        # Whole pixels: the rasteriser then paints every corner, so that thin tips reach the side of the box too.
        points = [(int(x * scale_x + offset_x), int(y * scale_y + offset_y)) for x, y in part.points]
        draw.polygon(points, fill=part.colour)
