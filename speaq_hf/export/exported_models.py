# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Exported files in the place of a model: called with the same inputs, they give the same outputs."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zipfile import BadZipFile

import torch
from torch import Tensor

from ..models.speaq.modeling_speaq import PREDICTIONS
from .export_metadata import ExportMetadata
from .graph_post_processing import GRAPH_OUTPUTS
from .onnx_export import quiet_exporter
from .program_export import METADATA_FILE


# Others that onnxruntime may have, as TensorRT's, need minutes for each new size of image.
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class ExportedModel(ABC):
    """An exported file, with as much of a model's interface as prediction needs.

    Args:
        metadata: What the file says of itself.
    """

    device = torch.device("cpu")  # where inputs and outputs lie
    dtype = torch.float32

    def __init__(self, metadata: ExportMetadata) -> None:
        self.metadata = metadata
        self.config = SimpleNamespace(
            id2label=metadata.id2label, id2predicate=metadata.id2predicate, _attn_implementation="exported"
        )
        self.output_names = PREDICTIONS if metadata.graph is None else GRAPH_OUTPUTS

    @abstractmethod
    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute all outputs from all inputs of the file, by their names."""

    def eval(self) -> ExportedModel:
        """An exported model knows nothing else."""
        return self

    def __call__(
        self,
        pixel_values: Tensor,
        pixel_mask: Tensor | None = None,
        target_sizes: Tensor | None = None,
        labels: Any = None,
    ) -> dict[str, Tensor]:
        """Predict, as the model does.

        Args:
            pixel_values: `(B, 3, H, W)`, normalised.
            pixel_mask: `(B, H, W)`, 1 = image; all image when missing.
            target_sizes: `(B, 2)` (height, width) in pixels, for files that give graphs.
            labels: Not known here.

        Returns:
            The outputs by name.

        Raises:
            ValueError: There are labels, or padding that the file cannot be told of.
        """
        if labels is not None:
            raise ValueError("an exported model computes no loss: leave `labels` out, or use the model itself")
        inputs = {"pixel_values": pixel_values}
        if self.metadata.pixel_mask:
            ones = torch.ones(pixel_values[:, 0].shape, dtype=torch.long)
            inputs["pixel_mask"] = ones if pixel_mask is None else pixel_mask.long()
        elif pixel_mask is not None and not pixel_mask.all():
            raise ValueError("this file takes images without padding: export it with a mask, or pass equal sizes only")
        if target_sizes is not None:
            inputs["target_sizes"] = target_sizes
        return self.run(inputs)


class OnnxModel(ExportedModel):
    """An ONNX file, computed by onnxruntime with as many threads as torch has.

    Args:
        file: The file.

    Raises:
        ImportError: onnxruntime is missing.
        ValueError: It cannot be read, or is not from this package.
    """

    def __init__(self, file: Path) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that wait by spinning would take the processor from what comes before and after the network.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = [name for name in _PROVIDERS if name in onnxruntime.get_available_providers()]
        try:
            self.session = onnxruntime.InferenceSession(str(file), options, providers=providers)
        except (
            errors.Fail,
            errors.InvalidArgument,
            errors.InvalidProtobuf,
            errors.InvalidGraph,
            errors.NotImplemented,
        ) as error:
            raise ValueError(f"{file} cannot be read as ONNX: {error}") from error
        strings = self.session.get_modelmeta().custom_metadata_map
        super().__init__(ExportMetadata.from_strings(str(file), strings))

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `ExportedModel`."""
        arrays = {
            name: (v.float() if v.is_floating_point() else v).detach().cpu().numpy() for name, v in inputs.items()
        }
        values = self.session.run(self.output_names, arrays)
        return {name: torch.from_numpy(value) for name, value in zip(self.output_names, values, strict=True)}


class ProgramModel(ExportedModel):
    """A program of torch.export.

    Args:
        file: The file.

    Raises:
        ValueError: It cannot be read, or is not from this package.
    """

    def __init__(self, file: Path) -> None:
        extra_files = {METADATA_FILE: ""}
        try:
            with quiet_exporter():
                program = torch.export.load(file, extra_files=extra_files)
            strings = json.loads(extra_files[METADATA_FILE] or "{}")
        except (RuntimeError, ValueError, KeyError, AttributeError, BadZipFile) as error:
            raise ValueError(f"{file} cannot be read as a program of torch.export: {error}") from error
        self.module = program.module()
        super().__init__(ExportMetadata.from_strings(str(file), strings))

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `ExportedModel`."""
        try:
            with torch.inference_mode():
                return dict(zip(self.output_names, self.module(**inputs), strict=True))
        except AssertionError as error:  # of the sizes that the exporter has taken for granted
            height, width = inputs["pixel_values"].shape[-2:]
            raise ValueError(
                f"this program does not take images of {height} x {width} pixels, which are one cell of the feature map high or "
                "wide: pass larger ones, or export the model to ONNX, where it takes any"
            ) from error
