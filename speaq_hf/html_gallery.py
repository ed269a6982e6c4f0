# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The HTML page of a gallery: a table of metrics and one picture with its relations in words per image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, StrictUndefined


_TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  :root { color-scheme: light; --ink: #1c2430; --soft: #5f6b7a; --line: #dfe4ea; --hit: #1a7f37; --miss: #c62828; }
  body { margin: 0 auto; max-width: 1280px; padding: 2rem 1.5rem 4rem; color: var(--ink); background: #f6f7f9;
         font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
  h1 { margin: 0 0 .25rem; font-size: 1.7rem; }
  h2 { margin: 0 0 .75rem; font-size: 1.05rem; overflow-wrap: anywhere; }
  .description { margin: 0 0 1.5rem; color: var(--soft); max-width: 70ch; }
  .table { overflow-x: auto; }
  table { border-collapse: collapse; background: white; border: 1px solid var(--line); font-variant-numeric: tabular-nums; }
  th, td { padding: .35rem .9rem; border-bottom: 1px solid var(--line); text-align: right; }
  th:first-child { text-align: left; }
  thead th { background: #eef1f5; }
  section { margin-top: 1.5rem; padding: 1.25rem; background: white; border: 1px solid var(--line); border-radius: 8px; }
  img { display: block; max-width: 100%; height: auto; }
  .columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 1rem; }
  details { margin-top: .75rem; }
  summary { cursor: pointer; color: var(--soft); }
  h3 { margin: .75rem 0 .25rem; font-size: .9rem; }
  ol { margin: 0; padding-left: 1.6rem; font-size: .9rem; }
  .hit { color: var(--hit); } .hit::after { content: " \\2713"; }
  .miss { color: var(--miss); } .miss::after { content: " \\2717"; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p class="description">{{ description }}</p>
{% if rows %}
<div class="table"><table>
<thead><tr><th scope="col">Metric (%)</th>{% for column in columns %}<th scope="col">{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for name, values in rows %}
<tr><th scope="row">{{ name }}</th>{% for value in values %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table></div>
{% endif %}
<p class="description">Green and solid with \u2713: a predicted relation whose classes and predicate are annotated and whose boxes
overlap the annotated ones by at least half (IoU), or an annotated relation that one of the shown predictions hits. Red and dashed
with \u2717: the others. The number is the product of the three class probabilities.</p>
{% for entry in entries %}
<section>
<h2>{{ entry.name }}</h2>
<img src="{{ entry.picture }}" alt="Predicted and true scene graph of {{ entry.name }}" loading="lazy">
<details><summary>Relations in words</summary>
<div class="columns">
{% for heading, triplets in [("Predicted", entry.predicted), ("True", entry.reference)] %}
<div><h3>{{ heading }}</h3><ol>
{% for triplet, hit in triplets %}
<li class="{{ 'hit' if hit else 'miss' }}">{{ triplet.subject }} <b>{{ triplet.predicate }}</b> {{ triplet.object }}
{%- if heading == "Predicted" %} ({{ "%.2f" | format(triplet.score) }}){% endif %}</li>
{% endfor %}
</ol></div>
{% endfor %}
</div></details>
</section>
{% endfor %}
</body>
</html>
"""


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
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_TEMPLATE).render(
        title=title, description=description, columns=list(metrics), rows=_table_rows(metrics), entries=entries
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
