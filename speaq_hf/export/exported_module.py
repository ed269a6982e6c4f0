# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The part of a model that is exported: tensors in, tensors out, for inference alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.export import Dim
from transformers import PreTrainedModel

from ..models.speaq.modeling_speaq import PREDICTIONS
from ..models.speaq.post_processing_speaq import OUTPUT_NAMES
from .export_options import ExportOptions
from .graph_post_processing import GRAPH_OUTPUTS, GraphPostProcessing


# Sizes of the images that a program is traced with. Two images and uneven sides: torch takes a 1, and equal sides, for constants.
_EXAMPLE = (2, 3, 96, 128)
_DYNAMIC_AXES = {"pixel_values": (0, 2, 3), "pixel_mask": (0, 1, 2), "target_sizes": (0,)}


class ExportedModule(nn.Module):
    """What is traced: a model's predictions, or the graphs made of them, as a tuple in the order of `output_names`.

    Args:
        model: The model, in float32 on the CPU; optimised for inference here, if its class knows how.
        options: What it takes and gives.
    """

    def __init__(self, model: PreTrainedModel, options: ExportOptions) -> None:
        super().__init__()
        self.model = getattr(model, "optimize_for_inference", lambda: model)()
        self.post_process = None if options.graph is None else GraphPostProcessing(options.graph)
        self.input_names = ["pixel_values"]
        self.input_names += ["pixel_mask"] if options.pixel_mask else []
        self.input_names += [] if options.graph is None else ["target_sizes"]
        self.output_names = list(PREDICTIONS if options.graph is None else GRAPH_OUTPUTS)
        self.eval()

    def forward(
        self, pixel_values: Tensor, pixel_mask: Tensor | None = None, target_sizes: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Predict.

        Args:
            pixel_values: `(B, 3, H, W)`, normalised.
            pixel_mask: `(B, H, W)`, int64, 1 = image.
            target_sizes: For graphs `(B, 2)`, int64 (height, width) in pixels of the original images.

        Returns:
            The tensors that `output_names` names.
        """
        outputs = self.model(pixel_values, pixel_mask)
        if self.post_process is None:
            return tuple(outputs[name] for name in PREDICTIONS)
        return self.post_process(**{name: outputs[name] for name in OUTPUT_NAMES}, target_sizes=target_sizes)

    def example(self, shape: tuple[int, int, int, int] = _EXAMPLE) -> dict[str, Tensor]:
        """Inputs of the module for B images of noise, of `shape` (B, 3, H, W): the same for the same shape."""
        make: dict[str, Callable[[], Tensor]] = {
            "pixel_values": lambda: torch.randn(shape, generator=torch.Generator().manual_seed(0)),
            "pixel_mask": lambda: _example_mask(shape),
            "target_sizes": lambda: torch.tensor([shape[-2:]] * shape[0]),
        }
        return {name: make[name]() for name in self.input_names}

    def trace(self) -> torch.export.ExportedProgram:
        """The module as a program of torch.export for any number of images of any size."""
        shapes = {name: dict.fromkeys(_DYNAMIC_AXES[name], Dim.DYNAMIC) for name in self.input_names}
        with torch.no_grad():
            return torch.export.export(self, (), self.example(), dynamic_shapes=shapes)


def _example_mask(shape: tuple[int, int, int, int]) -> Tensor:
    """The last image is padded by a quarter at the right and at the bottom."""
    mask = torch.ones((shape[0], *shape[2:]), dtype=torch.long)
    mask[-1, shape[2] - shape[2] // 4 :] = 0
    mask[-1, :, shape[3] - shape[3] // 4 :] = 0
    return mask
