# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What `speaq predict` does: sources to graphs, and in the end a report of what could not be read."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..predictor import SceneGraphPredictor
from ..quiet_loading import without_progress_bars
from .interruption import InterruptedRun, interruptible
from .processes import Processes, is_launched
from .readable_text import printable
from .run import PredictionRun, RunSummary
from .run_options import RunOptions
from .sources import SourceOptions


_LOW_SCORE = 0.05  # a model that knows such images has better relations
_MOST_LISTED = 10
# Said whatever the scores are: some photographs get high ones.
_PACKAGED_MODEL = (
    "The model that comes with the package knows drawn scenes only; for photographs name another one with --model"
)

Say = Callable[[str], Any]


@dataclass(frozen=True)
class LoadOptions:
    """Which model, and where it computes.

    Args:
        model: Folder or Hub name; None: the small one that comes with the package.
        device: None: the accelerator if there is one.
        dtype: Number format, a name of torch; None: that of the file.
        revision: Branch, tag or commit on the Hub.
    """

    model: str | None = None
    device: str | None = None
    dtype: str | None = None
    revision: str | None = None

    def load(self, device: torch.device | None = None) -> SceneGraphPredictor:
        """Loads the model, to `device` unless one was named.

        Raises:
            OSError: There is no such model.
            ValueError: There is no such number format or device.
        """
        given = {
            name: value for name, value in (("dtype", self.dtype), ("revision", self.revision)) if value is not None
        }
        if self.dtype is not None and not isinstance(getattr(torch, self.dtype, None), torch.dtype):
            raise ValueError(f"--dtype must be float32, bfloat16 or float16, got {self.dtype!r}")
        try:
            target = self.device and torch.device(self.device)
            with without_progress_bars():
                return SceneGraphPredictor.from_pretrained(self.model, device=target or device, **given)
        except (RuntimeError, AssertionError) as error:  # of torch, about devices
            raise ValueError(f"--device {self.device or device}: {str(error).splitlines()[0]}") from error


def run_prediction(wanted: SourceOptions, options: RunOptions, load: LoadOptions, show: Say, warn: Say) -> int:
    """Predicts and reports.

    Args:
        wanted: What to predict.
        options: How, and where to.
        load: The model.
        show: Called with results.
        warn: Called with everything else.

    Returns:
        The exit code: 0; 1 if something could not be read; 130 or 143 after a signal.

    Raises:
        OSError: A file is missing or cannot be written.
        ValueError: Something does not fit, or there is too little memory.
    """
    processes, run, start = Processes(), None, time.monotonic()
    speaking = warn if processes.is_first else _silent
    try:
        with interruptible(), warnings.catch_warnings():
            # What Pillow thinks of odd files; those that it cannot read are listed in the end.
            warnings.filterwarnings("ignore", module="PIL")
            settings = asdict(load) | {"device": None}
            run = PredictionRun(wanted.find(), options, settings, show, processes)
            summary = run(load.load(processes.device))
    except InterruptedRun as error:
        speaking(_interrupted(run, options))
        return error.exit_code
    except MemoryError as error:
        raise ValueError(str(error) or "there is not enough memory; --batch-size sets fewer images at once") from error
    if not summary.is_complete:
        warn(f"Process {processes.index} of {processes.count} is done; the last one writes {options.output}")
        return 0
    _report(summary, options, load, time.monotonic() - start, show, warn)
    return 1 if summary.skipped and not is_launched() else 0


def _silent(text: str) -> None:
    pass


def _interrupted(run: PredictionRun | None, options: RunOptions) -> str:
    if run is None or not (options.output or options.pictures):
        return "Interrupted"
    return f"Interrupted with {run.num_done} of {run.summary.num_images} images done; the same command with --resume goes on"


def _report(summary: RunSummary, options: RunOptions, load: LoadOptions, seconds: float, show: Say, warn: Say) -> None:
    if options.writes_files:
        show(_written(summary, options, seconds))
    if summary.num_predicted and load.model is None:
        warn(_PACKAGED_MODEL)
    elif summary.num_predicted and summary.best_score < _LOW_SCORE:
        warn(f"No relation scores more than {summary.best_score:.2f}: does the model know such images?")
    if summary.skipped:
        warn("\n".join(_listed(summary.skipped, options.skipped_file)))


def _written(summary: RunSummary, options: RunOptions, seconds: float) -> str:
    targets = [str(path) for path in (options.output, options.pictures, options.annotated_video) if path is not None]
    return f"Wrote {', '.join(targets)}: {summary.num_written} images or frames, {_share(summary)} in {seconds:.0f} s"


def _share(summary: RunSummary) -> str:
    """What this process did of what was written."""
    return (
        "predicted"
        if summary.num_predicted == summary.num_written
        else f"{summary.num_predicted} of them predicted here and now"
    )


def _listed(skipped: dict[str, str], file: Path | None) -> Iterator[str]:
    yield f"{len(skipped)} could not be read{f', listed in {file}' if file else ''}:"
    for name, reason in list(skipped.items())[:_MOST_LISTED]:
        yield printable(f"  {name}: {reason}")
    if len(skipped) > _MOST_LISTED:
        yield f"  … and {len(skipped) - _MOST_LISTED} more"
