# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Names that anybody may have given, as parts of Markdown."""

from __future__ import annotations

import re


_SPECIAL = re.compile(r"([\\`*<>\[\]|&])")


def markdown_text(text: str) -> str:
    """A text that Markdown shows as it is, in a sentence, a heading or the cell of a table.

    Args:
        text: Line breaks become spaces.

    Example:
        >>> markdown_text("a|b <i>")
        'a\\\\|b \\\\<i\\\\>'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
