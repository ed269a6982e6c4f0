# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Pixels of any kind as eight-bit RGB: colour modes, numbers of many ranges, channels first or last, sideways images."""

from __future__ import annotations

import numpy as np
import torch
from PIL import ExifTags, Image


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
# Resizing in floating point leaves the range a little.
_OVERSHOOT = 1e-3


def to_rgb(image: Image.Image) -> Image.Image:
    """The image upright, in RGB, with eight bits per channel, without transparency and metadata.

    Transparency is left out, as `datasets` and Detectron2 do it: the colours below it stay.

    Args:
        image: Any image of Pillow; it is not changed.

    Raises:
        ValueError: It has no pixels, or numbers in no known range, see `array_to_image`.
    """
    if min(image.size) < 1:
        raise ValueError(f"it has no pixels, its width and height are {image.size}")
    upright = to_eight_bits(image)
    if "transparency" in upright.info or upright.mode == "La":
        upright = _without_transparency(upright)
    rgb = upright.convert("RGB")
    rgb.info = {}
    return rgb


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) that `to_rgb` gives the image, which need not be decoded yet."""
    return image.size[::-1] if _orientation(image) in (5, 6, 7, 8) else image.size


def to_eight_bits(image: Image.Image) -> Image.Image:
    """The image upright, with eight bits per channel, in whatever colour mode.

    Args:
        image: Any image of Pillow; it is not changed.

    Raises:
        ValueError: Its numbers are in no known range, see `array_to_image`.
    """
    image.load()  # which turns a TIFF
    turn = _TURNS.get(_orientation(image))
    if image.mode.startswith(("I", "F")):
        image = array_to_image(np.asarray(image))
    if turn is not None:
        image = image.transpose(turn)
        image.info = {name: value for name, value in image.info.items() if name == "transparency"}
    return image


def array_to_image(array: np.ndarray | torch.Tensor) -> Image.Image:
    """An image from numbers.

    Args:
        array: `(H, W)`, `(H, W, C)` or `(C, H, W)` with 1 to 4 channels: grey, grey and alpha, RGB, RGBA. Where both the
            first and the last axis could be the channels, it is the last of an array, the first of a tensor. Bool; 16-bit
            unsigned integers in [0, 65535]; other numbers in [0, 255], floating-point ones also in [0, 1]: they are taken
            for that unless one of them is larger. Two-dimensional 32-bit integers, which is how some 16-bit files are
            opened, are 16-bit ones where one of them is above 255.

    Raises:
        ValueError: Another shape, or a number that is not finite or in no such range.
    """
    channels_first = isinstance(array, torch.Tensor)
    array = _as_numpy(array)
    if array.size == 0 or not 2 <= array.ndim <= 3:
        raise ValueError(f"an image has the axes (height, width) or (height, width, channels), not {array.shape}")
    array = _to_eight_bits(array)
    if array.ndim == 3:
        array = _channels_last(array, channels_first)
    return Image.fromarray(np.ascontiguousarray(array))


def _as_numpy(array: np.ndarray | torch.Tensor) -> np.ndarray:
    if not isinstance(array, torch.Tensor):
        return array
    array = array.detach().cpu()
    # numpy has no bfloat16.
    return (array.float() if array.is_floating_point() else array).numpy()


def _channels_last(array: np.ndarray, prefer_first: bool) -> np.ndarray:
    first, last = array.shape[0] in _CHANNELS, array.shape[2] in _CHANNELS
    if not first and not last:
        raise ValueError(f"an image has 1 to 4 channels, first or last, not the axes {array.shape}")
    if first and (prefer_first or not last):
        array = array.transpose(1, 2, 0)
    return array[..., 0] if array.shape[2] == 1 else array


def _to_eight_bits(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype.kind not in "iuf":
        raise ValueError(f"pixels are numbers, not {array.dtype}")
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("not all of its pixels are finite numbers")
    largest = _largest_of_range(array, float(high))
    if low < -_OVERSHOOT * largest or high > largest * (1 + _OVERSHOOT):
        raise ValueError(f"its pixels are from {low:g} to {high:g}; scale them to [0, 255]")
    return (array.astype(np.float64) * (255 / largest)).round().clip(0, 255).astype(np.uint8)


def _largest_of_range(array: np.ndarray, high: float) -> int:
    """The number that stands for white."""
    if array.dtype.kind == "f" and high <= 1 + _OVERSHOOT:
        return 1
    is_sixteen_bits = array.dtype.kind == "u" and array.dtype.itemsize == 2
    is_opened_as_more = array.dtype.itemsize == 4 and array.dtype.kind != "f" and array.ndim == 2 and high > 255
    return 65535 if is_sixteen_bits or is_opened_as_more else 255


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a damaged header says nothing, but the pixels below it are good
        return None


def _without_transparency(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        return image.convert("LA")
    image = image.copy()
    # Pillow would warn of it where it belongs to a palette.
    image.info.pop("transparency", None)
    return image
