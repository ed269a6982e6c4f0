# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A data report in plain text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from .defects import DefectLog
from .report import DataReport, ReportedSet
from .set_comparison import ChiSquareTest, ClassComparison
from .set_summary import FEW_EXAMPLES, ClassCounts, SetSummary, histogram_mean, histogram_quantile


_CLASSES_SHOWN, _GAPS_SHOWN, _NAMES_SHOWN = 15, 10, 12


def report_text(report: DataReport) -> str:
    """The report in plain text: the most frequent classes and the largest gaps; JSON and HTML have all of them."""
    lines: list[str] = []
    for reported in report.sets:
        lines += ["", f"{reported.name}", "=" * len(reported.name), *_set_lines(reported)]
    for kind in ("objects", "predicates"):
        lines += ["", *_class_lines(report, kind)]
    return "\n".join([*lines[1:], ""])


def _set_lines(reported: ReportedSet) -> Iterator[str]:
    if reported.summary is None:
        yield "The annotations cannot be counted, see the errors."
    else:
        yield from _summary_lines(reported.summary)
    yield ""
    yield from _defect_lines(reported.defects)


def _summary_lines(summary: SetSummary) -> Iterator[str]:
    header = ["split", "images", "boxes", "relations", "without boxes", "without relations"]
    rows = [(name, counts) for name, counts in [*summary.splits.items(), ("total", summary.total)]]
    yield from _table(
        header,
        [
            [
                name,
                *(f"{n:,}" for n in (c.images, c.boxes, c.relations)),
                *(f"{n:,}" for n in (c.images_without_boxes, c.images_without_relations)),
            ]
            for name, c in rows
        ],
    )
    yield ""
    for name, histogram in (("boxes", summary.boxes_per_image), ("relations", summary.relations_per_image)):
        yield (
            f"{name} per image: mean {histogram_mean(histogram):.1f}, median {histogram_quantile(histogram, 0.5)}, "
            f"largest {max(len(histogram) - 1, 0)}"
        )
    yield f"objects: {tail_sentence(summary.objects)}"
    yield f"predicates: {tail_sentence(summary.predicates)}"


def tail_sentence(classes: ClassCounts) -> str:
    """Head and tail of a distribution in a sentence."""
    tail = classes.tail()
    if tail["most_frequent"] is None:
        return f"none of {tail['classes']} classes annotated"
    covering = ", ".join(f"{n} hold {share:.0%}" for share, n in tail["covering"].items())
    return (
        f"{tail['used']} of {tail['classes']} classes annotated, {tail['rare']} of them fewer than {FEW_EXAMPLES} times; "
        f"the most frequent {covering} of all; '{tail['most_frequent']}' alone {tail['largest_share']:.1%}; "
        f"as diverse as {tail['effective_classes']:.1f} equally frequent classes"
    )


def _defect_lines(log: DefectLog) -> Iterator[str]:
    if not log.counts:
        yield "No defects."
        return
    yield f"Defects: {log.num_errors:,} errors, {log.num_warnings:,} warnings"
    for kind in log.by_kind():
        yield f"  {kind['severity']}: {kind['meaning']} ({kind['kind']}): {kind['count']:,}"
        yield from (f"    {defect.place}: {defect.message}" for defect in kind["listed"])
        if kind["count"] > len(kind["listed"]):
            yield f"    … and {kind['count'] - len(kind['listed']):,} more"


def _class_lines(report: DataReport, kind: str) -> Iterator[str]:
    """The most frequent classes of every set side by side, and how two sets differ."""
    counted = [reported for reported in report.sets if reported.summary is not None]
    if not counted:
        return
    comparison: ClassComparison | None = getattr(report, kind)
    classes = [getattr(reported.summary, kind) for reported in counted]
    yield f"Most frequent {kind}"
    yield "-" * len(f"Most frequent {kind}")
    yield from _table([kind, *(reported.name for reported in counted)], _class_rows(classes))
    if comparison is not None:
        yield ""
        yield from _comparison_lines(comparison, [reported.name for reported in counted])


def _class_rows(classes: Sequence[ClassCounts]) -> list[list[str]]:
    count_of = [dict(zip(c.names, c.counts.tolist(), strict=True)) for c in classes]
    shares = {
        name: [counts.get(name, 0) / max(c.total, 1) for counts, c in zip(count_of, classes, strict=True)]
        for name in dict.fromkeys(name for c in classes for name in c.names)
    }
    order = sorted(shares, key=lambda name: -max(shares[name]))[:_CLASSES_SHOWN]
    return [
        [
            name,
            *(f"{counts.get(name, 0):,} ({share:.2%})" for counts, share in zip(count_of, shares[name], strict=True)),
        ]
        for name in order
        if any(shares[name])
    ]


def _comparison_lines(comparison: ClassComparison, names: Sequence[str]) -> Iterator[str]:
    yield f"{len(comparison.common)} classes in both sets"
    for name, exclusive in zip(names, (comparison.only_first, comparison.only_second), strict=True):
        yield f"{len(exclusive)} in {name} alone{': ' if exclusive else ''}{shorten_names(exclusive)}"
    yield f"{comparison.total_variation:.1%} of the annotations would have to change their class (total variation)"
    yield chi_square_sentence(comparison.chi_square)
    yield "largest gaps:"
    rows = [[gap.name, f"{gap.first:.2%}", f"{gap.second:.2%}"] for gap in comparison.gaps[:_GAPS_SHOWN]]
    yield from _table(["class", *names], rows)


def chi_square_sentence(test: ChiSquareTest | None) -> str:
    """The test in a sentence."""
    if test is None:
        return "chi-square test: needs at least two common classes"
    p_value = "p < 1e-300" if test.p_value < 1e-300 else f"p = {test.p_value:.3g}"
    caution = f"; unreliable, {test.low_expected:.0%} of expected counts below 5" if test.low_expected > 0.2 else ""
    return (
        f"chi-square test over the common classes: {test.statistic:,.1f} with {test.degrees_of_freedom} degrees of "
        f"freedom, {p_value}, Cramér's V {test.cramers_v:.3f} ({test.balanced_cramers_v:.3f} with both sets weighted "
        f"alike){caution}"
    )


def shorten_names(names: Sequence[str]) -> str:
    """The first names, and how many follow."""
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of a table; the first column left-aligned, the others right."""
    lines = [header, *rows]
    widths = np.array([[len(cell) for cell in line] for line in lines]).max(axis=0).tolist()
    for line in lines:
        cells = [line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]
        yield "  ".join(cells)
