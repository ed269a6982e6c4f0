# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Plain-text tables of metrics."""

from collections.abc import Mapping, Sequence
from typing import Any


def format_table(columns: Mapping[str, Mapping[str, Any]], rows: Sequence[str], heading: str = "") -> str:
    """A table with one row per name and one column per mapping, in percent.

    Args:
        columns: Column name -> row name -> share in [0, 1]; missing and undefined numbers show as a dash.
        rows: Row names in order.
        heading: Above the row names.

    Returns:
        Aligned lines.

    Example:
        >>> print(format_table({"a": {"R@20": 0.5}, "b": {}}, ["R@20"]))
                 a     b
        R@20 50.00     -
    """
    widths = {name: max(len(name), 5) + 1 for name in columns}
    first = max(len(name) for name in (*rows, heading))
    lines = [heading.ljust(first) + "".join(name.rjust(width) for name, width in widths.items())]
    for row in rows:
        cells = (format_percent(columns[name].get(row)).rjust(width) for name, width in widths.items())
        lines.append(row.ljust(first) + "".join(cells))
    return "\n".join(lines)


def format_percent(value: float | None) -> str:
    """0.5 as 50.00; a dash for a number that is missing or not defined."""
    return "-" if value is None or value != value else f"{100 * value:.2f}"
