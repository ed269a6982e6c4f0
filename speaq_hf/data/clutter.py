# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Things in the background that nobody annotates: stones, tufts, leaves, stains and cracks.

None has the outline of an object class, and all lie behind the objects.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from .drawing import Colour, Point, hsv, shade


COUNT = (4, 16)

Painter = Callable[[np.random.Generator, ImageDraw.ImageDraw, Point, float, Colour], None]


def _outline(rng: np.random.Generator, centre: Point, radii: Point) -> list[Point]:
    """An irregular closed curve about a centre."""
    angles = np.linspace(0, 2 * np.pi, 11, endpoint=False)
    lengths = rng.uniform(0.65, 1.1, len(angles))
    xs, ys = centre[0] + radii[0] * lengths * np.cos(angles), centre[1] + radii[1] * lengths * np.sin(angles)
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def _stone(rng: np.random.Generator, draw: ImageDraw.ImageDraw, centre: Point, size: float, colour: Colour) -> None:
    points = _outline(rng, centre, (size, 0.6 * size))
    draw.polygon(points, fill=shade(colour, 0.7))
    draw.polygon([(0.8 * x + 0.2 * centre[0], 0.75 * y + 0.25 * (centre[1] - 0.4 * size)) for x, y in points], colour)


def _tuft(rng: np.random.Generator, draw: ImageDraw.ImageDraw, centre: Point, size: float, colour: Colour) -> None:
    for lean, length in rng.uniform((-0.7, 0.5), (0.7, 1.2), (7, 2)).tolist():
        tip = (centre[0] + lean * size, centre[1] - length * size)
        draw.line([centre, tip], fill=shade(colour, 0.7 + 0.4 * length), width=max(1, round(0.1 * size)))


def _patch(rng: np.random.Generator, draw: ImageDraw.ImageDraw, centre: Point, size: float, colour: Colour) -> None:
    draw.polygon(_outline(rng, centre, (2.2 * size, 0.5 * size)), fill=colour)


def _leaves(rng: np.random.Generator, draw: ImageDraw.ImageDraw, centre: Point, size: float, colour: Colour) -> None:
    half = max(1.0, 0.13 * size)
    for x, y, light in rng.uniform((-2, -0.5, 0.6), (2, 0.5, 1.3), (9, 3)).tolist():
        x, y = centre[0] + x * size, centre[1] + y * size
        draw.polygon([(x - 1.6 * half, y), (x, y - half), (x + 1.6 * half, y), (x, y + half)], shade(colour, light))


def _crack(rng: np.random.Generator, draw: ImageDraw.ImageDraw, centre: Point, size: float, colour: Colour) -> None:
    steps = rng.uniform((-0.2, -0.8), (0.9, 0.8), (6, 2)).cumsum(axis=0) * size
    points = [(centre[0] + x, centre[1] + y) for x, y in steps.tolist()]
    draw.line(points, fill=shade(colour, 0.6), width=max(1, round(0.06 * size)))


# What lies on the ground of a setting; what is on the wall of a room.
_ON_GROUND: dict[str, tuple[Painter, ...]] = {
    "room": (_patch, _crack, _leaves),
    "grass": (_stone, _tuft, _leaves, _patch),
    "snow": (_stone, _patch, _tuft),
    "beach": (_stone, _leaves, _patch, _crack),
    "street": (_stone, _leaves, _patch, _tuft, _crack),
}
_ON_WALL = (_patch, _crack)


def paint_clutter(rng: np.random.Generator, image: Image.Image, setting: str, horizon: float) -> None:
    """Strews things over a background.

    Args:
        rng: Source of every choice.
        image: RGB background.
        setting: Key of `World.settings`.
        horizon: Share of the picture's height above the ground, in (0, 1).
    """
    draw, (width, height) = ImageDraw.Draw(image), image.size
    for _ in range(rng.integers(*COUNT, endpoint=True)):
        on_wall = setting == "room" and rng.random() < 0.4
        top, bottom = (0.05, 0.85 * horizon) if on_wall else (0.7 * horizon + 0.3, 1.0)
        centre = rng.uniform(0, width), rng.uniform(top, bottom) * height
        painters = _ON_WALL if on_wall else _ON_GROUND[setting]
        beneath = image.getpixel((min(int(centre[0]), width - 1), min(int(centre[1]), height - 1)))
        colour = shade(beneath, rng.uniform(0.6, 1.25)) if on_wall or rng.random() < 0.7 else _litter(rng)
        size = rng.uniform(0.015, 0.055) * min(width, height)
        painters[rng.integers(len(painters))](rng, draw, centre, size, colour)


def _litter(rng: np.random.Generator) -> Colour:
    return hsv(rng.uniform(0, 360), rng.uniform(0.1, 0.6), rng.uniform(0.3, 0.9))
