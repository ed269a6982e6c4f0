# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`speaq card`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .user_errors import user_errors


def card(
    model: Annotated[str, typer.Argument(help="Folder of a model or of its training run, or a Hub name.")],
    output: Annotated[Path | None, typer.Option(help="File to write; default README.md beside the model.")] = None,
    metrics: Annotated[
        list[Path] | None,
        typer.Option(
            help="Results of training/evaluate.py or speaq evaluate, repeat for several; default evaluation_*.json beside the "
            "model, else those of its training."
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="An image whose predicted graph is drawn to graph.png beside the card.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the model; default: of its run or folder.")] = None,
    source: Annotated[str | None, typer.Option(help="What users load, such as owner/name; default: the name.")] = None,
    license: Annotated[str | None, typer.Option(help="Of the weights, as on the Hub: apache-2.0.")] = None,
    published: Annotated[
        str | None,
        typer.Option(help="The weights are the authors', converted: quote their numbers. speaq or iterative_sgg."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a card that this command has not written.")
    ] = False,
) -> None:
    """Write a model's card.

    It tells data, recipe, results, use, limits and citation.

    Example: speaq card outputs/speaq_vg --picture photo.jpg --license apache-2.0

    Training writes one, too; write it anew after training/evaluate.py. `hf upload owner/name outputs/speaq_vg/final` takes it to
    the Hub with the model, where a later `push_to_hub` of the model keeps it.
    """
    with user_errors("viz"):
        from ..cards.card_results import read_results
        from ..cards.model_card import CardOptions, build_model_card, is_written_here
        from ..checkpoints.checkpoint_files import CheckpointFiles
        from ..text_files import check_writable, write_text

        files = CheckpointFiles.of(model)
        path = output or _default_output(files.folder)
        if not overwrite and not is_written_here(path):
            raise FileExistsError(f"{path} exists and was not written by this command; say --overwrite to replace it")
        check_writable(path)
        results = None if metrics is None else [read_results(file) for file in metrics]
        options = CardOptions(name, source, license, None if picture is None else "graph.png", published)
        text = str(build_model_card(files, options, results))
        if picture is not None:
            from ..cards.card_picture import draw_card_picture
            from ..predictor import SceneGraphPredictor
            from ..quiet_loading import without_progress_bars

            with without_progress_bars():
                draw_card_picture(
                    SceneGraphPredictor.from_pretrained(files.name), picture, path.with_name("graph.png")
                )
        write_text(path, text)
    typer.echo(f"Wrote {path}")


def _default_output(folder: Path | None) -> Path:
    if folder is None:
        raise ValueError("name the file to write with --output: a model on the Hub has no folder here")
    return folder / "README.md"
