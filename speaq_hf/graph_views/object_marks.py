# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""How objects are told apart in every picture of a graph: a colour each, and a number where names repeat."""

from __future__ import annotations

from ..models.speaq.scene_graph_text_speaq import numbered_names


__all__ = ["PALETTE", "luminance", "numbered_names", "object_colors", "text_color"]


# Twenty hues that differ from their neighbours; readable under black or white text.
PALETTE = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#17becf", "#bcbd22", "#e377c2", "#8c564b", "#00897b",
    "#f4b400", "#5c6bc0", "#c0ca33", "#ad1457", "#4fc3f7", "#6d4c41", "#81c784", "#ff8a65", "#7e57c2", "#ec407a",
)  # fmt: skip


def object_colors(count: int) -> list[str]:
    """Colours `#rrggbb` of the objects of a graph, in their order; after twenty they repeat."""
    return [PALETTE[i % len(PALETTE)] for i in range(count)]


def text_color(background: str) -> str:
    """Black or white, whichever contrasts more with `#rrggbb`."""
    return "black" if luminance(background) > 0.18 else "white"


def luminance(color: str) -> float:
    """Relative luminance of `#rrggbb` in [0, 1] (ITU-R BT.709)."""
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
