# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Plain-text tables of metrics."""

from collections.abc import Mapping, Sequence
from typing import Any


def format_table(
    columns: Mapping[str, Mapping[str, Any]],
    rows: Sequence[str],
    heading: str = "",
    intervals: Mapping[str, Mapping[str, tuple[float, float] | None]] | None = None,
) -> str:
    """A table with one row per name and one column per mapping, in percent.

    Args:
        columns: Column name -> row name -> share in [0, 1]; missing and undefined numbers show as a dash.
        rows: Row names in order.
        heading: Above the row names.
        intervals: Column name -> row name -> lower and upper end, shown behind the number.

    Returns:
        Aligned lines.

    Example:
        >>> print(format_table({"a": {"R@20": 0.5}, "b": {}}, ["R@20"]))
                 a     b
        R@20 50.00     -
        >>> print(format_table({"@20": {"R": 0.5}}, ["R"], intervals={"@20": {"R": (0.4, 0.55)}}))
                         @20
        R 50.00 [40.0, 55.0]
    """
    cells = {
        name: [_cell(values.get(row), (intervals or {}).get(name, {}).get(row)) for row in rows]
        for name, values in columns.items()
    }
    widths = {name: max(map(len, (name, *texts, "00.00"))) + 1 for name, texts in cells.items()}
    first = max(len(name) for name in (*rows, heading))
    lines = [heading.ljust(first) + "".join(name.rjust(width) for name, width in widths.items())]
    for number, row in enumerate(rows):
        lines.append(row.ljust(first) + "".join(cells[name][number].rjust(width) for name, width in widths.items()))
    return "\n".join(lines)


def _cell(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None or value != value:
        return "-"
    low, high = interval or (None, None)
    return f"{100 * value:.2f}" + ("" if low is None or low != low else f" [{100 * low:.1f}, {100 * high:.1f}]")
