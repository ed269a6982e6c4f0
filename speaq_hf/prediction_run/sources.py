# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What a user names (files, folders, patterns, addresses) as images and videos, each with an id of its own."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from ..image_reading import ImageSource
from .image_ids import unique_ids


VIDEO_SUFFIXES = frozenset(
    (".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".webm", ".wmv")
)
_URL_SCHEMES = ("http://", "https://")


@dataclass(frozen=True)
class SourceImage:
    """An image to predict.

    Args:
        id: Written as `image_id`.
        name: What the user calls it: path or address.
        read: Gives what `read_image` takes.
        file: Where it lies, if it is a file of this machine that a user named.
    """

    id: int | str
    name: str
    read: Callable[[], ImageSource]
    file: Path | None = None

    is_video = False


@dataclass(frozen=True)
class SourceVideo:
    """A video to predict.

    Args:
        id: Its frames are written as `<id>#<number>`.
        name: Path or address; of a camera number or name.
        is_camera: Whether it is a camera, which goes on until somebody ends it.
    """

    id: int | str
    name: str
    is_camera: bool = False

    is_video = True

    @property
    def file(self) -> Path | None:
        """Where it lies, if it is a file of this machine."""
        return None if self.is_camera or _is_url(self.name) else Path(self.name)


Source = SourceImage | SourceVideo


@dataclass(frozen=True)
class SourceOptions:
    """What a user can name.

    Args:
        named: Files, folders, patterns and addresses, see `find_sources`.
        recursive: Take the images of folders in folders, too.
        data: A scene graph data set, in whose place nothing else can be named.
        split: Of that set.
        camera: Number or name of a camera, likewise.
    """

    named: Sequence[str | os.PathLike] = ()
    recursive: bool = False
    data: str | None = None
    split: str = "test"
    camera: str | None = None

    def find(self) -> list[Source]:
        """The images and videos.

        Raises:
            FileNotFoundError: See `find_sources`.
            ValueError: Nothing is named, or several kinds at once.
        """
        if bool(self.named) + (self.data is not None) + (self.camera is not None) != 1:
            raise ValueError("name images, folders or videos, or --data, or --webcam")
        if self.data is not None:
            return images_of_data_set(self.data, self.split)
        if self.camera is not None:
            return [SourceVideo("webcam", self.camera, is_camera=True)]
        return find_sources(self.named, self.recursive)


@dataclass(frozen=True)
class _Found:
    """A file or address, and its name relative to what the user named."""

    place: str
    relative: str

    @property
    def is_video(self) -> bool:
        path = self.place.split("?")[0] if _is_url(self.place) else self.place
        return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES


def find_sources(named: Sequence[str | os.PathLike], recursive: bool = False) -> list[Source]:
    """Finds the images and videos behind names.

    Args:
        named: Image and video files, folders (of which images are taken), patterns with `*`, `?`, `[…]` and `**`, and addresses
            (http, https), in any mixture.
        recursive: Take the images of folders in folders, too.

    Returns:
        Every file once, in the order named; those of a folder or pattern sorted by name.

    Raises:
        FileNotFoundError: A file or folder does not exist, or holds no image, or a pattern fits none.
    """
    found: dict[str, _Found] = {}
    for name in named:
        for entry in _find(os.fspath(name), recursive):
            place = entry.place if _is_url(entry.place) else os.path.realpath(entry.place)
            found.setdefault(place, entry)
    entries = list(found.values())
    ids = unique_ids([(entry.relative, Path(entry.place).as_posix()) for entry in entries])
    _check_frames([str(id) for id in ids], {str(id) for id, entry in zip(ids, entries, strict=True) if entry.is_video})
    return [
        SourceVideo(id, entry.place)
        if entry.is_video
        else SourceImage(
            id, entry.place, partial(str, entry.place), None if _is_url(entry.place) else Path(entry.place)
        )
        for id, entry in zip(ids, entries, strict=True)
    ]


def _check_frames(ids: Iterable[str], videos: set[str]) -> None:
    """An image could be called like a frame of a video."""
    for id in ids:
        video, _, number = id.rpartition("#")
        if video in videos and number.isdecimal():
            raise ValueError(
                f"the image {id} is called like a frame of the video {video}; predict them one after the other"
            )


def images_of_data_set(path: str, split: str) -> list[Source]:
    """The images of a scene graph data set, in its order and with its ids.

    Args:
        path: Of any format that `load_scene_graphs` reads.
        split: Of the set.
    """
    from datasets import Image as ImageFeature

    from ..data.formats.image_files import stored_names
    from ..data.scene_graph_files import load_scene_graphs

    dataset = load_scene_graphs(path, split)
    images = dataset.select_columns("image").cast_column("image", ImageFeature(decode=False))
    ids = dataset.with_format("arrow")["image_id"][:].to_pylist()
    names = stored_names(dataset)
    return [
        SourceImage(id, name or f"image {id}", partial(_stored_image, images, row))
        for row, (id, name) in enumerate(zip(ids, names, strict=True))
    ]


def _stored_image(images: Any, row: int) -> bytes | str:
    stored = images[row]["image"]
    return stored["bytes"] or stored["path"]


def _find(name: str, recursive: bool) -> Iterable[_Found]:
    if _is_url(name):
        return [_Found(name, name)]
    path = os.path.expanduser(name)
    if os.path.isdir(path):
        return _images_of_folder(path, recursive)
    if os.path.lexists(path):
        return [_Found(path, os.path.basename(path))]
    if glob.has_magic(path):
        return _fitting(path)
    raise FileNotFoundError(
        f"{name} does not exist; name images, folders, videos, addresses, or quoted patterns as '*.jpg'"
    )


def _fitting(pattern: str) -> list[_Found]:
    fitting = [path for path in glob.glob(pattern, recursive=True) if not os.path.isdir(path)]
    if not fitting:
        raise FileNotFoundError(f"no file fits {pattern!r}")
    root = _fixed_part(pattern)
    return _sorted([_Found(path, _relative(path, root)) for path in fitting])


def _fixed_part(pattern: str) -> str:
    """The folders of a pattern before its first wildcard."""
    parts = Path(pattern).parts[:-1]
    first = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return os.path.join(*parts[:first]) if first else "."


def _images_of_folder(folder: str, recursive: bool) -> list[_Found]:
    suffixes = _image_suffixes()
    paths = list(_visible_files(folder, recursive))
    images = [path for path in paths if os.path.splitext(path)[1].lower() in suffixes]
    if not images:
        raise FileNotFoundError(f"{folder} holds no image files{_what_else(folder, paths, recursive)}")
    return _sorted([_Found(path, _relative(path, folder)) for path in images])


def _sorted(found: list[_Found]) -> list[_Found]:
    return sorted(found, key=lambda entry: PurePosixPath(entry.relative).parts)


def _what_else(folder: str, paths: list[str], recursive: bool) -> str:
    """What may have been meant with a folder that has no images."""
    videos = [path for path in paths if os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES]
    if videos:
        return f", but videos: name them, for example '{os.path.join(folder, '*' + os.path.splitext(videos[0])[1])}'"
    if not recursive and any(entry.is_dir() for entry in os.scandir(folder)):
        return ", but folders: --recursive looks into them"
    return f" ({len(paths)} files of other kinds)" if paths else ""


def _visible_files(folder: str, recursive: bool) -> Iterator[str]:
    """Files whose names do not begin with a dot, as those that systems put beside images do."""
    for root, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        yield from (os.path.join(root, name) for name in files if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error


def _image_suffixes() -> set[str]:
    """Of the formats that Pillow reads."""
    return {suffix for suffix, format in Image.registered_extensions().items() if format in Image.OPEN} - {".pdf"}


def _relative(path: str, root: str) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def _is_url(name: str) -> bool:
    return name.lower().startswith(_URL_SCHEMES)
