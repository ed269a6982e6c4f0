# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Image files of a data set: finding them, their sizes, and copying them unchanged."""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
import pyarrow.compute as pc
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag

from ..defects import Place


_SIGNATURES = {".jpg": b"\xff\xd8\xff", ".png": b"\x89PNG\r\n\x1a\n"}
_SPELLINGS = {".jpg": (".jpg", ".jpeg", ".jpe", ".jfif"), ".png": (".png",)}
_LONGEST_NAME = 200  # bytes; file systems take 255
_BATCH_ROWS = 1000
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

    def path(self, name: str, where: str | Place) -> str:
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


def image_size(path: str, where: str | Place) -> tuple[int, int]:
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


def file_names(dataset: datasets.Dataset) -> list[str]:
    """A file name for each image of a split: the one it had, or its id where that is unknown.

    Names that several images have, in any case of letters and with any suffix, are told apart by the ids.
    """
    ids = dataset.with_format("arrow")["image_id"][:].to_pylist()
    names = [name or str(image_id) for image_id, name in zip(ids, stored_names(dataset), strict=True)]
    counts = Counter(map(_folded_stem, names))
    parts = [(image_id, *os.path.splitext(name)) for image_id, name in zip(ids, names, strict=True)]
    names = [
        stem + suffix if counts[stem.casefold()] == 1 else f"{stem}-{image_id}{suffix}"
        for image_id, stem, suffix in parts
    ]
    return names if len(set(map(_folded_stem, names))) == len(names) else list(map(str, ids))


def stored_names(dataset: datasets.Dataset) -> list[str]:
    """The file names of the images, row after row, "" where they are unknown."""
    if "image" not in dataset.column_names:
        return [""] * len(dataset)
    names = []
    for batch in dataset.with_format("arrow").select_columns(["image"]).iter(_BATCH_ROWS):
        names += map(_base_name, pc.struct_field(batch["image"], "path").to_pylist())
    return names


def row_in_words(dataset: datasets.Dataset, row: int) -> str:
    """A row and the file name of its image, for messages."""
    (name,) = stored_names(dataset.select([row]))
    return f"row {row} ({name})" if name else f"row {row}"


def image_in_words(split: str, image_id: int, name: str) -> str:
    """An image that is written, for messages."""
    known = f" ({name})" if os.path.splitext(name)[0] != str(image_id) else ""
    return f"split '{split}', image {image_id}{known}"


def _base_name(path: str | None) -> str:
    """The last part of a path where it can be the name of a file anywhere, else ""."""
    name = re.split(r"[/\\]", path or "")[-1]
    usable = not name.startswith(".") and len(name.encode(errors="replace")) <= _LONGEST_NAME and name.isprintable()
    return name if usable else ""


def _folded_stem(name: str) -> str:
    return os.path.splitext(name)[0].casefold()


def write_image(content: bytes, folder: Path, name: str, formats: Sequence[str], where: str) -> str:
    """Writes an image file unchanged if its format is allowed, else encoded in the last allowed format.

    Args:
        content: An image file.
        folder: Where to write it.
        name: File name; another suffix is put in place of one that is not of the format.
        formats: Allowed suffixes, of ".jpg" and ".png".
        where: For messages.

    Returns:
        The file name that was taken.

    Raises:
        ValueError: It has to be encoded, but is not a readable image.
    """
    suffix = next((suffix for suffix in formats if content.startswith(_SIGNATURES[suffix])), None)
    if suffix is None:
        suffix = formats[-1]
        content = _encoded(content, suffix, where)
    stem, given = os.path.splitext(name)
    name = name if given.lower() in _SPELLINGS[suffix] else stem + suffix
    (folder / name).write_bytes(content)
    return name


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
