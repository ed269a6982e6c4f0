# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`speaq evaluate`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from .user_errors import user_errors


def evaluate(
    predictions: Annotated[
        list[Path],
        typer.Option(help="File of predictions: our JSONL, SGBench's or COCO's JSON. Give two to compare them."),
    ],
    ground_truth: Annotated[str, typer.Option(help="Folder or file of a scene graph data set, or a Hub repository.")],
    split: Annotated[str, typer.Option(help="Which images: train, val or test.")] = "test",
    format: Annotated[
        str | None, typer.Option("--format", "-f", help="Where the data set holds several formats.")
    ] = None,
    num_validation_images: Annotated[
        int | None, typer.Option(help="In Visual Genome's files: how many training images are the validation split.")
    ] = None,
    mode: Annotated[
        str, typer.Option(help="sgdet, sgcls (boxes are given) or predcls (boxes and classes are).")
    ] = "sgdet",
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="Rules to follow, repeat for several; default speaq, strict, sgb, sgbench."),
    ] = None,
    k: Annotated[
        list[int] | None, typer.Option("--k", help="Predictions to look at, repeat for several; default 20, 50, 100.")
    ] = None,
    iou_threshold: Annotated[float, typer.Option(help="Lowest overlap of two boxes that agree.")] = 0.5,
    replicates: Annotated[int, typer.Option(help="Bootstrap replicates behind the intervals; 0: none.")] = 1000,
    objects: Annotated[
        bool, typer.Option("--objects", help="Measure the objects' average precision, too; keeps all detections.")
    ] = False,
    skip_unknown_images: Annotated[
        bool, typer.Option("--skip-unknown-images", help="Skip predictions for images that are not annotated.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Write all numbers to this JSON file.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with tables, charts, causes of errors and images here.")
    ] = None,
    report_images: Annotated[int, typer.Option(help="Most images of that page.")] = 1000,
) -> None:
    """Judge predicted scene graphs, whoever made them.

    The files are judged by one protocol or several. With two files, also say which one is better, and whether that can
    be chance.

    Example: speaq evaluate --predictions predictions.jsonl --ground-truth data/visual_genome
    """
    with user_errors("train,eval,viz"):
        from ..metrics.evaluation_run import EvaluationOptions, run_evaluation

        options = EvaluationOptions(
            split=split,
            format=format,
            num_validation_images=num_validation_images,
            mode=mode,
            iou_threshold=iou_threshold,
            num_replicates=replicates,
            objects=objects,
            skip_unknown_images=skip_unknown_images,
            output=output,
            report=report,
            num_report_images=report_images,
            **({"protocols": protocol} if protocol else {}),
            **({"ks": k} if k else {}),
        )
        run_evaluation(predictions, ground_truth, options, show=partial(typer.echo, nl=False))
