# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`speaq bench`."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from .shared_options import Device, NumberFormat
from .user_errors import user_errors


def bench(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Folder or Hub name of a model, or an exported file; default: the small model of the package."
        ),
    ] = None,
    image: Annotated[
        str | None, typer.Argument(help="Path or address of an image; default: noise, 640 x 480.")
    ] = None,
    form: Annotated[
        str, typer.Option(help="optimized for inference, plain as in training, or compiled by torch.")
    ] = "optimized",
    batch_size: Annotated[
        list[int] | None,
        typer.Option("--batch-size", "-b", help="Images per batch, repeat for several; default 1, 2, 4."),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Runs that count.")] = 10,
    warm_up: Annotated[int, typer.Option(help="Runs before them.")] = 2,
    device: Device = None,
    dtype: NumberFormat = None,
    threads: Annotated[int | None, typer.Option(help="Of torch; default: as the machine has it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how fast a model is, and its memory.

    Preprocessing, network and post-processing of an image are timed one by one.

    Examples:

    speaq bench

    speaq bench outputs/speaq_vg/final photo.jpg --batch-size 1 --batch-size 8 --dtype bfloat16

    speaq bench speaq.onnx photo.jpg
    """
    with user_errors():
        from ..inspection.benchmark_run import BenchOptions, run_benchmark
        from ..inspection.report_tables import benchmark_text

        options = BenchOptions(
            model=model, form=form, image=image, repeats=repeats, warm_up=warm_up, device=device, dtype=dtype, threads=threads,
            **({"batch_sizes": batch_size} if batch_size else {}),
        )  # fmt: skip
        report, speeds = run_benchmark(options)
    if as_json:
        typer.echo(json.dumps(report | {"batches": [dataclasses.asdict(speed) for speed in speeds]}, indent=2))
    else:
        typer.echo(benchmark_text(report, speeds))
