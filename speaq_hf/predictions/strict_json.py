# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""JSON in which no field may be given twice: Python's reader would silently take the last one."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: bytes, where: str) -> Any:
    """Parses JSON in UTF-8. NaN and Infinity pass: who reads the field can tell its name.

    Args:
        text: The JSON.
        where: Its place, for messages.

    Returns:
        The value.

    Raises:
        ValueError: It is not JSON, or an object has a field twice.
    """
    try:
        return json.loads(text.decode("utf-8-sig"), object_pairs_hook=_unique)
    except _RepeatedFieldError as error:
        raise ValueError(f"{where}{error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not valid JSON, the file may be cut off or damaged ({error})") from error


class _RepeatedFieldError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        image = next((f", image {entry[key]!r}" for key in ("image_id", "id") if key in entry), "")
        raise _RepeatedFieldError(f"{image}: the field '{repeated}' occurs twice in one object; which one is meant?")
    return entry
