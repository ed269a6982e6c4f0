# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Predicted scene graphs as files: ours, SGBench's and COCO's, so that anybody's model can be judged.

Names are resolved on first use; reading needs numpy only.
"""

from ..lazy_names import lazy_names


_MODULE_OF = {
    "FORMATS": "prediction_files",
    "PredictedImage": "predicted_image",
    "PredictionWriter": "prediction_writer",
    "read_predictions": "prediction_files",
    "read_scene_graphs": "prediction_files",
    "recognise_predictions": "prediction_files",
}

__all__ = sorted(_MODULE_OF)
__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
