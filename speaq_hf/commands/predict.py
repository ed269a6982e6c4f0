# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`speaq predict`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from .shared_options import Device, NumberFormat, Revision
from .user_errors import user_errors


EXAMPLES = """\b
Examples:
  speaq predict photo.jpg
  speaq predict photo.jpg --pictures pictures
  speaq predict photos more/*.png --recursive --output predictions.jsonl
  speaq predict photos --output predictions.jsonl --resume
  speaq predict --data data/visual_genome --split test --model DIR --output predictions.jsonl
  speaq predict clip.mp4 --annotated-video annotated.mp4 --output frames.jsonl
  speaq predict --webcam 0
  accelerate launch -m speaq_hf.cli predict photos --output predictions.jsonl
"""
_EXIT_CODE_OF_A_CLOSED_PIPE = 141  # 128 and SIGPIPE, as of other programs


def predict(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help="Images, folders of images, videos, addresses (http, https) or quoted patterns as 'photos/**/*.jpg', in any mixture.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Folder or Hub name of a model; default: the small one that comes with the package."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File of predictions to write; `speaq evaluate` reads it.")
    ] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="Of that file: jsonl, coco or sgbench.")] = "jsonl",
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for a picture of each image: boxes, and the graph beside it.")
    ] = None,
    annotated_video: Annotated[
        Path | None, typer.Option(help="Video to write, with boxes and relations; for several videos a folder.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Take folders in folders, too.")] = False,
    data: Annotated[
        str | None, typer.Option(help="Predict the images of a scene graph data set, under its ids, instead of files.")
    ] = None,
    split: Annotated[str, typer.Option(help="Which images of --data.")] = "test",
    webcam: Annotated[
        str | None, typer.Option(help="Predict what a camera sees, by its number (or name); Ctrl-C ends it.")
    ] = None,
    every: Annotated[int, typer.Option(help="Of videos, predict every so many-th frame.")] = 1,
    fps: Annotated[float | None, typer.Option(help="Of videos, predict at most so many frames per second.")] = None,
    top_k: Annotated[
        int | None, typer.Option(help="Most relations of an image; default 100 in files, 15 in texts and pictures.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Lowest relation score; default 0 in files, 0.05 in texts and pictures."),
    ] = None,
    predicates_per_query: Annotated[int, typer.Option(help="Predicates that each relation query proposes.")] = 1,
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities/--no-probabilities",
            help="Write the probability of every predicate: nine tenths of a JSONL file.",
        ),
    ] = True,
    batch_size: Annotated[int, typer.Option(help="Images at once.")] = 8,
    num_workers: Annotated[int, typer.Option(help="Threads that read images meanwhile.")] = 4,
    device: Device = None,
    dtype: NumberFormat = None,
    revision: Revision = None,
) -> None:
    """Predict scene graphs of images, videos or a camera.

    They are printed, or written to files. The model that comes with the package knows drawn scenes only; name another one for
    photographs. Of videos each frame is predicted by itself.

    An interrupted run keeps what it has beside the output; the same command with --resume goes on. Images get their name as id,
    within their folder and without suffix, as a number where it is one; --data takes the ids of a data set.

    Exits with 0 when everything is predicted, 1 when some images or videos cannot be read (they are listed in the end, and in a
    file .skipped.jsonl beside the output; under accelerate launch, for which 1 is a crash, 0 remains), 2 when the command cannot
    be carried out, 130 or 143 when it was interrupted.
    """
    with user_errors("viz" if pictures else "train" if data else "video"), _quiet_when_nobody_reads():
        from ..prediction_run.frame_choice import FrameChoice
        from ..prediction_run.prediction_command import LoadOptions, run_prediction
        from ..prediction_run.run_options import RunOptions
        from ..prediction_run.sources import SourceOptions
        from ..predictor import GraphOptions

        wanted = SourceOptions(sources or [], recursive, data, split, webcam)
        options = RunOptions(
            output=output,
            format=format,
            predicate_probabilities=probabilities,
            pictures=pictures,
            annotated_video=annotated_video,
            resume=resume,
            overwrite=overwrite,
            graph=GraphOptions(**_given(top_k=top_k, threshold=threshold), predicates_per_query=predicates_per_query),
            frames=FrameChoice(every, fps),
            batch_size=batch_size,
            num_workers=num_workers,
            **_given(shown_relations=top_k, shown_score=threshold),
        )
        load = LoadOptions(model, device, dtype, revision)
        code = run_prediction(wanted, options, load, show=typer.echo, warn=partial(typer.echo, err=True))
    raise typer.Exit(code)


@contextmanager
def _quiet_when_nobody_reads() -> Iterator[None]:
    """`speaq predict photos | head` ends when `head` does."""
    try:
        yield
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered would fail again at the exit
        raise typer.Exit(_EXIT_CODE_OF_A_CLOSED_PIPE) from error


def _given(**options: float | None) -> dict[str, float]:
    """Those that are not left to their defaults."""
    return {name: value for name, value in options.items() if value is not None}
