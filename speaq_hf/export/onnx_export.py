# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Writes ONNX files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..complete_files import complete_file
from .export_metadata import ExportMetadata
from .exported_module import ExportedModule


# They warn of what is no matter for who exports: operators of torchvision, sizes that cannot be printed, errors that follow.
_NOISY = ("torch.onnx._internal.exporter._registration", "torch.fx.experimental.symbolic_shapes", "torch.export")


def write_onnx(module: ExportedModule, metadata: ExportMetadata, output: Path, opset: int | None = None) -> None:
    """Write a model as ONNX file.

    Args:
        module: The model.
        metadata: Goes into the file's `metadata_props`.
        output: The file.
        opset: Version of ONNX's operators; None: the one that suits torch.

    Raises:
        ImportError: onnx or onnxscript is missing.
        ValueError: The exporter cannot do it with these operators.
    """
    import onnx
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    with quiet_exporter():
        program = convert_to_onnx(module.trace(), module.input_names, module.output_names, opset)
    written = program.model.opset_imports[""]
    if opset not in (None, written):
        raise ValueError(f"torch cannot export this model with opset {opset}, but with {written}: leave `opset` out")
    ClearMetadataAndDocStringPass()(program.model)  # which lines of which files on this machine made each node
    program.model.metadata_props.update(metadata.to_strings())
    with complete_file(output) as unfinished:
        program.save(unfinished)
        onnx.checker.check_model(unfinished, full_check=True)


def convert_to_onnx(
    program: torch.export.ExportedProgram, input_names: list[str], output_names: list[str], opset: int | None = None
) -> Any:
    """Translate a traced program, sorting included.

    Args:
        program: Of `torch.export`.
        input_names: Of the ONNX graph.
        output_names: Of the ONNX graph.
        opset: Version of ONNX's operators; None: the one that suits torch.

    Returns:
        A `torch.onnx.ONNXProgram`.

    Raises:
        ValueError: The exporter cannot do it with these operators.
    """
    try:
        return torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=input_names,
            output_names=output_names,
            opset_version=opset,
            custom_translation_table={torch.ops.aten.sort.stable: _stable_sort()},
        )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ValueError(f"torch cannot export this model with opset {opset}: {_first_line(error)}") from error


def _stable_sort() -> Callable[..., Any]:
    """ONNX has no sorting, but `TopK` of all, which by its definition leaves equal numbers in their order."""
    from onnxscript import opset18 as op

    def sort(values: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
        count = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]))
        return op.TopK(values, count, axis=dim, largest=int(descending), sorted=1)

    return sort


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Without the warnings of torch's exporters about themselves."""
    levels = {name: logging.getLogger(name).level for name in _NOISY}
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
