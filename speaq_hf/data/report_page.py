# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A data report as one HTML page that needs no other file and no network."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..html_pages import data_uri, render_template
from ..visualization import plot_scene_graph
from .report import DataReport, ReportedSet, SampleGraph
from .report_text import chi_square_sentence, tail_sentence
from .set_comparison import ClassComparison
from .set_summary import AREA_EDGES, ClassCounts, SetSummary, histogram_quantile


_COLORS = ("#1f6fb4", "#e07b16")
_GAPS_SHOWN = 15


def report_page(report: DataReport, dpi: int = 110) -> str:
    """The report as HTML, pictures included.

    Args:
        report: What to show.
        dpi: Resolution of the sample pictures, which are shown pixel by pixel where the page is wide enough: at 110 their
            smallest text is 12 pixels high.

    Returns:
        The page; every text of the data is escaped.
    """
    counted = [(i, reported) for i, reported in enumerate(report.sets) if reported.summary is not None]
    return render_template(
        "data_report.html",
        title="Data report: " + " and ".join(reported.name for reported in report.sets),
        colors=_COLORS,
        sets=[_set_values(reported, dpi) for reported in report.sets],
        histograms=_histograms(counted) if counted else None,
        charts=[
            _chart(heading, kind, counted, getattr(report, kind))
            for heading, kind in (("Predicates", "predicates"), ("Objects", "objects"))
        ]
        if counted
        else [],
    )


def _set_values(reported: ReportedSet, dpi: int) -> dict[str, Any]:
    summary, defects = reported.summary, reported.defects
    splits = [*summary.splits.items(), ("total", summary.total)] if summary is not None else []
    return {
        "name": reported.name,
        "summary": summary is not None,
        "splits": [
            (name, (c.images, c.boxes, c.relations, c.images_without_boxes, c.images_without_relations))
            for name, c in splits
        ],
        "defects": defects.by_kind(),
        "samples": [{"name": sample.name, "picture": _sample_picture(sample, dpi)} for sample in reported.samples],
    }


def _sample_picture(sample: SampleGraph, dpi: int) -> str:
    figure = plot_scene_graph(sample.graph, sample.image, show_scores=False)
    return _figure_uri(figure, "webp", "image/webp", dpi=dpi, pil_kwargs={"quality": 85})


def _figure_uri(figure: Figure, file_format: str, media_type: str, **options: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=file_format, **options)
    return data_uri(buffer.getvalue(), media_type)


# Histograms -----------------------------------------------------------------------------------------------------------


def _histograms(counted: Sequence[tuple[int, ReportedSet]]) -> str:
    figure = Figure(figsize=(12.4, 3.4), layout="constrained")
    per_boxes, per_relations, areas = figure.subplots(1, 3)
    summaries = [(_COLORS[i], reported.summary) for i, reported in counted]
    _plot_counts(per_boxes, [(color, s.boxes_per_image) for color, s in summaries], "Boxes per image")
    _plot_counts(per_relations, [(color, s.relations_per_image) for color, s in summaries], "Relations per image")
    _plot_areas(areas, summaries)
    for axes in (per_boxes, per_relations, areas):
        axes.spines[["top", "right"]].set_visible(False)
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.set_ylim(bottom=0)
    return _figure_uri(figure, "svg", "image/svg+xml")


def _plot_counts(axes: Axes, histograms: Sequence[tuple[str, np.ndarray]], title: str) -> None:
    """Shares of images over 0, 1, …, with one bar for the values of the last half percent of the images."""
    last = max(1, *(histogram_quantile(histogram, 0.995) for _, histogram in histograms))
    for color, histogram in histograms:
        head = np.zeros(last + 1)
        head[: len(histogram)] = histogram[: last + 1]
        head[last] += histogram[last + 1 :].sum()
        _plot_steps(axes, head / max(head.sum(), 1), np.arange(last + 2) - 0.5, color)
    axes.set(title=title, ylabel="images", xlim=(-0.5, last + 0.5))
    axes.xaxis.get_major_locator().set_params(integer=True)


def _plot_areas(axes: Axes, summaries: Sequence[tuple[str, SetSummary]]) -> None:
    for color, summary in summaries:
        _plot_steps(axes, summary.box_areas / max(summary.box_areas.sum(), 1), AREA_EDGES, color)
    axes.set(title="Box area / image area", ylabel="boxes", xscale="log", xlim=(AREA_EDGES[0], AREA_EDGES[-1]))


def _plot_steps(axes: Axes, values: np.ndarray, edges: np.ndarray, color: str) -> None:
    axes.stairs(values, edges, fill=True, color=color, alpha=0.25)
    axes.stairs(values, edges, color=color, linewidth=1.4)


# Distributions --------------------------------------------------------------------------------------------------------


def _chart(
    heading: str, kind: str, counted: Sequence[tuple[int, ReportedSet]], comparison: ClassComparison | None
) -> dict[str, Any]:
    names, colors = [reported.name for _, reported in counted], [_COLORS[i] for i, _ in counted]
    classes: list[ClassCounts] = [getattr(reported.summary, kind) for _, reported in counted]
    shares = _shares_by_name(classes)
    decades = _decades(share for pair in shares.values() for share in pair)
    order = sorted((name for name in shares if any(shares[name])), key=lambda name: [-share for share in shares[name]])
    values = {
        "heading": heading,
        "names": names,
        "tails": list(zip(names, map(tail_sentence, classes), strict=True)),
        "decade": 100 / decades,
        "bars": [
            {"name": name, "parts": [_bar(*part, decades) for part in zip(names, colors, shares[name], strict=True)]}
            for name in order
        ],
        "unused": [name for name in shares if not any(shares[name])],
        "comparison": comparison,
    }
    if comparison is not None:
        sentence = chi_square_sentence(comparison.chi_square)
        values["chi_square"] = sentence[0].upper() + sentence[1:]
        values["exclusive"] = list(zip(names, (comparison.only_first, comparison.only_second), strict=True))
        values["gaps"] = comparison.gaps[:_GAPS_SHOWN]
    return values


def _shares_by_name(classes: Sequence[ClassCounts]) -> dict[str, list[float]]:
    """Share of every class in each set, 0 where a vocabulary lacks it."""
    tables = [dict(zip(c.names, c.shares.tolist(), strict=True)) for c in classes]
    return {name: [table.get(name, 0.0) for table in tables] for table in tables for name in table}


def _decades(shares: Iterable[float]) -> int:
    """How many powers of ten the axis spans below 100 %, so that the smallest share still shows."""
    return math.floor(-math.log10(min((share for share in shares if share), default=1.0))) + 1


def _bar(set_name: str, color: str, share: float, decades: int) -> dict[str, Any]:
    return {
        "width": round(100 * (1 + math.log10(share) / decades), 2) if share else 0,
        "color": color,
        "share": _percent(share),
        "title": f"{set_name}: {share:.4%}",
    }


def _percent(share: float) -> str:
    """Two digits, never in exponents."""
    if share == 0:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(100 * share)))
    return f"{100 * share:.{digits}f} %"
