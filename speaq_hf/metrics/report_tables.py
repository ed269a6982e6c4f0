# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The tables of an evaluation report: metrics of all protocols side by side, their rules, and differences of two models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .comparison import Difference


# What a name without its "@K" means; a name that starts with "ng-" is the same without graph constraint.
METRIC_MEANINGS = {
    "R": "Recall: share of an image's annotated triplets that are hit, averaged over images",
    "zR": "Zero-shot recall: R over triplets that training never shows",
    "mR": "Mean recall: recall per predicate, averaged over predicates",
    "mR-head": "mR over the most frequent third of the predicates",
    "mR-body": "mR over the next third of the predicates",
    "mR-tail": "mR over the rarest third of the predicates",
    "F": "Harmonic mean of R and mR",
    "micro-R": "Hits of all images / annotated triplets of all images",
    "phrase-R": "R when the box around subject and object must overlap, instead of both boxes",
    "pair_accuracy": "Hits / annotated triplets, of the predictions on annotated pairs",
}
RULE_MEANINGS = {
    "box_matching": "Annotated objects that a predicted one agrees with",
    "box_offset": "Pixels added to width and height of boxes",
    "rank_by_score": "Predictions are sorted by their score",
    "merge_identical_objects": "Predicted objects with equal class and box are one",
    "merge_identical_predictions": "A prediction that occurs before is dropped",
    "one_predicate_per_pair": "Only the first predicate of a pair competes",
    "no_graph_constraint_limit": "Candidates without graph constraint",
    "merge_identical_annotations": "A triplet annotated twice is one",
    "skip_images_without_predictions": "Images without predictions are left out",
    "absent_predicates_count_as_zero": "Predicates that no image has count as 0 in mR",
}
_RULE_VALUES = {
    ("box_matching", "overlap"): "all it overlaps enough",
    ("box_matching", "best"): "the one it overlaps most",
    ("no_graph_constraint_limit", None): "largest K",
}
_DASH = "\u2013"


def recall_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per metric that is given for every K.

    Args:
        results: From `SceneGraphEvaluator.compute`.

    Returns:
        Rows of `name`, `meaning` and `cells`: for each protocol, for each K, the `value` in percent and its `interval`
        (empty without one).
    """
    ks, protocols = results["ks"], results["protocols"].values()
    return [
        {
            "name": name,
            "meaning": metric_meaning(name),
            "cells": [_recall_cell(protocol, f"{name}@{k}") for protocol in protocols for k in ks],
        }
        for name in _metric_names(protocols)
    ]


def metric_meaning(name: str) -> str:
    """What a metric without its "@K" means; empty for an unknown one."""
    constrained = name.removeprefix("ng-")
    meaning = METRIC_MEANINGS.get(constrained, "")
    return f"{meaning}; all predicates of every pair compete" if meaning and name != constrained else meaning


def image_rows(results: Mapping[str, Any]) -> list[tuple[str, list[int]]]:
    """How many images every protocol averages over, how many have no annotated relation, and how many of the others no prediction."""
    titles = {
        "num_images": "Images",
        "num_images_without_relations": "Without annotation",
        "num_images_without_predictions": "Without prediction",
    }
    protocols = results["protocols"].values()
    return [(title, [protocol["metrics"][name] for protocol in protocols]) for name, title in titles.items()]


def rule_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per rule: its `name`, its `meaning`, and `cells`: its value in every protocol, and whether that is another
    one than in the first protocol."""
    protocols = list(results["protocols"].values())
    first = protocols[0]["rules"]
    return [
        {
            "name": name,
            "meaning": RULE_MEANINGS.get(name, name.replace("_", " ").capitalize()),
            "cells": [
                (_rule_value(name, protocol["rules"][name]), protocol["rules"][name] != first[name])
                for protocol in protocols
            ],
        }
        for name in first
    ]


def further_tables(models: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """A table for every other tally: its numbers, one column per model.

    Args:
        models: Name and results of each.

    Returns:
        Tables of a `heading` and `rows` of a name and one text per model. Lists are left out.
    """
    first = models[0][1]
    known = {"protocols", "error_anatomy"}
    tallies = [name for name, part in first.items() if isinstance(part, Mapping) and name not in known]
    return [
        {
            "heading": tally.replace("_", " ").capitalize(),
            "rows": [
                (name, [format_number(results[tally].get(name)) for _, results in models])
                for name, value in first[tally].items()
                if value is None or isinstance(value, (int, float))
            ],
        }
        for tally in tallies
    ]


def difference_rows(
    differences: Mapping[str, Mapping[str, Difference]], ks: Sequence[int]
) -> tuple[list[str], list[dict[str, Any]]]:
    """The differences of two models, from `compare_recall`, by protocol.

    Args:
        differences: For each protocol, for each metric, how much the first model exceeds the second.
        ks: The values of K.

    Returns:
        The protocols, and rows of `name`, `meaning` and `cells`: for each protocol, for each K, the `value` in points, its
        `interval` and `side`: "better", "worse", or empty where the interval holds 0.
    """
    names = dict.fromkeys(name.rpartition("@")[0] for columns in differences.values() for name in columns)
    rows = [
        {
            "name": name,
            "meaning": metric_meaning(name),
            "cells": [_difference_cell(columns.get(f"{name}@{k}")) for columns in differences.values() for k in ks],
        }
        for name in names
    ]
    return list(differences), rows


def format_number(value: Any) -> str:
    """Shares in percent with two digits, whole numbers as they are, a dash where there is none."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{100 * value:.2f}" if _is_number(value) else _DASH


def _is_number(value: Any) -> bool:
    # nan is null in a JSON file, and so None in results that come from one.
    return isinstance(value, float) and not math.isnan(value)


def _metric_names(protocols: Any) -> dict[str, None]:
    names = [
        name
        for protocol in protocols
        for name, value in protocol["metrics"].items()
        if "@" in name and not isinstance(value, list)
    ]
    return dict.fromkeys(name.rpartition("@")[0] for name in names)


def _recall_cell(protocol: Mapping[str, Any], name: str) -> dict[str, str]:
    low, high = protocol.get("intervals", {}).get(name, (math.nan, math.nan))
    interval = f"{100 * low:.1f} {_DASH} {100 * high:.1f}" if _is_number(low) else ""
    return {"value": format_number(protocol["metrics"].get(name)), "interval": interval}


def _difference_cell(difference: Difference | None) -> dict[str, str]:
    if difference is None or not _is_number(difference.value):
        return {"value": _DASH, "interval": "", "side": ""}
    side = "" if not difference.is_significant else "better" if difference.value > 0 else "worse"
    ends = (difference.low, difference.high)
    interval = " to ".join(f"{100 * end:+.1f}" for end in ends) if all(map(_is_number, ends)) else ""
    return {"value": f"{100 * difference.value:+.2f}", "interval": interval, "side": side}


def _rule_value(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _RULE_VALUES.get((name, value), str(value))
