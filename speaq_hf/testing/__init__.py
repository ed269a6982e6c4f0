# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Tests that every scene graph model passes; a model of your own inherits them. Needs pytest.

```python
class TestMyModel(SceneGraphModelTests):
    case = ModelCase(my_tiny_config, MyModel, MyModelForSceneGraphGeneration)
```
"""

from .compilation_tests import CompilationTests, SlowCompilationTests
from .loading_tests import LoadingTests
from .model_case import PREDICTIONS, ModelCase, image_batch
from .prediction_tests import PredictionTests
from .quantization_tests import QuantizationTests
from .training_tests import TrainingTests


class SceneGraphModelTests(LoadingTests, PredictionTests, TrainingTests, CompilationTests, QuantizationTests):
    """All tests that take seconds; the class attribute `case` says which model is tested."""


__all__ = [
    "PREDICTIONS",
    "CompilationTests",
    "LoadingTests",
    "ModelCase",
    "PredictionTests",
    "QuantizationTests",
    "SceneGraphModelTests",
    "SlowCompilationTests",
    "TrainingTests",
    "image_batch",
]
