# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Reading the images of a dataset, and saying which one cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets import Dataset
from datasets import Image as ImageFeature
from PIL import Image

from ..image_reading import UnreadableImageError, read_image


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
    image = row["image"]
    if image is None:
        raise UnreadableImageError(f"image {row.get('image_id')} is missing in its row; leave the row out")
    file = getattr(image, "filename", None) if isinstance(image, Image.Image) else image["path"]
    name = f"image {row.get('image_id')} ({file or 'stored in the dataset'})"
    try:
        return read_image(image, name)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{error}; replace the file, or leave the image out") from error
