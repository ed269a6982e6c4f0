# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The image file that an entry of a file names."""

from __future__ import annotations

from ..defects import Place
from .image_files import ImageFinder
from .json_fields import size_fields
from .tolerance import Tolerance


def listed_image(
    entry: dict, name: str, finder: ImageFinder, where: Place, tolerance: Tolerance
) -> tuple[str, int, int]:
    """Absolute path, width and height; tolerant: "" and 0 where there is no such file or no size.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The entry's `width` and `height` are no numbers of pixels, or it has none and the file is no image.
    """
    path, size = "", (0, 0)
    with tolerance.of("missing_image", where):
        path = finder.path(name, where)
    says_size = "width" in entry or "height" in entry
    with tolerance.of("broken_image_entry" if says_size else "unreadable_image", where):
        size = size_fields(entry, path, where) if path or says_size else size
    return (path if says_size or all(size) else ""), *size
