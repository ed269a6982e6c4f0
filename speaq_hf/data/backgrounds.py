# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Flat backgrounds of the synthetic scenes: one drawing function per setting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from .drawing import Colour, hsv, shade


def _gradient(size: tuple[int, int], bands: list[tuple[float, Colour]]) -> Image.Image:
    """Rows interpolated between (height in [0, 1], colour) stops."""
    rows = np.linspace(0, 1, size[1])
    stops = [height for height, _ in bands]
    channels = [np.interp(rows, stops, [colour[c] for _, colour in bands]) for c in range(3)]
    column = np.stack(channels, axis=-1)[:, None].astype(np.uint8)
    return Image.fromarray(column).resize(size, Image.Resampling.NEAREST)


def _sky_and_ground(
    rng: np.random.Generator, size: tuple[int, int], sky: Colour, ground: Colour, horizon: float
) -> Image.Image:
    light, dark = shade(sky, 1.25), shade(ground, rng.uniform(0.75, 0.9))
    return _gradient(size, [(0, sky), (horizon, light), (horizon + 1e-3, dark), (1, ground)])


def _sky(rng: np.random.Generator) -> Colour:
    if rng.random() < 0.75:
        return hsv(rng.normal(207, 8), rng.uniform(0.25, 0.55), rng.uniform(0.75, 0.95))
    return hsv(rng.uniform(0, 50), rng.uniform(0.15, 0.4), rng.uniform(0.7, 0.95))


def _clouds(rng: np.random.Generator, draw: ImageDraw.ImageDraw, size: tuple[int, int], horizon: float) -> None:
    width, height = size
    for _ in range(rng.integers(0, 4)):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, 0.6 * horizon) * height, rng.uniform(0.05, 0.12) * height
        for shift in (-1.0, 0.0, 1.0):
            left, top = x + shift * radius - radius, y - radius * (0.5 if shift else 0.7)
            draw.ellipse((left, top, left + 2 * radius, top + radius), fill=(238, 242, 246))


def _room(rng: np.random.Generator, size: tuple[int, int], horizon: float) -> Image.Image:
    wall = hsv(rng.uniform(0, 360), rng.uniform(0.05, 0.3), rng.uniform(0.6, 0.9))
    floor = hsv(rng.normal(30, 12), rng.uniform(0.15, 0.5), rng.uniform(0.4, 0.75))
    image = _gradient(size, [(0, shade(wall, 0.85)), (horizon, wall), (horizon + 1e-3, shade(floor, 0.8)), (1, floor)])
    draw, (width, height) = ImageDraw.Draw(image), size
    if rng.random() < 0.5:
        step = rng.uniform(0.08, 0.2) * width
        for x in np.arange(rng.uniform(0, step), width, step).tolist():
            draw.rectangle((x, 0, x + step / 3, horizon * height), fill=shade(wall, 0.93))
    draw.rectangle((0, horizon * height, width, (horizon + 0.02) * height), fill=shade(wall, 0.6))
    for share in (0.25, 0.55, 0.85):
        y = (horizon + (1 - horizon) * share) * height
        draw.line((0, y, width, y), fill=shade(floor, 0.75), width=2)
    return image


def _grass(rng: np.random.Generator, size: tuple[int, int], horizon: float) -> Image.Image:
    ground = hsv(rng.normal(95, 12), rng.uniform(0.35, 0.65), rng.uniform(0.5, 0.75))
    image = _sky_and_ground(rng, size, _sky(rng), ground, horizon)
    draw = ImageDraw.Draw(image)
    _clouds(rng, draw, size, horizon)
    _hills(rng, draw, size, horizon, shade(ground, 0.75))
    return image


def _hills(rng: np.random.Generator, draw: ImageDraw.ImageDraw, size: tuple[int, int], horizon: float, colour: Colour):
    width, height = size
    for _ in range(rng.integers(0, 3)):
        middle, half, peak = rng.uniform(0, width), rng.uniform(0.2, 0.6) * width, rng.uniform(0.04, 0.12) * height
        base = horizon * height
        draw.chord((middle - half, base - peak, middle + half, base + peak), 180, 360, fill=colour)


def _snow(rng: np.random.Generator, size: tuple[int, int], horizon: float) -> Image.Image:
    ground = hsv(210, rng.uniform(0.02, 0.1), rng.uniform(0.86, 0.96))
    image = _sky_and_ground(rng, size, hsv(210, rng.uniform(0.1, 0.3), rng.uniform(0.6, 0.8)), ground, horizon)
    draw = ImageDraw.Draw(image)
    _hills(rng, draw, size, horizon, shade(ground, 0.9))
    return image


def _beach(rng: np.random.Generator, size: tuple[int, int], horizon: float) -> Image.Image:
    sand = hsv(rng.normal(42, 5), rng.uniform(0.3, 0.5), rng.uniform(0.8, 0.95))
    sea = hsv(rng.normal(200, 10), rng.uniform(0.4, 0.7), rng.uniform(0.5, 0.75))
    shore, sky = horizon + 0.08, _sky(rng)
    stops = [(0, sky), (horizon - 0.04, shade(sky, 1.2)), (horizon - 0.039, shade(sea, 0.8)), (shore, sea)]
    image = _gradient(size, [*stops, (shore + 1e-3, shade(sand, 0.9)), (1, sand)])
    draw = ImageDraw.Draw(image)
    _clouds(rng, draw, size, horizon)
    draw.line((0, shore * size[1], size[0], shore * size[1]), fill=(245, 250, 250), width=3)
    return image


BACKGROUNDS: dict[str, Callable[[np.random.Generator, tuple[int, int], float], Image.Image]] = {
    "room": _room,
    "grass": _grass,
    "snow": _snow,
    "beach": _beach,
    "street": _grass,
}
