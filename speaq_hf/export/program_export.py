# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Writes programs of torch.export."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from ..complete_files import complete_file
from .export_metadata import ExportMetadata
from .exported_module import ExportedModule
from .onnx_export import quiet_exporter


METADATA_FILE = "speaq_hf.json"  # within the archive


def write_program(module: ExportedModule, metadata: ExportMetadata, output: Path, opset: None = None) -> None:
    """Write a model as a program that torch runs without this package.

    Args:
        module: The model.
        metadata: Goes into the archive as JSON.
        output: The file.
        opset: Of ONNX files alone.
    """
    with quiet_exporter(), complete_file(output) as unfinished, open(unfinished, "wb") as file:
        torch.export.save(module.trace(), file, extra_files={METADATA_FILE: json.dumps(metadata.to_strings())})
