# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The HTML page of a gallery: a table of metrics and one picture with its relations in words per image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..html_pages import render_template


def render_page(
    *, title: str, description: str, metrics: Mapping[str, Mapping[str, Any]], entries: Sequence[Mapping[str, Any]]
) -> str:
    """Fills the page. Every text is escaped; the page asks for no file but the pictures.

    Args:
        title: Heading.
        description: A sentence under it.
        metrics: Column name -> metric name -> share in [0, 1]. Values that are not numbers (lists) are not shown.
        entries: Per image `name`, `picture` (relative path), and `predicted` and `reference`: pairs of a
            `Triplet` and whether it is a hit.

    Returns:
        HTML.
    """
    return render_template(
        "gallery.html",
        title=title,
        description=description,
        columns=list(metrics),
        rows=_table_rows(metrics),
        entries=entries,
    )


def _table_rows(metrics: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """One row per metric that is a number in some column, in the order of first appearance."""
    names = dict.fromkeys(
        name for column in metrics.values() for name, value in column.items() if isinstance(value, (int, float))
    )
    return [(name, [_format(column.get(name)) for column in metrics.values()]) for name in names]


def _format(value: Any) -> str:
    if not isinstance(value, (int, float)) or math.isnan(value):
        return "\u2013"
    return str(value) if isinstance(value, int) else f"{100 * value:.2f}"
