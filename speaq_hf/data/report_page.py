# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A data report as one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..visualization import plot_scene_graph
from .report import DataReport, ReportedSet, SampleGraph
from .report_text import chi_square_sentence, tail_sentence
from .set_comparison import ClassComparison
from .set_summary import AREA_EDGES, ClassCounts, SetSummary, histogram_quantile


_COLORS = ("#1f6fb4", "#e07b16")
_GAPS_SHOWN = 15

_TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  :root { color-scheme: light; --ink: #1c2430; --soft: #5f6b7a; --line: #dfe4ea; --error: #c62828; --warning: #9a6700; }
  body { margin: 0 auto; max-width: 1280px; padding: 2rem 1.5rem 4rem; color: var(--ink); background: #f6f7f9;
         font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
  h1 { margin: 0 0 .25rem; font-size: 1.7rem; overflow-wrap: anywhere; }
  h2 { margin: 0 0 .75rem; font-size: 1.2rem; }
  h3 { margin: 1.25rem 0 .5rem; font-size: 1rem; overflow-wrap: anywhere; }
  h3:first-of-type { margin-top: 0; }
  p { margin: .25rem 0 .75rem; max-width: 90ch; }
  .soft { color: var(--soft); font-size: .9rem; }
  section { margin-top: 1.5rem; padding: 1.25rem; background: white; border: 1px solid var(--line); border-radius: 8px; }
  .table { overflow-x: auto; }
  table { border-collapse: collapse; border: 1px solid var(--line); font-variant-numeric: tabular-nums; }
  th, td { padding: .3rem .9rem; border-bottom: 1px solid var(--line); text-align: right; }
  th:first-child { text-align: left; font-weight: normal; }
  thead th, thead th:first-child { background: #eef1f5; font-weight: bold; }
  tr.total th, tr.total td { font-weight: bold; }
  img { display: block; max-width: 100%; height: auto; }
  .key::before { content: ""; display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px;
                 background: var(--color); }
  .bars { columns: 340px 3; column-gap: 2rem; margin-top: .5rem; }
  .bar { display: grid; grid-template-columns: 8rem 1fr; align-items: center; gap: 0 .5rem; break-inside: avoid;
         padding: 1px 0; font-size: .8rem; line-height: 12px; }
  .bar > span { text-align: right; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; line-height: 1.2; }
  .part { display: grid; grid-template-columns: 1fr 3.2rem; gap: .4rem; font-size: .7rem; color: var(--soft);
          font-variant-numeric: tabular-nums; }
  .track { background-color: #f3f5f8; background-size: var(--decade) 100%;
           background-image: linear-gradient(to right, transparent calc(100% - 1px), #bcc5d0 calc(100% - 1px)); }
  .track div { height: 11px; background: var(--color); opacity: .85; }
  .samples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(560px, 100%), 1fr)); gap: 1.25rem; }
  .samples h3 { margin: 0 0 .25rem; }
  details { margin: .35rem 0; }
  summary { cursor: pointer; }
  ul { margin: .25rem 0 .75rem; padding-left: 1.6rem; font-size: .85rem; overflow-wrap: anywhere; }
  .error { color: var(--error); font-weight: bold; } .warning { color: var(--warning); font-weight: bold; }
  code { font-size: .9em; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p class="soft">{% for set in sets %}<span class="key" style="--color: {{ colors[loop.index0] }}">{{ set.name }}</span>
{%- if not loop.last %} &nbsp; {% endif %}{% endfor %}</p>

<section>
<h2>Size</h2>
{% for set in sets %}
{% if sets | length > 1 %}<h3><span class="key" style="--color: {{ colors[loop.index0] }}">{{ set.name }}</span></h3>{% endif %}
{% if set.summary %}
<div class="table"><table>
<thead><tr><th scope="col">Split</th><th scope="col">Images</th><th scope="col">Boxes</th><th scope="col">Relations</th>
<th scope="col">Images without boxes</th><th scope="col">Images without relations</th></tr></thead>
<tbody>
{% for name, counts in set.splits %}
<tr{% if loop.last %} class="total"{% endif %}><th scope="row">{{ name }}</th>
{%- for count in counts %}<td>{{ "{:,}".format(count) }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table></div>
{% else %}
<p>The annotations cannot be counted, see the errors below.</p>
{% endif %}
{% endfor %}
</section>

<section>
<h2>Defects</h2>
{% for set in sets %}
{% if sets | length > 1 %}<h3><span class="key" style="--color: {{ colors[loop.index0] }}">{{ set.name }}</span></h3>{% endif %}
{% if set.defects is none %}
<p>Not looked for: this set did not come from files.</p>
{% elif not set.defects %}
<p>None.</p>
{% else %}
{% for kind in set.defects %}
<details{% if kind.severity == "error" %} open{% endif %}><summary><span class="{{ kind.severity }}">{{ kind.severity }}</span>
{{ kind.meaning }}: <b>{{ "{:,}".format(kind.count) }}</b></summary>
<ul>
{% for defect in kind.listed %}
<li><code>{{ defect.place }}</code>: {{ defect.message }}</li>
{% endfor %}
{% if kind.count > kind.listed | length %}
<li>… and {{ "{:,}".format(kind.count - kind.listed | length) }} more</li>
{% endif %}
</ul></details>
{% endfor %}
{% endif %}
{% endfor %}
</section>

{% if histograms %}
<section>
<h2>Images</h2>
<img src="{{ histograms }}" alt="Histograms of boxes per image, relations per image and box areas">
<p class="soft">The last bar of the first two also holds all larger values.</p>
</section>
{% endif %}

{% for chart in charts %}
<section>
<h2>{{ chart.heading }}</h2>
{% for name, sentence in chart.tails %}
<p>{% if sets | length > 1 %}<b>{{ name }}</b>: {% endif %}{{ sentence }}.</p>
{% endfor %}
{% if chart.comparison %}
{% set comparison = chart.comparison %}
<h3>Differences</h3>
<p>{{ comparison.common | length }} classes in both sets. {{ chart.chi_square }}.
{{ "%.1f" | format(100 * comparison.total_variation) }} % of the annotations would have to change their class to make the
shares equal.</p>
{% for name, exclusive in chart.exclusive %}
{% if exclusive %}
<details{% if exclusive | length <= 12 %} open{% endif %}><summary>{{ exclusive | length }} in {{ name }} alone</summary>
<p class="soft">{{ exclusive | join(", ") }}</p></details>
{% endif %}
{% endfor %}
<div class="table"><table>
<thead><tr><th scope="col">Largest gaps</th>{% for name in chart.names %}<th scope="col">{{ name }}</th>{% endfor %}
<th scope="col">Difference in points</th></tr></thead>
<tbody>
{% for gap in chart.gaps %}
<tr><th scope="row">{{ gap.name }}</th><td>{{ "%.2f" | format(100 * gap.first) }} %</td>
<td>{{ "%.2f" | format(100 * gap.second) }} %</td>
<td>{{ "%+.2f" | format(100 * (gap.second - gap.first)) }}</td></tr>
{% endfor %}
</tbody>
</table></div>
<h3>Distribution</h3>
{% endif %}
<p class="soft">Share of all annotations, on a logarithmic scale: from one line to the next it is ten times as much; the
right end is 100 %.</p>
<div class="bars" style="--decade: {{ chart.decade }}%">
{% for bar in chart.bars %}
<div class="bar"><span title="{{ bar.name }}">{{ bar.name }}</span><div>
{% for part in bar.parts %}
<div class="part" title="{{ part.title }}"><div class="track">
{%- if part.width %}<div style="width: {{ part.width }}%; --color: {{ part.color }}"></div>{% endif %}</div>{{ part.share }}</div>
{% endfor %}
</div></div>
{% endfor %}
</div>
{% if chart.unused %}
<p class="soft" style="margin-top: .75rem">Never annotated: {{ chart.unused | join(", ") }}.</p>
{% endif %}
</section>
{% endfor %}

{% for set in sets %}
{% if set.samples %}
<section>
<h2>Samples{% if sets | length > 1 %}: <span class="key" style="--color: {{ colors[loop.index0] }}">{{ set.name }}</span>{% endif %}</h2>
<div class="samples">
{% for sample in set.samples %}
<div><h3>{{ sample.name }}</h3><img src="{{ sample.picture }}" alt="{{ sample.name }} and its scene graph"></div>
{% endfor %}
</div>
</section>
{% endif %}
{% endfor %}
</body>
</html>
"""


def report_page(report: DataReport, dpi: int = 90) -> str:
    """The report as HTML, pictures included.

    Args:
        report: What to show.
        dpi: Resolution of the sample pictures.

    Returns:
        The page; every text of the data is escaped.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    counted = [(i, reported) for i, reported in enumerate(report.sets) if reported.summary is not None]
    return environment.from_string(_TEMPLATE).render(
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
        "defects": None if defects is None else defects.by_kind(),
        "samples": [{"name": sample.name, "picture": _sample_picture(sample, dpi)} for sample in reported.samples],
    }


def _sample_picture(sample: SampleGraph, dpi: int) -> str:
    figure = plot_scene_graph(sample.graph, sample.image, show_scores=False)
    return _data_uri(figure, "webp", "image/webp", dpi=dpi, pil_kwargs={"quality": 85})


def _data_uri(figure: Figure, file_format: str, media_type: str, **options: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=file_format, **options)
    return f"data:{media_type};base64,{base64.b64encode(buffer.getvalue()).decode()}"


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
    return _data_uri(figure, "svg", "image/svg+xml")


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
