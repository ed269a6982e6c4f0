# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The `speaq` command: one sub-command per task, each a thin layer over the library."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer


app = typer.Typer(
    name="speaq",
    help="Scene graph generation with SpeaQ.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # no frames: paths in errors stay whole, for eyes and for grep
)


@app.callback()
def _speaq() -> None:
    """Scene graph generation with SpeaQ."""


@app.command("generate-data")
def generate_data(
    root: Annotated[Path, typer.Argument(help="Folder to write the data set to, empty or of a generated set.")],
    num_images: Annotated[int, typer.Option("--num-images", "-n", help="How many images.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same images.")] = 0,
    image_size: Annotated[int, typer.Option(help="Width and height in pixels.")] = 256,
    domain: Annotated[
        str, typer.Option(help='"synthetic": flat renders; "real": camera-like, Visual Genome\'s file names.')
    ] = "synthetic",
    max_objects: Annotated[int, typer.Option(help="Most objects of an image.")] = 8,
    max_relations: Annotated[int, typer.Option(help="Most relations of an image.")] = 8,
    predicate_zipf: Annotated[
        float | None, typer.Option(help="Exponent of the predicates' long tail, 0 to 3.")
    ] = None,
    held_out_share: Annotated[
        float, typer.Option(help="Share of the rarer triplets that only test images show.")
    ] = 0.12,
    missing_relations: Annotated[float, typer.Option(help="Share of training relations left out.")] = 0.0,
    duplicate_relations: Annotated[float, typer.Option(help="Share of training relations listed twice.")] = 0.0,
    box_jitter: Annotated[float, typer.Option(help="Deviation of training boxes, as a share of the side.")] = 0.0,
    num_workers: Annotated[int | None, typer.Option(help="Processes; default one per core.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a set generated before.")] = False,
) -> None:
    """Draw a synthetic scene graph data set in the file formats of Visual Genome."""
    from .data.annotation_noise import AnnotationNoise
    from .data.generator import generate_synthetic_genome
    from .data.scenes import SceneComplexity
    from .data.triplet_distribution import TripletDistribution

    try:
        generate_synthetic_genome(
            root,
            num_images,
            seed,
            image_size=image_size,
            domain=domain,
            complexity=SceneComplexity(max_objects=max_objects, max_relations=max_relations),
            distribution=TripletDistribution(predicate_zipf, held_out_share),
            noise=AnnotationNoise(missing_relations, duplicate_relations, box_jitter),
            num_workers=num_workers,
            overwrite=overwrite,
            progress=True,
        )
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"Wrote {num_images} images with annotations to {root}")


@app.command("plot-log")
def plot_log(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of training runs, or their log.jsonl.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="Picture to write (png, pdf, svg); default RUN/curves.png, for several runs beside the first."
        ),
    ] = None,
) -> None:
    """Draw the losses and metrics of a training run, or of several runs over each other."""
    from .training_curves import save_training_curves

    try:
        typer.echo(f"Wrote {save_training_curves(*runs, output=output)}")
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error


@app.command("data-report")
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
    """
    from .data.report import report_data, report_json
    from .data.report_text import report_text
    from .text_files import check_writable, write_text

    try:
        if html_file is not None:
            from .data.report_page import report_page
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
    except ImportError as error:
        raise typer.BadParameter(f"pip install speaq_hf[train,viz] first ({error})") from error
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(report_text(report), nl=False)
    raise typer.Exit(code=1 if report.num_errors else 0)


@app.command("convert-data")
def convert_data(
    source: Annotated[str, typer.Argument(help="Folder or file of a scene graph data set, or a Hub repository.")],
    target: Annotated[Path, typer.Argument(help="Folder to write.")],
    format: Annotated[str, typer.Option("--format", "-f", help="visual_genome, coco, imagefolder, arrow or parquet.")],
    source_format: Annotated[str | None, typer.Option(help="Where the source holds several formats.")] = None,
    images: Annotated[str | None, typer.Option(help="Folder of the source's images, if it is another.")] = None,
    keep_empty: Annotated[
        bool, typer.Option("--keep-empty", help="From Visual Genome's files, also images without relations.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a target that this command wrote and that holds nothing else.")
    ] = False,
) -> None:
    """Convert a scene graph data set, with all its splits, to another format.

    The target must be a folder beside the source: not the source, not within it, and not one that contains it.
    """
    from .data.scene_graph_files import convert_scene_graphs

    options = ({"images": images} if images else {}) | ({"keep_empty": True} if keep_empty else {})
    try:
        converted = convert_scene_graphs(
            source, target, format, source_format=source_format, overwrite=overwrite, **options
        )
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    counts = ", ".join(f"{count} {split}" for split, count in converted.items())
    typer.echo(f"Wrote {counts} images with their graphs to {target}")


@app.command("evaluate")
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
    """Judge files of predicted scene graphs, whoever made them, by one protocol or several.

    With two files, also say which one is better, and whether that can be chance.
    """
    try:
        from .evaluation_command import EvaluationOptions, run_evaluation

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
    except ImportError as error:
        raise typer.BadParameter(f"pip install speaq_hf[train,eval,viz] first ({error})") from error
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error


def main() -> None:
    """Entry point of the `speaq` command."""
    app()


if __name__ == "__main__":
    main()
