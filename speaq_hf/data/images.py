# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Reading the images of a dataset, and saying which one cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from datasets import Dataset
from datasets import Image as ImageFeature
from PIL import Image

from ..image_reading import UnreadableImageError, read_image, read_reduced_image


def undecoded(dataset: Dataset) -> Dataset:
    """The dataset with its images as paths and bytes, for `read_row_image` to decode. A transform set on it is kept.

    `datasets` decodes an image before a transform sees the row, and its errors do not say which image failed.
    """
    return dataset.cast_column("image", ImageFeature(decode=False))


def read_row_image(row: Mapping[str, Any]) -> Image.Image:
    """The RGB image of a row, upright.

    Args:
        row: `image`, a PIL image or a dict of `path` and `bytes`, and `image_id`.

    Raises:
        UnreadableImageError: The file is missing or its content is no image; the message names the image and its file.
        OSError: The system failed to read the file, which may be good; the message likewise.
    """
    return _read_row(row, read_image)


def read_reduced_row_image(row: Mapping[str, Any], shortest_edge: int) -> tuple[Image.Image, tuple[int, int]]:
    """The same, at a reduced size where that is quicker; see `read_reduced_image`.

    Args:
        row: As above.
        shortest_edge: Pixels that the short edge keeps at least, if it has them.

    Returns:
        The image, and the (width, height) that it has in full.
    """
    return _read_row(row, lambda image, name: read_reduced_image(image, shortest_edge, name))


def _read_row(row: Mapping[str, Any], read: Callable[[Any, str], Any]) -> Any:
    image = row["image"]
    if image is None:
        raise UnreadableImageError(f"image {row.get('image_id')} is missing in its row; leave the row out")
    file = getattr(image, "filename", None) if isinstance(image, Image.Image) else image["path"]
    name = f"image {row.get('image_id')} ({file or 'stored in the dataset'})"
    try:
        return read(image, name)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{error}; replace the file, or leave the image out") from error
