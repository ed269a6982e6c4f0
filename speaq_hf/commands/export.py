# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`speaq export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .shared_options import Revision
from .user_errors import user_errors


def export(
    model: Annotated[str, typer.Argument(help="Folder or Hub name of a model.")],
    output: Annotated[Path, typer.Argument(help="File to write: .onnx, or .pt2 for torch.export.")],
    with_post_processing: Annotated[
        bool, typer.Option("--with-post-processing", help="Give scene graphs, not the predictions of all queries.")
    ] = False,
    top_k: Annotated[int | None, typer.Option(help="Of graphs: most relations of an image; default 100.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Of graphs: lowest relation score; default 0.")] = None,
    predicates_per_query: Annotated[
        int | None, typer.Option(help="Of graphs: predicates that each relation query proposes; default 1.")
    ] = None,
    nms_threshold: Annotated[
        float | None, typer.Option(help="Of graphs: IoU above which two boxes of a class are one object; default 0.5.")
    ] = None,
    pixel_mask: Annotated[
        bool, typer.Option("--pixel-mask", help="Take a mask, for batches of padded images.")
    ] = False,
    opset: Annotated[int | None, typer.Option(help="Version of ONNX's operators; default: torch's choice.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Run the file and compare it with the model.")] = False,
    revision: Revision = None,
) -> None:
    """Write a model as a file for ONNX Runtime or torch.export.

    The file takes any number of images of any size, and holds class names and preprocessing settings, too.

    Examples:

    speaq export outputs/speaq_vg/final speaq.onnx --check

    speaq export owner/name speaq.onnx --with-post-processing
    """
    with user_errors("export"):
        from ..export.export_options import ExportOptions
        from ..export.model_export import export_model
        from ..predictor import GraphOptions

        wanted = {
            "top_k": top_k,
            "threshold": threshold,
            "predicates_per_query": predicates_per_query,
            "nms_threshold": nms_threshold,
        }
        wanted = {name: value for name, value in wanted.items() if value is not None}
        if wanted and not with_post_processing:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in wanted)
            raise ValueError(f"{options}: without --with-post-processing the file makes no graphs; add it.")
        graph = GraphOptions(**wanted) if with_post_processing else None
        options = ExportOptions(graph, pixel_mask, opset, check)
        differences = export_model(model, output, options, **({"revision": revision} if revision else {}))
    if differences is not None:
        typer.echo(f"Largest difference from the model: {max(differences.values()):.1e}")
    typer.echo(f"Wrote {output}, {output.stat().st_size / 1e6:,.1f} MB")
