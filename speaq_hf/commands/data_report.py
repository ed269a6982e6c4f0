# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`speaq data-report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .user_errors import user_errors


def data_report(
    root: Annotated[
        str,
        typer.Argument(
            metavar="ROOT",
            help="Folder or file of a data set: Visual Genome's files, COCO JSON, an image folder, arrow, Parquet; or a Hub "
            "repository.",
        ),
    ],
    other_root: Annotated[str | None, typer.Argument(metavar="ROOT2", help="A second set, to compare.")] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", "-f", help="Of the sets, where a folder holds several: visual_genome, coco, …"),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all numbers and defects here.")] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write a page with charts and samples here.")
    ] = None,
    image_folder: Annotated[str | None, typer.Option(help="Folder of the images (Visual Genome, COCO).")] = None,
    decode: Annotated[bool, typer.Option("--images/--no-images", help="Read every image file.")] = True,
    num_samples: Annotated[int, typer.Option(help="Sample pictures per set on the page.")] = 6,
    max_listed: Annotated[int, typer.Option(help="Defects of one kind to list; all are counted.")] = 20,
    num_threads: Annotated[int | None, typer.Option(help="Threads that read images.")] = None,
) -> None:
    """Count, compare and check data sets.

    Exits with 1 if a set has errors: what a reader refuses, or what teaches a model something false (broken files,
    boxes without area or outside their image, relations to missing boxes, unknown classes, missing images or images of
    another size). Exits with 0 if there are at most warnings (duplicates, self relations, boxes across the border of
    their image, rows or files that nobody uses).

    Example: speaq data-report data/visual_genome data/synthetic_genome --html report.html
    """
    with user_errors("train,viz"):
        from ..data.report import report_data, report_json
        from ..data.report_text import report_text
        from ..text_files import check_writable, write_text

        if html_file is not None:
            from ..data.report_page import report_page
        for file in (json_file, html_file):
            if file is not None:
                check_writable(file)
        report = report_data(
            *([root] if other_root is None else [root, other_root]),
            format=format,
            images=image_folder,
            decode_images=decode,
            num_samples=num_samples if html_file is not None else 0,
            max_listed=max_listed,
            num_threads=num_threads,
            progress=True,
        )
        if json_file is not None:
            write_text(json_file, report_json(report))
        if html_file is not None:
            write_text(html_file, report_page(report))
    typer.echo(report_text(report), nl=False)
    raise typer.Exit(code=1 if report.num_errors else 0)
