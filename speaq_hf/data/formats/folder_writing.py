# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Folders that are there completely or not at all, and that replace nothing but a folder written here before."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path


MARKER = ".written_by_speaq_hf"  # lists the files that were written
_LEFT_BY_TOOLS = (".DS_Store", "Thumbs.db", "cache-*.arrow")  # file managers, and `datasets` beside its tables


@contextmanager
def new_folder(path: Path, overwrite: bool) -> Iterator[Path]:
    """Gives a folder to fill, which becomes `path` when the block ends well and is removed when it does not.

    Args:
        path: The folder to make, or a link to it; its parents are made too.
        overwrite: Replace, in the end, a folder that this function made and that holds nothing else.

    Raises:
        FileExistsError: `path` is a file, or a folder with content that may not be replaced.
    """
    path = Path(os.path.realpath(path))  # of a link, what it leads to is made or replaced
    _check_replaceable(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
        (unfinished / MARKER).write_text(json.dumps(_files(unfinished), indent=0), encoding="utf-8")
        _check_replaceable(path, overwrite)  # what came in the meantime
        _replace(path, unfinished)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def check_apart(target: Path, sources: Iterable[Path]) -> None:
    """Makes sure that writing a folder touches no source.

    Args:
        target: The folder to write.
        sources: Files and folders that are read.

    Raises:
        FileExistsError: The target is a source, contains one, or lies inside one.
    """
    target = target.resolve()
    for source in sources:
        source = source.resolve()
        if target == source or target in source.parents or source in target.parents:
            relation = "is" if target == source else "contains" if target in source.parents else "lies inside"
            raise FileExistsError(f"the target {target} {relation} the source {source}; name a folder beside it")


def _check_replaceable(path: Path, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file; name a folder")
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not overwrite:
        raise FileExistsError(
            f"{path} is not empty; name another folder, or overwrite it with overwrite=True (--overwrite)"
        )
    written = set(_written_files(path))
    foreign = [file for file in _files(path) if file not in written and not _is_left_by_tools(file)]
    if foreign:
        what = f"holds {foreign[0]}" + (f" and {len(foreign) - 1} more files" if len(foreign) > 1 else "")
        raise FileExistsError(
            f"{path} {what}, which save_scene_graphs or convert-data did not write; only folders that hold nothing else "
            "are overwritten: name another folder, or remove this one yourself"
        )


def _written_files(path: Path) -> list[str]:
    """What the marker lists; nothing without a marker."""
    try:
        content = json.loads((path / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [MARKER, *(name for name in content if isinstance(name, str))] if isinstance(content, list) else []


def _files(folder: Path) -> list[str]:
    """All files below a folder, and folders behind links, relative to it."""
    found = []
    for place, folders, files in os.walk(folder):
        names = [*files, *(name for name in folders if os.path.islink(os.path.join(place, name)))]
        found += [Path(place, name).relative_to(folder).as_posix() for name in names]
    return sorted(found)


def _is_left_by_tools(file: str) -> bool:
    return any(fnmatch(os.path.basename(file), pattern) for pattern in _LEFT_BY_TOOLS)


def _replace(path: Path, folder: Path) -> None:
    """Renames `folder` to `path`; what was there is removed after it."""
    replaced = folder.with_suffix(".replaced")
    if path.exists():
        os.replace(path, replaced)
    os.replace(folder, path)
    shutil.rmtree(replaced, ignore_errors=True)
