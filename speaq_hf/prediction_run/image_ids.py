# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Ids of images that were named as files, so that a ground truth recognises them and no two are alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath


_LARGEST = 2**63  # what readers take for a number


def unique_ids(names: Sequence[tuple[str, str]]) -> list[int | str]:
    """Ids of images, as Visual Genome, COCO and image folders number theirs.

    An id is the name within the folder without its suffix; a number where that is made of digits. Names that would get the
    same id keep their suffix and, where that does not help, their whole path.

    Args:
        names: For each image its name within the folder or pattern that the user named, and its whole path or address. Paths are
            unique.

    Returns:
        An id for each, all different, also as text.

    Example:
        >>> unique_ids([("000000000139.jpg", "val2017/000000000139.jpg"), ("beach/7.jpg", "photos/beach/7.jpg")])
        [139, 'beach/7']
        >>> unique_ids([("a.jpg", "x/a.jpg"), ("a.png", "x/a.png"), ("b.png", "x/b.png")])
        ['a.jpg', 'a.png', 'b']
    """
    ids: list[int | str] = [_short(relative) for relative, _ in names]
    for longer in ([relative for relative, _ in names], [path for _, path in names]):
        counts = Counter(map(str, ids))
        ids = [longer[row] if counts[str(id)] > 1 else id for row, id in enumerate(ids)]
    # A path may be what another image is called in short; then no id is safe but the path.
    return ids if len(set(map(str, ids))) == len(ids) else [path for _, path in names]


def _short(name: str) -> int | str:
    if "://" in name:
        return name
    stem = str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).name else name
    is_number = stem.isascii() and stem.isdecimal() and int(stem) < _LARGEST
    return int(stem) if is_number else stem
