# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What may be the name of a class."""

from __future__ import annotations

from typing import Any


def is_class_name(value: Any) -> bool:
    """Whether it is a text that is not empty and that every format can store: half of a surrogate pair has no UTF-8."""
    if not isinstance(value, str) or not value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
