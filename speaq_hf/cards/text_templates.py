# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Templates of plain text and Markdown, in which nothing is escaped but what asks for the filter `markdown_text`."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from .markdown_text import markdown_text


def render_text(name: str, /, **values: Any) -> str:
    """Fills a template of the folder `templates`.

    Args:
        name: Its file name.
        values: What it shows.

    Returns:
        The text, with one line break at its end.
    """
    environment = Environment(
        loader=PackageLoader("speaq_hf"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["markdown_text"] = markdown_text
    return environment.get_template(name).render(**values).rstrip() + "\n"
