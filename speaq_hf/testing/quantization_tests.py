# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Common tests: a model can be loaded with 8-bit weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from .model_case import PREDICTIONS, ModelCase


class QuantizationTests:
    """torchao runs in a process of its own: once importable, every import of transformers loads it and its noise."""

    case: ModelCase

    def test_8_bit_weights(self, tmp_path: Path) -> None:
        """Loaded with torchao's 8-bit weights a model is smaller and predicts nearly the same."""
        import pytest

        model = self.case.build()
        model.save_pretrained(tmp_path / "model")
        inputs = self.case.inputs(model.config)
        outputs = model(**inputs)
        expected = {name: outputs[name].detach() for name in PREDICTIONS}
        torch.save({"inputs": inputs, "expected": expected}, tmp_path / "recorded.pt")
        command = [sys.executable, "-m", "speaq_hf.testing.quantized_model", str(tmp_path)]
        command += [self.case.head_class.__module__, self.case.head_class.__name__]
        done = subprocess.run(command, capture_output=True, text=True, env=_environment())
        assert done.returncode == 0, done.stderr[-3000:]
        report = json.loads(done.stdout.splitlines()[-1])
        if report["missing"] is not None:
            pytest.skip(report["missing"])
        assert report["quantized"] > 0
        assert report["largest_error"] < 0.05


def _environment() -> dict[str, str]:
    """Where this process finds modules, and where `make` puts torchao."""
    paths = [*sys.path, str(Path(sys.prefix) / "quantization")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
