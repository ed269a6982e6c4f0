# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What an evaluation tells, as text for people."""

from collections.abc import Mapping
from typing import Any

from .tables import format_table


# Rows of a table, as far as they were measured; the file has more.
METRICS = ("R", "ng-R", "zR", "mR", "ng-mR", "F", "mR-head", "mR-body", "mR-tail", "phrase-R", "pair_accuracy")
OBJECT_METRICS = ("AP", "AP50", "AP75", "AR100")


def format_results(results: Mapping[str, Any]) -> str:
    """A table for each protocol, with metrics as rows and K as columns, and one for the objects if they were measured.

    Args:
        results: Of `SceneGraphEvaluator.compute`, with a tally `objects` or without.

    Returns:
        Lines without a line break at the end.
    """
    parts = [_format_protocol(name, protocol, results["ks"]) for name, protocol in results["protocols"].items()]
    if any("intervals" in protocol for protocol in results["protocols"].values()):
        parts.insert(0, f"In brackets: {results['confidence']:.0%} intervals over images (bootstrap).")
    if "objects" in results:
        values = {name: results["objects"][name] for name in OBJECT_METRICS}
        parts.append(format_table({"objects (COCO)": values}, OBJECT_METRICS, heading="%"))
    return "\n\n".join(parts)


def _format_protocol(name: str, protocol: Mapping[str, Any], ks: list[int]) -> str:
    metrics, intervals = protocol["metrics"], protocol.get("intervals", {})
    rows = [row for row in METRICS if f"{row}@{ks[0]}" in metrics]
    columns = {f"@{k}": {row: metrics[f"{row}@{k}"] for row in rows} for k in ks}
    ends = {f"@{k}": {row: intervals.get(f"{row}@{k}") for row in rows} for k in ks}
    title = f"protocol {name} (rules {protocol['fingerprint']}), {metrics['num_images']} images"
    return f"{title}\n{format_table(columns, rows, heading='%', intervals=ends)}"
