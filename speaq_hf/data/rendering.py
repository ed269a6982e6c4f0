# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Flat pictures of synthetic scenes: background and objects in depth order, anti-aliased."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw

from .backgrounds import BACKGROUNDS
from .drawing import paint
from .scene_objects import Scene, SceneObject


SUPERSAMPLING = 2
STRING_COLOUR = (60, 56, 52)
ROPE_COLOURS = {"with": (206, 44, 40), "attached to": (226, 190, 110)}  # of what is led and what is tied up
BRIGHTNESS = (0.9, 1.1)


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
    x, y = thing.tie
    ends = [(thing.string[0] * side, thing.string[1] * side), (x * side, y * side + 1)]
    if thing.contact in ROPE_COLOURS:
        draw.line(ends, fill=STRING_COLOUR, width=max(3, round(side / 60)))
        draw.line(ends, fill=ROPE_COLOURS[thing.contact], width=max(2, round(side / 80)))
    else:
        draw.line(ends, fill=STRING_COLOUR, width=max(2, round(side / 150)))


def paint_objects(image: Image.Image, scene: Scene, boxes: np.ndarray, order: Iterable[int] | None = None) -> None:
    """Paints a scene's objects, the farthest first.

    Args:
        image: Canvas of any mode that takes RGB colours.
        scene: The scene.
        boxes: (n, 4) integer boxes on this canvas, x2 and y2 exclusive.
        order: Indices of the objects to paint; default all, `scene.painting_order()`.
    """
    draw, side = ImageDraw.Draw(image), min(image.size)
    boxes = boxes.tolist()
    contents = {index: [] for index in range(len(boxes))}
    for index, thing in enumerate(scene.objects):
        if thing.contact == "in":
            contents[thing.partner].append(index)
    for index in scene.painting_order() if order is None else order:
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


def draw_horizon(rng: np.random.Generator, width: int, height: int) -> float:
    """Height of the horizon in a picture of this shape, as a share of its height from the top."""
    return 1 - rng.uniform(0.24, 0.38) * min(width, height) / height


def render_flat(rng: np.random.Generator, scene: Scene, width: int, height: int) -> tuple[Image.Image, np.ndarray]:
    """Draws a scene in flat colours, without any trace of a camera.

    Args:
        rng: Source of the background's looks.
        scene: The scene, composed for the same aspect ratio.
        width: Picture width in pixels.
        height: Picture height in pixels.

    Returns:
        The RGB picture and the (n, 4) int64 boxes (x1, y1, x2, y2) of its objects in pixels.
    """
    boxes = pixel_boxes(scene, width, height)
    size = (width * SUPERSAMPLING, height * SUPERSAMPLING)
    image = BACKGROUNDS[scene.setting](rng, size, draw_horizon(rng, width, height))
    paint_objects(image, scene, boxes * SUPERSAMPLING)
    brightness = rng.uniform(*BRIGHTNESS)
    return image.reduce(SUPERSAMPLING).point([min(255, int(level * brightness)) for level in range(256)] * 3), boxes
