# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Images from wherever a user has them, upright and in RGB, or one sentence that says which one cannot be read.

In the model folder, because the pipeline, which travels with a model, reads images, too.
"""

from __future__ import annotations

import base64
import binascii
import errno
import io
import os
import re
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from huggingface_hub.utils import get_session
from PIL import Image, UnidentifiedImageError

from .image_pixels_speaq import array_to_image, to_rgb, upright_size


# What `read_image` takes, see there.
ImageSource = (
    Image.Image | str | os.PathLike | bytes | bytearray | memoryview | BinaryIO | Mapping | np.ndarray | torch.Tensor
)

# For all of an address: connection, redirections and content.
DEFAULT_TIMEOUT = 30.0  # seconds
# Pillow refuses images of more than 179 megapixels; uncompressed ones of that size have half a gigabyte.
LARGEST_DOWNLOAD = 2**29  # bytes

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_DATA_ADDRESS = re.compile(r"data:[^,]{0,200}?;base64,", re.IGNORECASE)
# How JPEG, PNG, GIF and WebP files begin when written in base64.
_BASE64_BEGINNINGS = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR")
_LONGEST_NAME = 300  # characters of a name in a message

# What users hand over by mistake, by how the content begins.
_OTHER_CONTENT = {
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*|<!DOCTYPE svg[^>]*>\s*)*<svg": "it is an SVG drawing; save it as PNG",
    rb"\s*(<!doctype html|<html|<head|<body)": "it is a web page, not an image",
    rb"....ftyp(heic|heix|hevc|heim|heis|mif1|msf1)": "it is HEIC; install pillow-heif and call its register_heif_opener()",
    rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI ": "it is a video",
    rb"%PDF": "it is a PDF",
    rb"#\?(RADIANCE|RGBE)": "Radiance HDR is not supported; save it as PNG or JPEG",
    rb"v/1\x01": "OpenEXR is not supported; save it as PNG or JPEG",
    rb"version https://git-lfs": "it is a pointer of Git LFS; fetch the file with git lfs pull",
}
# Of errors by which the system says that a file is missing, or that its content sent a decoder to an impossible place. Others,
# such as too many open files or a failing disk, say nothing about the image.
_ERRORS_OF_FILES = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EOVERFLOW,
    errno.ELOOP,
}


class UnreadableImageError(ValueError):
    """An image is missing, damaged or no image."""


def read_image(source: ImageSource, name: str | None = None, timeout: float = DEFAULT_TIMEOUT) -> Image.Image:
    """Reads an image, upright and in RGB.

    EXIF (or XMP) says which side is up. Of an animation or of several pages the first is taken, as its file shows it.
    Transparency is left out, as `datasets` and Detectron2 do: the colours below it stay. Sixteen bits become eight. What
    holds other numbers (32-bit files, arrays) is understood by its range, see `array_to_image`.

    Args:
        source: A PIL image; a path; an address (http, https, or data: with base64); the base64 text of a JPEG, PNG, GIF or
            WebP file; the bytes of a file; a file opened for reading bytes; a dict of `bytes` and `path` as in `datasets`; or
            an array or tensor `(H, W)`, `(H, W, C)` or `(C, H, W)`, see `array_to_image`.
        name: What messages call the image; default: the path or address.
        timeout: Seconds after which an address fails that has not sent everything.

    Returns:
        The image in RGB, without metadata.

    Raises:
        UnreadableImageError: There is no such image, or its content is none; the message names it.
        OSError: The system failed to read the file, which may be good; the message likewise.
        TypeError: `source` is nothing of the above.
    """
    return _named(name, source, lambda: _read(source, timeout))


def read_reduced_image(
    source: ImageSource, shortest_edge: int, name: str | None = None, timeout: float = DEFAULT_TIMEOUT
) -> tuple[Image.Image, tuple[int, int]]:
    """Reads an image as `read_image`, but a large JPEG at a half, a quarter or an eighth of its size, in less time.

    Args:
        source: See `read_image`.
        shortest_edge: Pixels that the short edge keeps at least, if it has them.
        name: What messages call the image.
        timeout: Seconds after which an address fails that has not sent everything.

    Returns:
        The image in RGB, and the (width, height) that it has in full.

    Raises:
        UnreadableImageError: See `read_image`, and the other errors likewise.
    """
    sizes: list[tuple[int, int]] = []

    def reduce(opened: Image.Image) -> None:
        # Only JPEGs can be decoded at another size; for the others `draft` returns None.
        size, scale = upright_size(opened), _decoding_scale(opened.size, shortest_edge)
        if scale > 1 and opened.draft(None, (opened.width // scale, opened.height // scale)) is not None:
            sizes.append(size)

    image = _named(name, source, lambda: _read(source, timeout, reduce))
    return image, sizes[0] if sizes else image.size


def _decoding_scale(size: tuple[int, int], shortest_edge: int) -> int:
    """By how much a JPEG can be decoded smaller: 8, 4, 2 or 1. Sides must be divisible: the last pixel would stand for less
    than the others, and all would move."""
    fits = (
        scale for scale in (8, 4, 2) if min(size) >= scale * shortest_edge and not any(side % scale for side in size)
    )
    return next(fits, 1)


def _named(name: str | None, source: ImageSource, read: Callable[[], Image.Image]) -> Image.Image:
    """What `read` returns; its errors name the image."""
    name = _printable(name or _name(source))
    try:
        return read()
    except (MemoryError, _UnknownSourceError):
        raise
    # Pillow's decoders raise many kinds of errors on damaged files, also SyntaxError and struct.error.
    except Exception as error:
        if is_of_the_system(error):
            raise OSError(
                error.errno, f"{error.strerror}: {name} cannot be read now; the file itself may be good"
            ) from error
        raise UnreadableImageError(f"{name} cannot be read: {_first_line(error)}") from error


def is_of_the_system(error: Exception) -> bool:
    """Whether an error says that the system failed, and nothing about the image."""
    # Pillow's own errors about files are of this class, too, but have no number.
    return isinstance(error, OSError) and error.errno is not None and error.errno not in _ERRORS_OF_FILES


class _UnknownSourceError(TypeError):
    """Something that is no image, nor says where one is."""


def _read(
    source: ImageSource, timeout: float, reduce: Callable[[Image.Image], None] = lambda opened: None
) -> Image.Image:
    if isinstance(source, Image.Image):
        return to_rgb(source)
    if isinstance(source, np.ndarray | torch.Tensor):
        return to_rgb(array_to_image(source))
    file = _file(source, timeout)
    try:
        with Image.open(file) as opened:
            if opened.format == "EPS":  # would be run, by another program
                raise ValueError("PostScript is not supported; save it as PNG")
            reduce(opened)
            return to_rgb(opened)
    except UnidentifiedImageError as error:
        raise ValueError(_what_it_is(file)) from error


def _file(source: Any, timeout: float) -> BinaryIO | Path:
    """The encoded image as something that Pillow opens."""
    if isinstance(source, Mapping) and ({"bytes", "path"} & source.keys()):
        source = source.get("path") if source.get("bytes") is None else source["bytes"]
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    if isinstance(source, str):
        return _file_of_text(source, timeout)
    if isinstance(source, os.PathLike):
        return _existing_file(Path(source))
    if callable(getattr(source, "read", None)):
        return io.BytesIO(_content(source))
    raise _UnknownSourceError(
        "an image is a path, an address, bytes, an open file, a PIL image, an array or a tensor, not "
        f"{'None' if source is None else f'a {type(source).__name__}'}"
    )


def _content(file: BinaryIO) -> bytes:
    if getattr(file, "seekable", bool)():  # as Pillow does it: a file can be given twice
        file.seek(0)
    content = file.read()
    if not isinstance(content, bytes):
        raise _UnknownSourceError("a file with an image must be opened for reading bytes: open(path, 'rb')")
    return content


def _file_of_text(text: str, timeout: float) -> BinaryIO | Path:
    if scheme := _SCHEME.match(text):
        if scheme[1].lower() not in ("http", "https"):
            raise ValueError(f"addresses begin with http:// or https://, not with {scheme[0]}")
        return io.BytesIO(_download(text, timeout))
    if data := _DATA_ADDRESS.match(text):
        return io.BytesIO(_decode_base64(text[data.end() :]))
    if text.startswith(_BASE64_BEGINNINGS) and not os.path.exists(text):
        return io.BytesIO(_decode_base64(text))
    return _existing_file(Path(text))


def _existing_file(path: Path) -> Path:
    # Opening a named pipe would wait for somebody to write to it.
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError("it is a folder")
    if not stat.S_ISREG(mode):
        raise ValueError("it is no regular file")
    return path


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"its base64 is damaged ({error})") from error


def _download(address: str, timeout: float) -> bytes:
    """The content of an address; servers that send too slowly or too much are left."""
    deadline, content = time.monotonic() + timeout, bytearray()
    with get_session().stream("GET", address, timeout=timeout, follow_redirects=True) as response:
        response.raise_for_status()
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > LARGEST_DOWNLOAD:
                raise ValueError(f"more than {LARGEST_DOWNLOAD} bytes were sent")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all was sent within {timeout:g} seconds")
    return bytes(content)


def _what_it_is(file: BinaryIO | Path) -> str:
    """Why Pillow does not know the format of a file."""
    beginning = _beginning(file)
    if not beginning:
        return "it is empty"
    for pattern, words in _OTHER_CONTENT.items():
        if re.match(pattern, beginning, re.IGNORECASE | re.DOTALL):
            return words
    return "it is damaged, or no image of a known format"


def _beginning(file: BinaryIO | Path) -> bytes:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return opened.read(1024)
    file.seek(0)
    return file.read(1024)


def _name(source: Any) -> str:
    if isinstance(source, Mapping):
        source = source.get("path") or source.get("bytes")
    if isinstance(source, str) and (_DATA_ADDRESS.match(source) or source.startswith(_BASE64_BEGINNINGS)):
        return "the given base64 text"
    if isinstance(source, str | os.PathLike):
        return str(source)
    # Of PIL images and open files.
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return name if isinstance(name, str) and name else f"the given {type(source).__name__}"


def _printable(name: str) -> str:
    """A name for a message of one line: newlines and the like escaped, long ones cut in the middle."""
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME // 2]}…{shown[-_LONGEST_NAME // 2 :]}"


def _first_line(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.splitlines() or [""])[0] or type(error).__name__
