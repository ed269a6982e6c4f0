# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Images from wherever a user has them, upright and in RGB, or one sentence that says which one cannot be read."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub.utils import get_session
from PIL import Image, ImageOps


# What `read_image` takes: a PIL image, a path, an address, the bytes of a file, or an array (H, W), (H, W, 3) or (H, W, 4).
ImageSource = Image.Image | str | os.PathLike | bytes | np.ndarray

_URL_SCHEMES = ("http://", "https://")
_URL_TIMEOUT = 20.0  # seconds
# Of errors by which the system says that a file is missing, or that its content sent a decoder to an impossible place. Others,
# such as too many open files or a failing disk, say nothing about the image.
_ERRORS_OF_FILES = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EOVERFLOW}


class UnreadableImageError(ValueError):
    """An image is missing, damaged or no image."""


def read_image(source: ImageSource, name: str | None = None) -> Image.Image:
    """Reads an image. Of an animation the first frame is taken; 16 bits become 8; EXIF says which side is up.

    Args:
        source: A PIL image, path, address (http, https), the bytes of a file, or an array `(H, W)`, `(H, W, 3)` or
            `(H, W, 4)` of bytes.
        name: What messages call the image; default: the path or address.

    Returns:
        The image in RGB.

    Raises:
        UnreadableImageError: There is no such image, or its content is none; the message names it.
        OSError: The system failed to read the file, which may be good; the message likewise.
        TypeError: `source` is nothing of the above.
    """
    name = name or _name(source)
    try:
        if isinstance(source, Image.Image):
            return to_rgb(source)
        if isinstance(source, np.ndarray):
            return to_rgb(Image.fromarray(source))
        with Image.open(_file(source)) as opened:
            return to_rgb(opened)
    except MemoryError:
        raise
    # Pillow's decoders raise many kinds of errors on damaged files, also SyntaxError and struct.error.
    except Exception as error:
        if is_of_the_system(error):
            raise OSError(
                error.errno, f"{error.strerror}: {name} cannot be read now; the file itself may be good"
            ) from error
        raise UnreadableImageError(f"{name} cannot be read as an image: {_first_line(error)}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """The image upright, in RGB, with eight bits per channel; turned as `datasets` and Detectron2 turn it."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits, of which `convert` would make white
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257.0).round().astype(np.uint8))
    return image.convert("RGB")


def is_of_the_system(error: Exception) -> bool:
    """Whether an error says that the system failed, and nothing about the image."""
    # Pillow's own errors about files are of this class, too, but have no number.
    return isinstance(error, OSError) and error.errno is not None and error.errno not in _ERRORS_OF_FILES


def _name(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return str(source)
    return getattr(source, "filename", None) or f"the given {type(source).__name__}"


def _file(source: str | os.PathLike | bytes) -> io.BytesIO | Path:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if isinstance(source, str) and source.lower().startswith(_URL_SCHEMES):
        return io.BytesIO(_download(source))
    return Path(source)


def _download(url: str) -> bytes:
    response = get_session().get(url, timeout=_URL_TIMEOUT, follow_redirects=True)
    response.raise_for_status()
    return response.content


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
