# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Reading the images of a dataset, and saying which one cannot be read."""

from __future__ import annotations

import errno
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from datasets import Dataset
from datasets import Image as ImageFeature
from PIL import Image, ImageOps


# Of errors by which the system says that a file is missing, or that its content sent a decoder to an impossible place. Others,
# such as too many open files or a failing disk, say nothing about the image.
_ERRORS_OF_FILES = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EOVERFLOW}


class UnreadableImageError(ValueError):
    """An image file is missing, damaged or no image."""


def undecoded(dataset: Dataset) -> Dataset:
    """The dataset with its images as paths and bytes, for `read_image` to decode. A transform set on it is kept.

    `datasets` decodes an image before a transform sees the row, and its errors do not say which image failed.
    """
    return dataset.cast_column("image", ImageFeature(decode=False))


def read_image(row: Mapping[str, Any]) -> Image.Image:
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
    try:
        if isinstance(image, Image.Image):
            return _to_rgb(image)
        with Image.open(image["path"] if image["bytes"] is None else io.BytesIO(image["bytes"])) as opened:
            return _to_rgb(opened)
    except MemoryError:
        raise
    # Pillow's decoders raise many kinds of errors on damaged files, also SyntaxError and struct.error.
    except Exception as error:
        file = getattr(image, "filename", None) if isinstance(image, Image.Image) else image["path"]
        name = f"image {row.get('image_id')} ({file or 'stored in the dataset'})"
        if _is_of_the_system(error):
            raise OSError(
                error.errno, f"{error.strerror}: {name} cannot be read now; the file itself may be good"
            ) from error
        raise UnreadableImageError(
            f"{name} cannot be read: {error}; replace the file, or leave the image out"
        ) from error


def _is_of_the_system(error: Exception) -> bool:
    # Pillow's own errors about files are of this class, too, but have no number.
    return isinstance(error, OSError) and error.errno is not None and error.errno not in _ERRORS_OF_FILES


def _to_rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)  # turned as `datasets` and Detectron2 turn it
    if image.mode.startswith("I"):  # 16 bits, of which `convert` would make white
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257.0).round().astype(np.uint8))
    return image.convert("RGB")
