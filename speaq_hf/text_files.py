# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Text files that are complete or not there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from .complete_files import complete_file, unfinished_name


def check_writable(path: str | os.PathLike) -> None:
    """Makes sure that a file can be written, which is better known before a long inspection; missing folders are made.

    Raises:
        OSError: It is a folder, or cannot be made.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = unfinished_name(path)
    unfinished.touch()
    unfinished.unlink()


def check_not_replaced(
    written: Mapping[str, str | os.PathLike | None], read: Iterable[str | os.PathLike] = ()
) -> None:
    """Makes sure that no file to be written takes the place of another, or of one that is read.

    Args:
        written: Files to write, by the options that name them; None where there is none.
        read: Files that are read.

    Raises:
        ValueError: Two are the same file.
    """
    takers = {Path(path).expanduser().resolve(): "is read" for path in read}
    for option, path in written.items():
        if path is None:
            continue
        place = Path(path).expanduser().resolve()
        if place in takers:
            raise ValueError(f"{option}: {path} {takers[place]}, and would be replaced; name another file")
        takers[place] = f"is what {option} names, too"


def write_text(path: str | os.PathLike, content: str) -> None:
    """Writes a text file, complete or not at all; missing folders are made."""
    path = Path(path)
    check_writable(path)
    with complete_file(path) as unfinished:
        unfinished.write_text(content, encoding="utf-8")
