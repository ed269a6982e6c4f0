# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Pictures of synthetic scenes as a camera would take them.

Textured and cluttered backgrounds, one light with the shadows it casts, uneven illumination, blur, colour cast and
sensor noise. The objects stay where `rendering` puts them, so that the boxes are as exact as those of flat pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter
from scipy.special import ndtri

from .backgrounds import BACKGROUNDS
from .clutter import paint_clutter
from .rendering import SUPERSAMPLING, draw_horizon, paint_objects, pixel_boxes
from .scene_objects import GROUND, Scene


SHADOW_REDUCTION = 4  # shadows are soft: painted this much smaller


@dataclass(frozen=True)
class Light:
    """Where the light comes from and how hard it is.

    Attributes:
        x: Towards the light, -1 (left) to 1 (right).
        y: Towards the light, -1 (above) to 0.
        strength: Of shading and shadows, in [0, 1].
    """

    x: float
    y: float
    strength: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Light:
        """A light from somewhere above."""
        angle = rng.uniform(0.12, 0.88) * math.pi
        return cls(math.cos(angle), -math.sin(angle), rng.uniform(0.35, 1.0))


def _smooth_noise(rng: np.random.Generator, size: tuple[int, int], cell: tuple[float, float]) -> np.ndarray:
    """Random bumps (height, width) of the given width and height in pixels, float32 in -1..1."""
    grid = tuple(max(2, round(side / length)) for side, length in zip(size, cell, strict=True))
    values = Image.frombytes("L", grid, rng.bytes(grid[0] * grid[1]))
    return np.asarray(values.resize(size, Image.Resampling.BICUBIC)) * np.float32(1 / 127.5) - 1


# ---------------------------------------------------------------------------------------------------------------------
# What lies before the camera
# ---------------------------------------------------------------------------------------------------------------------


def _background(
    rng: np.random.Generator, scene: Scene, boxes: np.ndarray, size: tuple[int, int], horizon: float
) -> Image.Image:
    """RGB background with the street and clutter; the camera's blur smooths its edges."""
    image = BACKGROUNDS[scene.setting](rng, size, horizon)
    paint_objects(image, scene, boxes, [index for index, thing in enumerate(scene.objects) if thing.label == "street"])
    paint_clutter(rng, image, scene.setting, horizon)
    return image


def _texture(rng: np.random.Generator, grain: np.ndarray, horizon: float) -> np.ndarray:
    """Brightness (height, width) of the background's material about 1: grain and blotches."""
    size, texture = grain.shape[::-1], rng.uniform(0.12, 0.3) * grain
    blotches = rng.uniform(0.08, 0.2) * min(size)
    # The sky and walls are smoother than the ground.
    texture[: int(horizon * size[1])] *= rng.uniform(0.05, 0.35)
    texture += rng.uniform(0.08, 0.25) * _smooth_noise(rng, size, (2 * blotches, blotches))
    texture += 1
    return texture


def _shadows(scene: Scene, boxes: np.ndarray, light: Light, size: tuple[int, int]) -> np.ndarray:
    """Light (height, width) that the objects on the ground leave to it, in [0, 1]."""
    image = Image.new("L", tuple(math.ceil(side / SHADOW_REDUCTION) for side in size), 255)
    draw = ImageDraw.Draw(image)
    dark = round(255 * (1 - 0.7 * light.strength))
    for thing, box in zip(scene.objects, (boxes / SHADOW_REDUCTION).tolist(), strict=True):
        if thing.support == GROUND and thing.label != "street":
            left, top, right, base = box
            reach, depth = -0.7 * light.x * (base - top), 0.05 * (right - left) + 0.1 * (base - top)
            ends = [(right + reach, base + depth), (left + reach, base + depth)]
            draw.polygon([(left, base), (right, base), *ends], fill=(dark + 255) // 2)
            draw.ellipse((left, base - 0.6 * depth, right, base + 0.6 * depth + 1), fill=dark)
    soft = image.filter(ImageFilter.BoxBlur(min(image.size) / 60)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(soft) * np.float32(1 / 255)


def _surface(rng: np.random.Generator, grain: np.ndarray, cover: Image.Image, light: Light) -> np.ndarray:
    """Brightness (height, width) of the objects: round, bright towards the light and dark away from it, and rough."""
    size, side = cover.size, min(cover.size)
    small = cover.reduce(2) if side >= 64 else cover
    rounded = small.filter(ImageFilter.BoxBlur(min(small.size) / 40)).resize(size, Image.Resampling.BILINEAR)
    height = np.asarray(rounded) * np.float32(1 / 255)
    step = max(1.5, side / 40)
    slope = np.roll(height, (-round(step * light.y), -round(step * light.x)), (0, 1))
    slope -= height
    slope *= -1.2 * light.strength
    slope += rng.uniform(0.06, 0.2) * grain
    slope += 0.95
    return slope


def _painted_objects(scene: Scene, boxes: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """All objects but the street as an RGBa picture: colours multiplied by how much of the pixel they cover."""
    layer = Image.new("RGBa", (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING))
    order = [index for index in scene.painting_order() if scene.objects[index].label != "street"]
    paint_objects(layer, scene, boxes * SUPERSAMPLING, order)
    return layer.reduce(SUPERSAMPLING)


# ---------------------------------------------------------------------------------------------------------------------
# The camera
# ---------------------------------------------------------------------------------------------------------------------


def _illumination(rng: np.random.Generator, light: Light, size: tuple[int, int]) -> np.ndarray:
    """Brightness (height, width) about 1: falls off away from the light and towards the corners."""
    x, y = np.linspace(-1, 1, size[0], dtype=np.float32), np.linspace(-1, 1, size[1], dtype=np.float32)
    slope, vignette = 0.25 * light.strength, rng.uniform(0.0, 0.22)
    columns, rows = slope * light.x * x - vignette * x**2, slope * light.y * y - vignette * y**2
    return rng.uniform(0.9, 1.3) + columns + rows[:, None]


def _colour_matrix(rng: np.random.Generator) -> np.ndarray:
    """(3, 3) from red, green and blue to what the camera makes of them: paler, and warmer or colder."""
    saturation, warmth, green = rng.uniform(0.55, 1.0), rng.normal(0, 0.08), rng.normal(0, 0.03)
    cast = np.exp([warmth, green, -warmth])
    return (cast[:, None] * (saturation * np.eye(3) + (1 - saturation) / 3)).astype(np.float32)


@lru_cache(maxsize=32)
def _noise_levels(deviation: int) -> list[int]:
    """Quantiles of the normal distribution about 128: random bytes index them, faster than drawing normal numbers."""
    return np.rint(128 + deviation * ndtri((np.arange(256) + 0.5) / 256)).clip(0, 255).astype(int).tolist()


def _exposed(rng: np.random.Generator, planes: np.ndarray) -> Image.Image:
    """The RGB picture of planes (3, height, width): blur of lens and motion, then noise of the sensor."""
    levels = planes.clip(0, 255, out=planes).astype(np.uint8)
    image = Image.merge("RGB", [Image.fromarray(plane) for plane in levels])
    side, defocus = min(image.size) / 1000, rng.uniform(1.2, 3.5)
    motion = rng.uniform(2, 7) if rng.random() < 0.3 else 0.0
    radii = (defocus + motion, defocus) if rng.random() < 0.7 else (defocus, defocus + motion)
    image = image.filter(ImageFilter.BoxBlur((radii[0] * side, radii[1] * side)))
    noise = Image.frombytes("RGB", image.size, rng.bytes(3 * image.width * image.height))
    noise = noise.point(_noise_levels(int(rng.integers(4, 13))) * 3)
    return ImageChops.add(image, noise, offset=-128)


def render_photo(rng: np.random.Generator, scene: Scene, width: int, height: int) -> tuple[Image.Image, np.ndarray]:
    """Draws a scene with the traces of light and camera.

    Args:
        rng: Source of everything but the scene.
        scene: The scene, composed for the same aspect ratio.
        width: Picture width in pixels.
        height: Picture height in pixels.

    Returns:
        The RGB picture and the (n, 4) int64 boxes (x1, y1, x2, y2) of its objects in pixels.
    """
    boxes, size, light = pixel_boxes(scene, width, height), (width, height), Light.drawn(rng)
    horizon = draw_horizon(rng, width, height)
    background = _background(rng, scene, boxes, size, horizon)
    red, green, blue, cover = _painted_objects(scene, boxes, size).split()
    illumination = _illumination(rng, light, size)
    fineness = rng.uniform(0.008, 0.02) * min(size)
    grain = _smooth_noise(rng, size, (2 * fineness, fineness))
    behind = _texture(rng, grain, horizon)
    behind *= _shadows(scene, boxes, light, size)
    behind *= illumination
    behind *= 1 - np.asarray(cover) * np.float32(1 / 255)
    front = _surface(rng, grain[::-1, ::-1], cover, light)  # turned, so that it does not go on in the background
    front *= illumination
    planes = np.empty((3, height, width), np.float32)
    for plane, far, near in zip(planes, background.split(), (red, green, blue), strict=True):
        np.multiply(far, behind, out=plane)
        plane += near * front
    seen = _colour_matrix(rng) @ planes.reshape(3, -1)
    return _exposed(rng, seen.reshape(planes.shape)), boxes
