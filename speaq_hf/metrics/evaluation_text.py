# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""An evaluation as plain text: a table for each protocol, and which of two files is better."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


_ROWS = (
    *("R", "ng-R", "zR", "ng-zR", "mR", "ng-mR", "mR-head", "mR-body", "mR-tail", "F", "ng-F"),
    *("micro-R", "ng-micro-R", "phrase-R", "pair_accuracy"),
)
_OBJECT_ROWS = ("AP", "AP50", "AP75", "AR100")
_COMPARED = ("R", "ng-R", "zR", "mR", "F")


def evaluation_text(results: Mapping[str, Any]) -> str:
    """Lines for people.

    Args:
        results: From `evaluation_results`.

    Returns:
        Tables in percent, metrics as rows and K as columns, with intervals if there are any.
    """
    names = short_names([evaluation["file"] for evaluation in results["predictions"]])
    lines = []
    for name, evaluation in zip(names, results["predictions"], strict=True):
        lines += [_heading(name, evaluation, results["ground_truth"]), ""]
        for protocol, of_protocol in evaluation["protocols"].items():
            lines += [*protocol_table(protocol, of_protocol, evaluation), ""]
        if "objects" in evaluation:
            lines += [*object_table(evaluation["objects"]), ""]
    for protocol, differences in results.get("comparison", {}).items():
        ks = results["predictions"][0]["ks"]
        lines += [f"protocol {protocol}", *_sentences(differences, names, ks), ""]
    return "\n".join(lines)


def protocol_table(protocol: str, results: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[str]:
    """The results of one protocol.

    Args:
        protocol: Its name.
        results: Its part of `SceneGraphEvaluator.compute`.
        evaluation: The whole, for `ks` and `confidence`.

    Returns:
        Lines of a table in percent, metrics as rows and K as columns.
    """
    metrics, ks = results["metrics"], evaluation["ks"]
    intervals = results.get("intervals", {})
    rows = [name for name in _ROWS if f"{name}@{ks[0]}" in metrics]
    cells = [[_cell(metrics[f"{name}@{k}"], intervals.get(f"{name}@{k}")) for k in ks] for name in rows]
    head = f"protocol {protocol} (rules {results['fingerprint']}), {metrics['num_images']} images"
    head += f", {evaluation['confidence']:.0%} intervals" if intervals else ""
    return [head, *_aligned([["%", *(f"@{k}" for k in ks)], *([n, *c] for n, c in zip(rows, cells, strict=True))])]


def object_table(objects: Mapping[str, Any]) -> list[str]:
    """The average precision of the objects.

    Args:
        objects: From `ObjectPrecision.compute`.

    Returns:
        Lines of a table in percent.
    """
    head = f"objects (COCO), {objects['num_objects']} annotated, {objects['num_detections']} detections"
    return [head, *_aligned([["%", ""], *([name, _cell(objects[name], None)] for name in _OBJECT_ROWS)])]


def short_names(files: Sequence[str]) -> list[str]:
    """File names, or whole paths if those are equal."""
    names = [Path(file).name for file in files]
    names = names if len(set(names)) == len(names) else list(files)
    return names if len(set(names)) == len(names) else [f"{name} ({i})" for i, name in enumerate(names, start=1)]


def _heading(name: str, evaluation: Mapping[str, Any], truth: str) -> str:
    mode = f"{evaluation['mode']}, IoU {evaluation['iou_threshold']:g}, {evaluation['num_images_added']} images of {truth}"
    missing = evaluation["num_missing_images"]
    return f"{name}: {mode}" + (f", {missing} of them not in the file" if missing else "")


def _cell(value: float | None, interval: Sequence[float | None] | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    low, high = (None, None) if interval is None else interval
    return f"{100 * value:.2f}" + ("" if low is None or high is None else f" [{100 * low:.2f}, {100 * high:.2f}]")


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = zip(row, widths, strict=True)
        yield "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])


def _sentences(differences: Mapping[str, Any], names: Sequence[str], ks: Sequence[int]) -> Iterator[str]:
    for name in (f"{metric}@{k}" for metric in _COMPARED for k in ks):
        difference = differences.get(name)
        if difference is not None and None not in difference.values():
            yield f"  {_sentence(name, difference, names)}"


def _sentence(name: str, difference: Mapping[str, float], names: Sequence[str]) -> str:
    value, low, high = (100 * difference[end] for end in ("value", "low", "high"))
    if value == low == high == 0:
        return f"{names[0]} and {names[1]} are equal on {name}"
    # The interval need not be symmetric: it, not the half of its width, decides.
    spread = f"{abs(value):.2f} ± {(high - low) / 2:.2f}"
    if low <= 0 <= high:
        interval = f"the interval [{low:.2f}, {high:.2f}] holds 0"
        return f"{names[0]} and {names[1]} differ on {name} by {spread}, which may be chance: {interval}"
    better, worse = names if value > 0 else names[::-1]
    ends = sorted((abs(low), abs(high)))
    return f"{better} is better than {worse} on {name} by {spread} [{ends[0]:.2f}, {ends[1]:.2f}]"
