# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Plots of a study: test numbers of all arms, curves over training, copies of targets and use of query groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#888888", "#000000")
_BARS = ("R@20", "mR@20", "zR@20", "mR-head@20", "mR-body@20", "mR-tail@20")


def write_plots(results: dict[str, Any], output: Path) -> list[Path]:
    """Write `test.png` and `curves.png`, and `groups.png` if arms have query groups.

    Args:
        results: Of `collect`.
        output: Folder of the files.

    Returns:
        The files; none when no run is finished.
    """
    if not results["arms"]:
        return []
    figures = {"test": draw_test(results), "curves": draw_curves(results)}
    grouped = [name for name, arm in results["arms"].items() if arm["runs"][0]["curves"]["evaluation"]["group_use"]]
    if grouped:
        figures["groups"] = draw_groups(results, grouped)
    paths = []
    for name, figure in figures.items():
        paths.append(output / f"{name}.png")
        figure.savefig(paths[-1], dpi=110)
    return paths


def draw_test(results: dict[str, Any], protocol: str = "speaq") -> Figure:
    """Test numbers of all arms in each domain: means over seeds, and a dot for each."""
    arms = results["arms"]
    domains = list(next(iter(arms.values()))["runs"][0]["test"])
    figure = Figure(figsize=(11, 0.9 + 2.6 * len(domains) + 0.24 * len(arms)), layout="constrained")
    axes = figure.subplots(len(domains), 1, sharex=True, squeeze=False)[:, 0]
    width = 0.84 / len(arms)
    for axis, domain in zip(axes, domains, strict=True):
        for index, (arm, color) in enumerate(zip(arms.values(), _cycle(len(arms)), strict=True)):
            places = np.arange(len(_BARS)) + (index - (len(arms) - 1) / 2) * width
            values = [[100 * run["test"][domain][protocol]["metrics"][name] for run in arm["runs"]] for name in _BARS]
            axis.bar(places, [np.mean(value) for value in values], 0.92 * width, color=color, label=arm["title"])
            for place, value in zip(places, values, strict=True):
                axis.plot([place] * len(value), value, ".", color="black", markersize=3)
        axis.set_ylabel(f"{domain} test images, %")
        axis.set_xticks(range(len(_BARS)), _BARS)
        _tidy(axis)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    return figure


def draw_curves(results: dict[str, Any]) -> Figure:
    """Loss, validation recall and copies of targets over the steps, seed by seed."""
    panels = {
        "training loss of the predicate": ("train", "loss_predicate", 1.0),
        "validation R@20, %": ("evaluation", "R@20", 100.0),
        "validation mR@20, %": ("evaluation", "mR@20", 100.0),
        "queries per relation, k": ("evaluation", "queries_per_relation", 1.0),
    }
    arms = results["arms"]
    figure = Figure(figsize=(11, 7 + 0.24 * len(arms)), layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    for axis, (title, (kind, name, scale)) in zip(axes, panels.items(), strict=True):
        for arm, color in zip(arms.values(), _cycle(len(arms)), strict=True):
            for number, run in enumerate(arm["runs"]):
                points = np.array(run["curves"][kind][name], dtype=float).reshape(-1, 2)
                label = arm["title"] if number == 0 else None
                axis.plot(points[:, 0], scale * points[:, 1], color=color, linewidth=1.2, label=label)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
        _tidy(axis)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    return figure


def draw_groups(results: dict[str, Any], names: Sequence[str]) -> Figure:
    """For every arm with query groups, at the end of training: how much each group is used, and how faithful it is."""
    figure = Figure(figsize=(11, 1.2 + 0.5 * len(names) * 4), layout="constrained")
    axes = figure.subplots(len(names), 2, squeeze=False)
    panels: dict[str, Callable] = {
        "share of an image's best 20 relations, %": lambda curves: curves["group_use"],
        "of these with a predicate of the group, %": lambda curves: curves["group_fidelity"],
    }
    for row, name in zip(axes, names, strict=True):
        arm = results["arms"][name]
        for axis, (title, pick) in zip(row, panels.items(), strict=True):
            values = 100 * np.mean([pick(run["curves"]["evaluation"])[-1][1] for run in arm["runs"]], axis=0)
            labels = [f"group {index + 1}" for index in range(len(values))]
            bars = axis.barh(labels, values, color=_COLORS[0])
            axis.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
            axis.invert_yaxis()
            axis.set_xlim(0, 112 if values.max() > 60 else 1.2 * values.max())
            axis.set_title(f"{arm['title']}: {title}", fontsize=9)
            _tidy(axis, "x")
    return figure


def _cycle(count: int) -> list[str]:
    return [_COLORS[index % len(_COLORS)] for index in range(count)]


def _tidy(axis: Axes, grid: str = "y") -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis=grid, color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
