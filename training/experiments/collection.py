# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What the runs of a study have found, as one JSON file: test numbers, curves, and differences between arms over seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import stats

from speaq_hf.json_files import write_json
from training.experiments.study import Arm, Study
from training.logs import JsonLinesLog


PROTOCOLS = ("speaq", "strict")
METRICS = (
    *(f"{name}@{k}" for name in ("R", "mR", "zR", "F") for k in (20, 50)),
    *(f"mR-{part}@20" for part in ("head", "body", "tail")),
)
_CURVES = {
    "train": ("loss", "loss_predicate", "loss_class_subject", "loss_giou_subject"),
    "evaluation": ("R@20", "mR@20", "zR@20", "queries_per_relation", "group_use", "group_fidelity"),
}


def collect(study: Study, output: Path) -> dict[str, Any]:
    """Read what is finished and write `results.json`.

    Args:
        study: What was compared.
        output: Folder of the runs.

    Returns:
        `arms`: by name `title` and `runs`, each with `seed`, `test` (by domain and protocol, metrics and 95 % intervals over
        images), `curves` (by kind and number, pairs of step and value) and `seconds`; and `mean` and `spread` (sample standard
        deviation) over its runs. `comparisons`: of each pair and metric `differences` by seed, their `mean`, its 95 % `interval`
        and `p` of a paired t-test.
    """
    arms = {arm.name: {"title": arm.title, "runs": _runs(arm, output)} for arm in study.arms.values()}
    arms = {name: arm | _summary(arm["runs"]) for name, arm in arms.items() if arm["runs"]}
    comparisons = [_compare(pair, arms) for pair in study.comparisons if set(pair) <= arms.keys()]
    results = {"study": study.name, "arms": arms, "comparisons": comparisons}
    write_json(output / "results.json", results)
    return results


def _runs(arm: Arm, output: Path) -> list[dict[str, Any]]:
    folders = ((seed, output / "arms" / arm.name / f"seed-{seed}") for seed in arm.seeds)
    return [
        {"seed": seed, "test": _tests(folder), "curves": _curves(folder), "steps": _steps(folder)}
        for seed, folder in folders
        if list(folder.glob("test_*.json"))
    ]


def _steps(folder: Path) -> int:
    return yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["training"]["max_steps"]


def _tests(folder: Path) -> dict[str, Any]:
    tests = {}
    for path in sorted(folder.glob("test_*.json")):
        protocols = json.loads(path.read_text(encoding="utf-8"))["protocols"]
        tests[path.stem.removeprefix("test_")] = {
            name: {
                kind: {metric: protocols[name][kind].get(metric) for metric in METRICS}
                for kind in ("metrics", "intervals")
            }
            for name in PROTOCOLS
        }
    return tests


def _curves(folder: Path) -> dict[str, dict[str, list[tuple[int, Any]]]]:
    entries = JsonLinesLog(folder / "log.jsonl").read()
    return {
        kind: {
            name: [(entry["step"], entry[name]) for entry in entries if entry["type"] == kind and name in entry]
            for name in names
        }
        for kind, names in _CURVES.items()
    }


def _summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread of every test number over the runs."""
    summary: dict[str, Any] = {"mean": {}, "spread": {}}
    for domain, protocols in runs[0]["test"].items():
        for protocol in protocols:
            for metric in METRICS:
                values = _values(runs, domain, protocol, metric)
                name = f"{domain}/{protocol}/{metric}"
                summary["mean"][name] = float(np.mean(values))
                summary["spread"][name] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return summary


def _values(runs: Sequence[dict[str, Any]], domain: str, protocol: str, metric: str) -> list[float]:
    return [run["test"][domain][protocol]["metrics"][metric] for run in runs]


def _compare(pair: tuple[str, str], arms: dict[str, Any]) -> dict[str, Any]:
    better, other = ({run["seed"]: run for run in arms[name]["runs"]} for name in pair)
    seeds = sorted(better.keys() & other.keys())
    metrics = {}
    for name in arms[pair[0]]["mean"]:
        domain, protocol, metric = name.split("/")
        first, second = (_values([runs[seed] for seed in seeds], domain, protocol, metric) for runs in (better, other))
        metrics[name] = paired_difference(np.subtract(first, second))
    return {"arms": list(pair), "seeds": seeds, "metrics": metrics}


def paired_difference(differences: np.ndarray) -> dict[str, Any]:
    """Mean of differences over seeds, its 95 % interval and the p-value of a t-test; the last two need two seeds.

    Args:
        differences: `(seeds,)`.
    """
    found: dict[str, Any] = {"differences": differences.tolist(), "mean": None, "interval": None, "p": None}
    if len(differences):
        found["mean"] = float(differences.mean())
    if len(differences) > 1 and differences.std() > 0:
        test = stats.ttest_1samp(differences, 0.0)
        found["interval"] = [float(bound) for bound in test.confidence_interval(0.95)]
        found["p"] = float(test.pvalue)
    return found
