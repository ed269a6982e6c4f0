# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Curves of training runs from their logs: losses, losses of each source, recall, learning rate."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from ..complete_files import complete_file


METRICS = ("R@20", "R@50", "mR@20", "mR@50", "ng-R@50", "zR@50", "recall@10", "recall@100")
# Colours that people with colour blindness tell apart (Okabe and Ito, 2008).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a8a8a", "#8c564b")
_STYLES = ("-", "--", ":", "-.")
_SMOOTHED_POINTS = 60  # a curve is averaged down to about so many

Entries = list[Mapping[str, Any]]


@dataclass(frozen=True)
class Panel:
    """One diagram.

    Args:
        title: Above it.
        kind: Which lines of the log it shows: "train" or "evaluation".
        names: Logged names and how the legend calls them.
        logarithmic: Whether the vertical axis is.
    """

    title: str
    kind: str
    names: Mapping[str, str]
    logarithmic: bool = False


def read_log(run: str | os.PathLike) -> Entries:
    """Entries of a run's log.

    Args:
        run: Folder of the run, or its `log.jsonl`.

    Raises:
        FileNotFoundError: There is no log.
        ValueError: A line is not JSON (a last line that a crash cut off is left out), or nothing was logged.
    """
    file = Path(run) / "log.jsonl" if Path(run).is_dir() else Path(run)
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist; give the folder of a training run, which holds log.jsonl")
    complete = file.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
    entries = [_read_line(file, number, line) for number, line in enumerate(complete, start=1)]
    if not any(entry.get("type") == "train" for entry in entries):
        raise ValueError(f"{file} holds no training step yet; wait for the first one")
    return entries


def plot_training_log(*runs: str | os.PathLike) -> Figure:
    """Draw the curves of one run, or of several in the same diagrams.

    Args:
        runs: Folders of runs, or their `log.jsonl`.

    Raises:
        FileNotFoundError: There is no log.
        ValueError: A log is damaged or empty, or no run is given.
    """
    if not runs:
        raise ValueError("expected at least one run, got none")
    logs = dict(zip(_run_names(runs), map(read_log, runs), strict=True))
    panels = _panels([entry for entries in logs.values() for entry in entries])
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(12, 3.6 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(", ".join(logs))
    for axes, panel in zip(figure.subplots(rows, 2, squeeze=False).flat, panels, strict=False):
        _draw(axes, panel, logs)
    for axes in figure.axes[len(panels) :]:
        axes.remove()
    return figure


def save_training_curves(
    run: str | os.PathLike, *others: str | os.PathLike, output: str | os.PathLike | None = None
) -> Path:
    """Draw the curves of runs to a file.

    Args:
        run: Folder of a run, or its `log.jsonl`.
        others: Further runs, drawn over it.
        output: The file; by default `curves.png` in the folder of the run, or of several runs beside the first one's.

    Returns:
        The file.

    Raises:
        IsADirectoryError: `output` is a folder.
    """
    folder = Path(run) if Path(run).is_dir() else Path(run).parent
    target = Path(output) if output else (folder.resolve().parent if others else folder) / "curves.png"
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; name a file in it")
    figure = plot_training_log(run, *others)
    with complete_file(target) as unfinished:
        figure.savefig(unfinished, dpi=120, format=target.suffix.lstrip(".") or "png")
    return target


def _run_names(runs: Sequence[str | os.PathLike]) -> list[str]:
    """Names that differ: those of the folders, or the whole paths, or with a number."""
    folders = [path.parent if path.is_file() else path for path in (Path(run).resolve() for run in runs)]
    for names in ([folder.name for folder in folders], list(map(str, folders))):
        if len(set(names)) == len(names):
            return names
    return [f"{folder.name} ({number})" for number, folder in enumerate(folders, start=1)]


def _read_line(file: Path, number: int, line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{file}, line {number}: expected a JSON object, got {line[:60]!r} ({error})") from error
    if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
        raise ValueError(f"{file}, line {number}: expected an object with a whole number 'step', got {line[:60]!r}")
    if not isinstance(entry.get("type"), str):
        raise ValueError(f"{file}, line {number}: expected an object with a text 'type', got {line[:60]!r}")
    return entry


def _panels(entries: Entries) -> list[Panel]:
    """The diagrams for which something was logged."""
    logged = {kind: {} for kind in ("train", "evaluation")}
    for entry in entries:
        logged.get(entry.get("type"), {}).update(entry)
    losses = [name for name in logged["train"] if name.startswith("loss_")]
    by_source = {name: name.removeprefix("loss_") for name in losses if "/" in name}
    terms = {name: name.removeprefix("loss_") for name in losses if "/" not in name}
    candidates = [
        Panel("Loss, all layers together", "train", {"loss": "loss"}, logarithmic=True),
        Panel("Recall on the validation images (%)", "evaluation", _present(METRICS, logged["evaluation"])),
        Panel("Losses of the last layer: classes and predicate", "train", _with(terms, "class", "predicate")),
        Panel("Losses of the last layer: boxes", "train", _with(terms, "bbox", "giou")),
        Panel("Predicate loss of each source", "train", _with(by_source, "predicate")),
        Panel("Class losses of each source", "train", _with(by_source, "class")),
        Panel("Box losses of each source: L1", "train", _with(by_source, "bbox")),
        Panel("Box losses of each source: GIoU", "train", _with(by_source, "giou")),
        Panel("Learning rate", "train", _present(("learning_rate",), logged["train"])),
        Panel("Gradient norm before clipping", "train", _present(("gradient_norm",), logged["train"]), True),
    ]
    return [panel for panel in candidates if panel.names]


def _present(names: Iterable[str], logged: Mapping[str, Any]) -> dict[str, str]:
    return {name: name.replace("_", " ") for name in names if name in logged}


def _with(names: Mapping[str, str], *beginnings: str) -> dict[str, str]:
    return {name: label.replace("_", " ") for name, label in names.items() if label.startswith(beginnings)}


def _draw(axes: Axes, panel: Panel, logs: Mapping[str, Entries]) -> None:
    axes.set_title(panel.title, fontsize=10, loc="left")
    for run_index, (run, entries) in enumerate(logs.items()):
        for index, (name, label) in enumerate(panel.names.items()):
            labels = ([label] if len(panel.names) > 1 else []) + ([run] if len(logs) > 1 else [])
            _draw_line(axes, panel, entries, name, ", ".join(labels), _style(panel, index, run_index))
    if panel.logarithmic:
        _make_logarithmic(axes)
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("step", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(panel.names) > 1 or len(logs) > 1:
        axes.legend(fontsize=8, ncols=2, frameon=False)


def _style(panel: Panel, index: int, run: int) -> dict[str, Any]:
    """One colour for each name, one kind of line for each run; runs of one name by colour."""
    if len(panel.names) == 1:
        return {"color": _COLOURS[run % len(_COLOURS)], "linestyle": _STYLES[run // len(_COLOURS) % len(_STYLES)]}
    style = run if run else index // len(_COLOURS)
    return {"color": _COLOURS[index % len(_COLOURS)], "linestyle": _STYLES[style % len(_STYLES)]}


def _draw_line(axes: Axes, panel: Panel, entries: Entries, name: str, label: str, style: Mapping[str, Any]) -> None:
    points = [(entry["step"], entry[name]) for entry in entries if _has(entry, panel.kind, name)]
    if not points:
        return
    scale = 100 if panel.kind == "evaluation" else 1
    steps, values = zip(*_averaged(points) if panel.kind == "train" else points, strict=True)
    marker = "o" if panel.kind == "evaluation" or len(points) == 1 else None
    axes.plot(steps, [scale * value for value in values], label=label, marker=marker, markersize=3, **style)


def _make_logarithmic(axes: Axes) -> None:
    """A logarithmic axis with several numbers, also where it spans less than a power of ten."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high > 6 * low:
        subs = (1, 1.5, 2, 3, 5, 7) if high < 30 * low else (1, 2, 5) if high < 1000 * low else (1,)
        axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _has(entry: Mapping[str, Any], kind: str, name: str) -> bool:
    return entry.get("type") == kind and isinstance(entry.get(name), (int, float))


def _averaged(points: list[tuple[int, float]]) -> list[tuple[float, float]]:
    """Means over stretches of neighbouring points, so that a long and noisy curve can be read."""
    size = -(-len(points) // _SMOOTHED_POINTS)
    stretches = [points[start : start + size] for start in range(0, len(points), size)]
    return [tuple(sum(column) / len(stretch) for column in zip(*stretch, strict=True)) for stretch in stretches]
