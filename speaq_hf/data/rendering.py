# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Pictures of synthetic scenes: background, objects in depth order, anti-aliasing, sensor noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter
from scipy.special import ndtri

from .drawing import Colour, hsv, paint, shade
from .scene_objects import Scene, SceneObject


SUPERSAMPLING = 2
STRING_COLOUR = (60, 56, 52)

PixelBox = tuple[int, int, int, int]


@dataclass(frozen=True)
class Style:
    """Look of a whole set; two styles make two domains of the same world.

    Attributes:
        noise: Standard deviation of the pixel noise, grey levels.
        blur: Radius of the blur in thousandths of the shorter side.
        saturation: Factor on the colours' saturation.
        brightness: Range of the factor on the brightness.
    """

    noise: float = 3.0
    blur: float = 0.0
    saturation: float = 1.0
    brightness: tuple[float, float] = (0.9, 1.1)


STYLES: dict[str, Style] = {
    "clean": Style(),
    "photo": Style(noise=7.0, blur=2.5, saturation=0.7, brightness=(0.7, 1.2)),
    "night": Style(noise=8.0, saturation=0.6, brightness=(0.35, 0.55)),
}


# ---------------------------------------------------------------------------------------------------------------------
# Backgrounds
# ---------------------------------------------------------------------------------------------------------------------


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


def _speckles(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, size: tuple[int, int], top: float, colours: list[Colour]
) -> None:
    width, height = size
    count = 60
    xs, ys = rng.uniform(0, width, count), rng.uniform(top * height, height, count)
    length = height * 0.012
    for index, (x, y) in enumerate(zip(xs.tolist(), ys.tolist(), strict=True)):
        draw.line((x, y, x + length * (index % 3 - 1), y - length), fill=colours[index % len(colours)], width=2)


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
    _speckles(rng, draw, size, horizon + 0.05, [shade(ground, 0.8), shade(ground, 1.2)])
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
    _speckles(rng, draw, size, 0.0, [(250, 250, 255)])
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
    _speckles(rng, draw, size, shore + 0.02, [shade(sand, 0.85)])
    return image


BACKGROUNDS: dict[str, Callable[[np.random.Generator, tuple[int, int], float], Image.Image]] = {
    "room": _room,
    "grass": _grass,
    "snow": _snow,
    "beach": _beach,
    "street": _grass,
}


# ---------------------------------------------------------------------------------------------------------------------
# Scenes
# ---------------------------------------------------------------------------------------------------------------------


def pixel_boxes(scene: Scene, width: int, height: int) -> np.ndarray:
    """Boxes of all objects in whole pixels, inside the picture.

    Args:
        scene: The scene.
        width: Picture width in pixels.
        height: Picture height in pixels.

    Returns:
        (n, 4) int64 (x1, y1, x2, y2), x2 and y2 exclusive, at least 2 pixels wide and high.
    """
    boxes = np.array([thing.box for thing in scene.objects], dtype=np.float64).reshape(-1, 4)
    boxes = np.rint(boxes * min(width, height)).astype(np.int64)
    limit = np.array([width, height])
    boxes[:, :2] = boxes[:, :2].clip(0, limit - 2)
    boxes[:, 2:] = np.maximum(boxes[:, 2:].clip(0, limit), boxes[:, :2] + 2)
    return boxes


def _paint_string(draw: ImageDraw.ImageDraw, thing: SceneObject, side: float) -> None:
    x, y = thing.joint("top")
    ends = [(thing.string[0] * side, thing.string[1] * side), (x * side, y * side + 1)]
    draw.line(ends, fill=STRING_COLOUR, width=max(2, round(side / 150)))


def paint_objects(image: Image.Image, scene: Scene, boxes: np.ndarray) -> None:
    """Paints a scene's objects, the farthest first.

    Args:
        image: Canvas of any mode that takes RGB colours.
        scene: The scene.
        boxes: (n, 4) integer boxes on this canvas, x2 and y2 exclusive.
    """
    draw, side = ImageDraw.Draw(image), min(image.size)
    boxes = boxes.tolist()
    contents = {index: [] for index in range(len(boxes))}
    for index, thing in enumerate(scene.objects):
        if thing.contact == "in":
            contents[thing.partner].append(index)
    for index in scene.painting_order():
        thing = scene.objects[index]
        if thing.contact == "in":
            continue
        if thing.string is not None:
            _paint_string(draw, thing, side)
        figure = thing.figure
        paint(draw, figure.back_parts, figure.bounds, boxes[index])
        for inner in contents[index]:
            content = scene.objects[inner].figure
            paint(draw, content.back_parts + content.front_parts, content.bounds, boxes[inner])
        paint(draw, figure.front_parts, figure.bounds, boxes[index])


@lru_cache(maxsize=8)
def _noise_levels(deviation: float) -> list[int]:
    """Quantiles of the normal distribution about 128: random bytes index them, faster than drawing normal numbers."""
    return np.rint(128 + deviation * ndtri((np.arange(256) + 0.5) / 256)).clip(0, 255).astype(int).tolist()


def _finished(rng: np.random.Generator, image: Image.Image, style: Style) -> Image.Image:
    """Camera effects: blur, saturation, brightness, noise."""
    if style.blur:
        image = image.filter(ImageFilter.GaussianBlur(style.blur * min(image.size) / 1000))
    if style.saturation != 1.0:
        image = ImageEnhance.Color(image).enhance(style.saturation)
    brightness = rng.uniform(*style.brightness)
    image = image.point([min(255, int(level * brightness)) for level in range(256)] * 3)
    noise = Image.frombytes("L", image.size, rng.bytes(image.width * image.height)).point(_noise_levels(style.noise))
    return ImageChops.add(image, Image.merge("RGB", (noise, noise, noise)), offset=-128)


def render_scene(
    rng: np.random.Generator, scene: Scene, width: int, height: int, style: Style | None = None
) -> tuple[Image.Image, np.ndarray]:
    """Draws a scene.

    Args:
        rng: Source of the background's looks and the noise.
        scene: The scene, composed for the same aspect ratio.
        width: Picture width in pixels.
        height: Picture height in pixels.
        style: Look of the set; default `STYLES["clean"]`.

    Returns:
        The RGB picture and the (n, 4) int64 boxes (x1, y1, x2, y2) of its objects in pixels.
    """
    boxes = pixel_boxes(scene, width, height)
    size = (width * SUPERSAMPLING, height * SUPERSAMPLING)
    horizon = 1 - rng.uniform(0.24, 0.38) * min(width, height) / height
    image = BACKGROUNDS[scene.setting](rng, size, horizon)
    paint_objects(image, scene, boxes * SUPERSAMPLING)
    return _finished(rng, image.reduce(SUPERSAMPLING), style or STYLES["clean"]), boxes
