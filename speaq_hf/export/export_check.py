# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Whether an exported file gives what the model gives."""

from __future__ import annotations

import torch

from .exported_models import ExportedModel
from .exported_module import ExportedModule


TOLERANCE = 1e-3
# (B, 3, H, W): other sizes than the one it was traced with, odd ones, upright ones, several images.
_SHAPES = ((1, 3, 96, 128), (2, 3, 161, 97), (1, 3, 75, 250), (3, 3, 64, 64))
# Of graphs: a rounding error may swap two relations that are equally good, and their other fields with them.
_COMPARED_OF_GRAPHS = ("relation_scores",)


def check_export(module: ExportedModule, exported: ExportedModel) -> dict[str, float]:
    """Compare on images of noise of several sizes.

    Args:
        module: What was exported.
        exported: The file.

    Returns:
        The largest difference of each output.

    Raises:
        ValueError: One is larger than 1e-3 or not a number, or an output has another shape.
    """
    names = module.output_names if module.post_process is None else _COMPARED_OF_GRAPHS
    differences = dict.fromkeys(names, 0.0)
    for shape in _SHAPES:
        inputs = module.example(shape)
        with torch.inference_mode():
            expected = dict(zip(module.output_names, module(**inputs), strict=True))
        outputs = exported.run(inputs)
        for name in names:
            if outputs[name].shape != expected[name].shape:
                raise ValueError(
                    f"the exported file gives {name} {tuple(outputs[name].shape)} where the model gives "
                    f"{tuple(expected[name].shape)} (batch, height, width: {shape})"
                )
            difference = (expected[name] - outputs[name]).abs().max()
            differences[name] = torch.maximum(torch.tensor(differences[name]), difference).item()  # keeps nan
    wrong = {name: difference for name, difference in differences.items() if not difference <= TOLERANCE}
    if wrong:
        raise ValueError(f"the exported file differs from the model by more than {TOLERANCE}: {wrong}")
    return differences
