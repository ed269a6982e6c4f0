# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What all HTML pages share: their templates and style, and pictures inside the page."""

from __future__ import annotations

import base64
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_template(name: str, **values: Any) -> str:
    """Fills a template of the folder `templates`.

    Args:
        name: Its file name.
        values: What it shows; every text is escaped.

    Returns:
        The page.
    """
    environment = Environment(
        loader=PackageLoader("speaq_hf"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(**values)


def data_uri(content: bytes, media_type: str) -> str:
    """A file as an address that holds its content, so that the page needs no other file."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
