# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The charts of an evaluation report: recall per predicate, confusion of predicates, and what the errors cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .scene_graph_recall import frequency_thirds
from .triplet_errors import CAUSES


_MOST_CONFUSED = 60  # rows and columns of the heat map: beyond, its cells and names are too small to point at


@dataclass(frozen=True)
class Outcome:
    """How a hit or a cause is shown."""

    key: str
    name: str
    color: str
    text_color: str
    meaning: str


_LOOKS = {
    "hit": ("hit", "#1a7f37", "white", "One of the first K predictions agrees with it."),
    "not_found": (
        "not found",
        "#a50f15",
        "white",
        "Subject or object: no box overlaps it enough, none of its class even loosely.",
    ),
    "wrong_class": (
        "wrong class",
        "#e6642c",
        "black",
        "Subject or object: a box overlaps it enough, but none of its class does.",
    ),
    "loose_box": (
        "loose box",
        "#fdc26b",
        "black",
        "Subject or object: a box of its class overlaps it, but too little.",
    ),
    "pair_not_proposed": (
        "pair not proposed",
        "#6a51a3",
        "white",
        "Both objects are found, but no prediction connects them.",
    ),
    "wrong_predicate": (
        "wrong predicate",
        "#2171b5",
        "white",
        "The pair is predicted, but another predicate comes first or alone.",
    ),
    "below_k": ("below K", "#76b5d9", "black", "The triplet is predicted, but behind K others."),
    "duplicate": (
        *("lost to a duplicate", "#9aa4af", "black"),
        "The triplet is predicted, but a repetition took its place, or its box went to another object.",
    ),
}
OUTCOMES = tuple(Outcome(key, *_LOOKS[key]) for key in ("hit", *CAUSES))


def predicate_order(num_predicates: int, predicate_counts: Sequence[float] | None) -> list[dict[str, Any]]:
    """The predicates by frequency in training, the most frequent first; by number if that is unknown.

    Returns:
        For each its `number`, its `part` ("head", "body" or "tail", empty if unknown) and its `count` (None if unknown).
    """
    if predicate_counts is None:
        return [{"number": number, "part": "", "count": None} for number in range(num_predicates)]
    return [
        {"number": number, "part": part, "count": predicate_counts[number]}
        for part, numbers in frequency_thirds(predicate_counts).items()
        for number in numbers.tolist()
    ]


def recall_per_predicate(results: Mapping[str, Any]) -> dict[str, dict[str, list[float | None]]]:
    """Recall per predicate by protocol, then by "@K" and "ng-@K"; None where no image has the predicate."""
    return {
        name: {
            f"{prefix}@{k}": [_rounded(value) for value in protocol["metrics"][f"{prefix}recall_per_predicate@{k}"]]
            for k in results["ks"]
            for prefix in ("", "ng-")
        }
        for name, protocol in results["protocols"].items()
    }


def recall_bar(anatomy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of the bar from recall 0 to 1: what is reached, and what every cause costs, in percent."""
    shares = {"hit": anatomy["recall"], **anatomy["gains"]}
    shares = {key: math.nan if share is None else share for key, share in shares.items()}  # None: nan in a JSON file
    return [
        {
            "outcome": outcome,
            "share": shares[outcome.key],
            "width": 0 if math.isnan(shares[outcome.key]) else round(100 * shares[outcome.key], 3),
            "count": anatomy["counts"][outcome.key],
        }
        for outcome in OUTCOMES
    ]


def predicate_rows(
    anatomy: Mapping[str, Any], names: Sequence[str], order: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What became of the annotated triplets of every predicate that is annotated, in the given order.

    Returns:
        Rows of `number`, `name`, `part`, `total`, `cells` (key of the outcome, count, share of the total) and `instead`: the
        predicates most often predicted instead, with their counts.
    """
    counts = anatomy["counts_per_predicate"]
    totals = np.sum(list(counts.values()), axis=0)
    return [
        {
            **place,
            "name": names[number],
            "total": int(totals[number]),
            "cells": [(o.key, counts[o.key][number], counts[o.key][number] / totals[number]) for o in OUTCOMES],
            "instead": _most_confused(anatomy["confusion"][number], names),
        }
        for place in order
        if totals[number := place["number"]]
    ]


def confusion_map(
    anatomy: Mapping[str, Any], names: Sequence[str], order: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Which predicates were predicted instead of which, of the pairs that were found.

    Returns:
        `rows` and `columns` (number and name, in the given order, those that occur only), `cells` (position of row and column,
        count, share of the row), `left_out`, the triplets of rows and columns beyond the most confused ones, and `layout`:
        the side of a cell, and how much room the names need, in pixels; None if nothing was confused.
    """
    table = np.array(anatomy["confusion"])
    if not table.any():
        return None
    ranked = np.array([place["number"] for place in order])
    rows, columns = (_most_frequent(ranked, table.sum(axis=axis)) for axis in (1, 0))
    shown = table[np.ix_(rows, columns)]
    shares = shown / table.sum(axis=1)[rows][:, None]
    row_names, column_names = ([names[number] for number in numbers] for numbers in (rows, columns))
    return {
        "layout": _heat_layout(row_names, column_names),
        "rows": list(zip(rows.tolist(), row_names, strict=True)),
        "columns": list(zip(columns.tolist(), column_names, strict=True)),
        "cells": [(i, j, int(shown[i, j]), float(shares[i, j])) for i, j in np.argwhere(shown).tolist()],
        "left_out": int(table.sum() - shown.sum()),
    }


def _heat_layout(row_names: Sequence[str], column_names: Sequence[str]) -> dict[str, int]:
    """Few cells are large enough for their counts; the names of columns stand at 60 degrees."""
    left, top = (14 + round(width * max(map(len, names))) for width, names in ((6.6, row_names), (5.9, column_names)))
    cell = 30 if max(len(row_names), len(column_names)) <= 25 else 16
    width = left + cell * len(column_names) + 20 + round(3.5 * len(column_names[-1]))
    return {"cell": cell, "left": left, "top": top, "width": width, "height": top + cell * len(row_names) + 4}


def _most_frequent(ranked: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The numbers of `ranked` that occur, at most as many as can be shown, in the order of `ranked`."""
    most = np.sort(counts)[::-1][:_MOST_CONFUSED][-1]
    return ranked[counts[ranked] >= max(most, 1)][:_MOST_CONFUSED]


def _most_confused(counts: Sequence[int], names: Sequence[str], most: int = 3) -> list[tuple[str, int]]:
    best = np.argsort(-np.array(counts), kind="stable")[:most].tolist()
    return [(names[number], counts[number]) for number in best if counts[number]]


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 5)
