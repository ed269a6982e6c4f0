# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What all HTML pages share: their templates and style, and pictures inside the page."""

from __future__ import annotations

import base64
import json
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup


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


def embedded_json(value: Any) -> Markup:
    """A value as JSON that may stand inside a script element: no text in it can end the element.

    Raises:
        ValueError: A number is nan or infinite, which JSON does not know.
    """
    return htmlsafe_json_dumps(value, dumps=json.dumps, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
