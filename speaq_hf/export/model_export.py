# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""From a saved model to a file that other programs run."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ..models.speaq.post_processing_speaq import check_integer, check_options
from ..predictor import SceneGraphPredictor
from ..quiet_loading import without_progress_bars
from .export_check import check_export
from .export_metadata import ExportMetadata
from .export_options import ExportOptions
from .exported_module import ExportedModule
from .exported_predictor import load_exported
from .onnx_export import write_onnx
from .program_export import write_program


_WRITERS = {".onnx": write_onnx, ".pt2": write_program}


def export_model(
    source: str | os.PathLike | None,
    output: str | os.PathLike,
    options: ExportOptions | None = None,
    **loading: object,
) -> dict[str, float] | None:
    """Export a model for inference in 32-bit floating-point numbers: any number of images of any size.

    Args:
        source: Folder or Hub name; None: the small model of the package.
        output: File to write: `.onnx` for ONNX, `.pt2` for torch.export.
        options: What the file takes and gives.
        loading: Of `from_pretrained`: `revision`, `token`, …

    Returns:
        With `options.check` by how much each output differs from the model's, at most; else None.

    Raises:
        OSError: There is no such model or no such folder.
        ValueError: The suffix is unknown, an option is out of range or does not fit the format, the model's weights are damaged,
            or what was written does not give what the model gives.
        ImportError: A library of the extra `export` is missing.
    """
    options, output = options or ExportOptions(), Path(output)
    _check(options, output)
    with without_progress_bars():
        predictor = SceneGraphPredictor.from_pretrained(source, device="cpu", dtype=torch.float32, **loading)
    _check_predicates(options, len(predictor.model.config.id2predicate))
    metadata = ExportMetadata.of(predictor.model, predictor.processor, options)
    module = ExportedModule(predictor.model, options)
    _WRITERS[output.suffix](module, metadata, output, options.opset)
    return check_export(module, load_exported(output).model) if options.check else None


def _check(options: ExportOptions, output: Path) -> None:
    if output.suffix not in _WRITERS:
        raise ValueError(f"the output must end in {' or '.join(_WRITERS)}, got {output}")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {output.parent} for {output.name}; make it first")
    if options.opset is not None and output.suffix != ".onnx":
        raise ValueError(f"`opset` is an option of ONNX files, and {output} is none")
    if options.graph is not None:
        check_options(options.graph.top_k, options.graph.nms_threshold, options.graph.threshold)
        check_integer("predicates_per_query", options.graph.predicates_per_query)


def _check_predicates(options: ExportOptions, num_predicates: int) -> None:
    if options.graph is not None and not 1 <= options.graph.predicates_per_query <= num_predicates:
        raise ValueError(
            f"`predicates_per_query` must be in [1, {num_predicates}], got {options.graph.predicates_per_query}"
        )
