# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Loads a saved model with 8-bit weights and compares it with recorded predictions.

Run as `python -m speaq_hf.testing.quantized_model FOLDER MODULE CLASS`; the last line of the output is JSON.
"""

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def report(folder: Path, module: str, name: str) -> dict[str, Any]:
    """Load with 8-bit weights and compare.

    Args:
        folder: Holds the model in `model` and, in `recorded.pt`, its `inputs` and `expected` predictions.
        module: Where the class of the model is defined.
        name: Of this class.

    Returns:
        `missing` (why nothing could be tested, or `None`), `quantized` (number of quantized weights), `largest_error` (of
        a probability or coordinate).
    """
    if importlib.util.find_spec("torchao") is None:
        return {"missing": "torchao is not installed"}
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    model_class = getattr(importlib.import_module(module), name)
    model = model_class.from_pretrained(folder / "model", quantization_config=TorchAoConfig(Int8WeightOnlyConfig()))
    recorded = torch.load(folder / "recorded.pt", weights_only=True)
    with torch.no_grad():
        outputs = model(**recorded["inputs"])
    errors = [
        (_probabilities(key, outputs[key]) - _probabilities(key, value)).abs().max().item()
        for key, value in recorded["expected"].items()
    ]
    return {"missing": None, "quantized": _quantized(model), "largest_error": max(errors)}


def _quantized(model: nn.Module) -> int:
    return sum(type(parameter.data) is not Tensor for parameter in model.parameters())


def _probabilities(name: str, value: Tensor) -> Tensor:
    return value if name.endswith("boxes") else value.softmax(-1)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(report(Path(sys.argv[1]), *sys.argv[2:])) + "\n")
