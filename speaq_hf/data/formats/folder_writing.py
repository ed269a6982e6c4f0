# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Folders that are there completely or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_folder(path: Path, overwrite: bool) -> Iterator[Path]:
    """Gives a folder to fill, which becomes `path` when the block ends well and is removed when it does not.

    Args:
        path: The folder to make, or a link to it; its parents are made too.
        overwrite: Replace a folder that is there, in the end.

    Raises:
        FileExistsError: `path` is a file, or a folder with content that may not be replaced.
    """
    path = Path(os.path.realpath(path))  # of a link, what it leads to is made or replaced
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file; name a folder")
    if not overwrite and path.is_dir() and any(path.iterdir()):
        raise FileExistsError(
            f"{path} is not empty; name another folder, or overwrite it with overwrite=True (--overwrite)"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
        _replace(path, unfinished)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _replace(path: Path, folder: Path) -> None:
    """Renames `folder` to `path`; what was there is removed after it."""
    replaced = folder.with_suffix(".replaced")
    if path.exists():
        os.replace(path, replaced)
    os.replace(folder, path)
    shutil.rmtree(replaced, ignore_errors=True)
