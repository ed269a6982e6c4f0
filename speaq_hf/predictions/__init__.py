# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Predicted scene graphs as files: ours, SGBench's and COCO's, so that anybody's model can be judged.

Names are resolved on first use; reading needs numpy only.
"""

from importlib import import_module
from typing import Any


_MODULE_OF = {
    "FORMATS": "prediction_files",
    "PredictedImage": "predicted_image",
    "PredictionWriter": "prediction_writer",
    "read_predictions": "prediction_files",
    "read_scene_graphs": "prediction_files",
    "recognise_predictions": "prediction_files",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
