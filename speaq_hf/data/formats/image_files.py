# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Image files of a data set: finding them, their sizes, and copying them unchanged."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag


_SIGNATURES = {".jpg": b"\xff\xd8\xff", ".png": b"\x89PNG\r\n\x1a\n"}
_TURNED = range(5, 9)  # EXIF orientations that exchange width and height
_JPEG_QUALITY = 95


class ImageFinder:
    """Finds image files by name in the first of several folders that has them; lists each folder once.

    Args:
        folders: Where to look, the most likely one first.
        remedy: What to do about a missing image.
    """

    def __init__(self, folders: Sequence[Path], remedy: str = "put it there") -> None:
        self.folders = list(dict.fromkeys(Path(os.path.abspath(folder)) for folder in folders))
        self.remedy = remedy
        self._listings: dict[str, frozenset[str]] = {}

    def path(self, name: str, where: str) -> str:
        """Absolute path of an image.

        Raises:
            FileNotFoundError: None of the folders holds it; the message names `where`.
        """
        for folder in self.folders:
            parent, base = os.path.split(os.path.join(folder, name))
            if base in self._listing(parent):
                return os.path.join(parent, base)
        raise FileNotFoundError(
            f"{where}: there is no image {name!r} in {', '.join(map(str, self.folders))}; {self.remedy}"
        )

    def _listing(self, folder: str) -> frozenset[str]:
        if folder not in self._listings:
            self._listings[folder] = frozenset(os.listdir(folder) if os.path.isdir(folder) else ())
        return self._listings[folder]


def image_size(path: str, where: str) -> tuple[int, int]:
    """Width and height of an image as it is shown, that is after turning by its EXIF orientation.

    Raises:
        ValueError: The file is not an image.
    """
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(ExifTag.Orientation) in _TURNED
            return image.size[::-1] if turned else image.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{where}: {path} is not a readable image ({error})") from error


def encoded_images(dataset: datasets.Dataset) -> Iterator[bytes]:
    """The image files of a dataset, row after row, as they are stored.

    Raises:
        FileNotFoundError: A file is gone.
        ValueError: A row has no image.
    """
    encoded = dataset.with_format(None).select_columns(["image"]).cast_column("image", datasets.Image(decode=False))
    for row, example in enumerate(encoded):
        image = example["image"]
        if image is None or (image["bytes"] is None and image["path"] is None):
            raise ValueError(f"row {row}, column 'image': there is no image")
        yield image["bytes"] if image["bytes"] is not None else _read(image["path"], row)


def write_image(content: bytes, folder: Path, name: str, formats: Sequence[str], where: str) -> str:
    """Writes an image file unchanged if its format is allowed, else encoded in the last allowed format.

    Args:
        content: An image file.
        folder: Where to write it.
        name: File name without suffix.
        formats: Allowed suffixes, of ".jpg" and ".png".
        where: For messages.

    Returns:
        The file name with suffix.

    Raises:
        ValueError: It has to be encoded, but is not a readable image.
    """
    suffix = next((suffix for suffix in formats if content.startswith(_SIGNATURES[suffix])), None)
    if suffix is None:
        suffix = formats[-1]
        content = _encoded(content, suffix, where)
    (folder / f"{name}{suffix}").write_bytes(content)
    return f"{name}{suffix}"


def _read(path: str, row: int) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise FileNotFoundError(f"row {row}, column 'image': cannot read {path} ({error.strerror})") from error


def _encoded(content: bytes, suffix: str, where: str) -> bytes:
    buffer = io.BytesIO()
    try:
        with Image.open(io.BytesIO(content)) as image:
            upright = ImageOps.exif_transpose(image)
            if suffix == ".jpg":
                upright.convert("RGB").save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
            else:
                upright.save(buffer, "PNG")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{where}: its image is not readable ({error})") from error
    return buffer.getvalue()
