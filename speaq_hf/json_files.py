# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Results as JSON files."""

from __future__ import annotations

import json
import math
import os
from typing import Any

from .text_files import write_text


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Writes a file, complete or not at all; missing folders are made. Numbers that are not finite become null.

    Raises:
        OSError: It cannot be written.
    """
    write_text(path, json.dumps(finite_or_none(content), indent=2, allow_nan=False) + "\n")


def finite_or_none(value: Any) -> Any:
    """The value with None for every number in it that is nan or infinite, which JSON does not know; tuples become lists."""
    if isinstance(value, dict):
        return {key: finite_or_none(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_or_none(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
