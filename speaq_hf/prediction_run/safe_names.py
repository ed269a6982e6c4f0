# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""File names for images and videos that are called anything."""

from __future__ import annotations

import hashlib
import re


_LONGEST = 200  # characters; file systems allow 255 bytes


def safe_name(id: int | str) -> str:
    """A relative path, without suffix, that lies below its folder and is allowed on every system.

    Args:
        id: Of an image or video. Different ones get different names.

    Example:
        >>> safe_name("beach/7"), safe_name("../a:b")
        ('beach/7', 'a_b-0a1fd4c0')
    """
    name = str(id)
    parts = [re.sub(r"[^\w.\- #]", "_", part)[-_LONGEST:].strip(" ") for part in name.split("/") if part.strip(". ")]
    safe = "/".join(parts) or "_"
    if safe == name:
        return name
    # So changed, two could be alike.
    return f"{safe}-{hashlib.blake2b(name.encode(errors='surrogatepass'), digest_size=4).hexdigest()}"
