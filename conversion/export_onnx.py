# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Export a model to ONNX; `speaq export` does the same.

python conversion/export_onnx.py --model outputs/speaq_vg/final --output speaq.onnx --check
"""

import sys
from pathlib import Path
from typing import Annotated

import typer


# Run as a script, Python knows only this file's folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from speaq_hf.commands.export import export  # noqa: E402


def main(
    model: Annotated[str, typer.Option(help="Folder or Hub name of a model.")],
    output: Annotated[Path, typer.Option(help="File to write: .onnx, or .pt2 for torch.export.")],
    with_post_processing: Annotated[
        bool, typer.Option("--with-post-processing", help="Give scene graphs, not the predictions of all queries.")
    ] = False,
    opset: Annotated[int | None, typer.Option(help="Version of ONNX's operators; default: torch's choice.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Run the file and compare it with the model.")] = False,
) -> None:
    """Export a model to ONNX."""
    export(model, output, with_post_processing=with_post_processing, opset=opset, check=check)


if __name__ == "__main__":
    typer.run(main)
