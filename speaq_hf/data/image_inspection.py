# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Whether the image files of a set exist, can be decoded, have the size they should have, and are different pictures."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps
from tqdm.auto import tqdm

from .defects import DefectLog, Place
from .visual_genome import CORRUPTED_IMAGE_IDS


@dataclass(frozen=True)
class ImageList:
    """The images of a set, as a file lists them.

    Args:
        file: The file.
        rows: (n,) row of each image in it.
        ids: (n,) image ids, -1 where unknown.
        sizes: (n, 2) width and height in pixels, 0 where unknown.
    """

    file: Path
    rows: np.ndarray
    ids: np.ndarray
    sizes: np.ndarray

    @classmethod
    def unknown(cls, file: Path, num_images: int) -> ImageList:
        """A list of images of which nothing is known."""
        rows = np.full(num_images, -1)
        return cls(file, rows, rows, np.zeros((num_images, 2), np.int64))

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    def select(self, mask: np.ndarray) -> ImageList:
        """The images whose mask (n,) is true."""
        return ImageList(self.file, self.rows[mask], self.ids[mask], self.sizes[mask])


@dataclass(frozen=True)
class ImageFile:
    """An image file, wherever its bytes are.

    Args:
        name: Of the file, for messages; different for different files.
        read: Gives its content.
    """

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class _Probe:
    """What decoding a file gave: (width, height) and a digest of the file, or an error."""

    size: tuple[int, int] | None = None
    digest: bytes = b""
    error: str = ""


def inspect_images(
    folder: Path,
    images: ImageList,
    log: DefectLog,
    *,
    decode: bool = True,
    num_threads: int | None = None,
    progress: bool = False,
) -> list[Path | None]:
    """Looks at the file `<image_id>.jpg` of every image and notes the defects.

    Args:
        folder: Folder of the image files.
        images: What they should be; those of unknown id are passed over.
        log: Takes the defects.
        decode: Read every file; otherwise only look whether it exists.
        num_threads: Threads that decode; default some more than cores.
        progress: Show a progress bar.

    Returns:
        Per image its path, None without a file that can be decoded.

    Raises:
        ValueError: `num_threads` is less than 1.
    """
    if num_threads is not None and num_threads < 1:
        raise ValueError(f"num_threads must be at least 1 or None, got {num_threads}")
    paths: list[Path | None] = [None] * len(images)
    if not folder.is_dir():
        log.add("missing_file", folder, f"expected the folder of the images of {images.file}")
        return paths
    present = set(os.listdir(folder))
    names = [f"{image_id}.jpg" for image_id in images.ids.tolist()]
    _note_unlisted(folder, present.difference(names), images, log)
    for i in np.flatnonzero(images.ids >= 0).tolist():
        if names[i] in present:
            paths[i] = folder / names[i]
        else:
            log.add("missing_image", images.file, f"{folder / names[i]} does not exist", row=int(images.rows[i]))
    if decode:
        _inspect_contents(paths, images, log, num_threads, progress)
    return paths


def _note_unlisted(folder: Path, names: set[str], images: ImageList, log: DefectLog) -> None:
    if not len(images):  # a list that could not be read is one defect, not as many as there are files
        return
    for name in sorted(names.difference(f"{image_id}.jpg" for image_id in CORRUPTED_IMAGE_IDS)):
        log.add("unlisted_image", folder / name, f"{images.file} does not name it")


def _inspect_contents(
    paths: list[Path | None], images: ImageList, log: DefectLog, num_threads: int | None, progress: bool
) -> None:
    """Decodes the files; those that cannot be decoded become None in `paths`."""
    files = [None if path is None else ImageFile(str(path), path.read_bytes) for path in paths]
    places = [Place("", str(images.file), None, row) for row in images.rows.tolist()]
    sound = inspect_contents(files, images.sizes, places.__getitem__, log, num_threads=num_threads, progress=progress)
    for i in np.flatnonzero(~sound).tolist():
        paths[i] = None


def inspect_contents(
    files: Sequence[ImageFile | None],
    sizes: np.ndarray,
    place: Callable[[int], Place],
    log: DefectLog,
    *,
    num_threads: int | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Decodes image files and notes those that are unreadable, of another size than they should be, or copies.

    Args:
        files: The files (n,), None where there is none.
        sizes: Width and height that they should have (n, 2), 0 where unknown.
        place: Where a file is named.
        log: Takes the defects.
        num_threads: Threads that decode; default some more than cores.
        progress: Show a progress bar.

    Returns:
        Which files (n,) can be decoded.

    Raises:
        ValueError: `num_threads` is less than 1.
    """
    if num_threads is not None and num_threads < 1:
        raise ValueError(f"num_threads must be at least 1 or None, got {num_threads}")
    sound = np.zeros(len(files), bool)
    found = [i for i, file in enumerate(files) if file is not None]
    first_with: dict[bytes, int] = {}
    for i, probe in zip(found, _probe_all([files[i] for i in found], num_threads, progress), strict=True):
        sound[i] = probe.size is not None
        if probe.size is None:
            log.add_at("unreadable_image", place(i), f"{files[i].name} does not decode ({probe.error})")
            continue
        expected = tuple(sizes[i].tolist())
        if probe.size != expected and all(expected):
            message = f"{files[i].name} is {_times(probe.size)}, the list says {_times(expected)}"
            log.add_at("size_mismatch", place(i), message)
        original = first_with.setdefault(probe.digest, i)
        if original != i and files[original].name != files[i].name:
            log.add_at("duplicate_image", place(i), f"{files[i].name} has the content of {files[original].name}")
    return sound


def _times(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"


def _probe_all(files: list[ImageFile], num_threads: int | None, progress: bool) -> list[_Probe]:
    with ThreadPoolExecutor(num_threads) as pool:
        probes = pool.map(_probe, files)
        return list(tqdm(probes, total=len(files), desc="Decoding images", unit="image", disable=not progress))


def _probe(file: ImageFile) -> _Probe:
    try:
        content = file.read()
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            turned = image.getexif().get(ExifTags.Base.Orientation) is not None  # datasets turns these on access
            size = ImageOps.exif_transpose(image).size if turned else image.size
    except Exception as error:  # decoders raise whatever they stumble over
        return _Probe(error=f"{type(error).__name__}: {error}")
    return _Probe(size, hashlib.blake2b(content, digest_size=16).digest())
