# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""One colour for each object class, the same in every frame and on every machine."""

from __future__ import annotations

import colorsys
from functools import cache


_GOLDEN_RATIO = 0.618034  # hues so far apart that neighbouring numbers never look alike

Color = tuple[int, int, int]


@cache
def class_color(label: int) -> Color:
    """Red, green and blue, 0 to 255, of a class number."""
    saturation, value = ((0.6, 0.95), (0.72, 0.92), (0.42, 1.0))[label % 3]
    red, green, blue = colorsys.hsv_to_rgb((0.56 + label * _GOLDEN_RATIO) % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


@cache
def text_color(background: Color) -> Color:
    """Black or white, whichever contrasts more (relative luminance of ITU-R BT.709)."""
    red, green, blue = ((value / 255) ** 2.2 for value in background)
    return (0, 0, 0) if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else (255, 255, 255)
