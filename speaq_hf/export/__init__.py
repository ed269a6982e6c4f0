# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Models in files that other programs run: ONNX, and programs of torch.export."""

from ..lazy_names import lazy_names


_LAZY = {
    "ExportOptions": "export_options",
    "export_model": "model_export",
    "load_exported": "exported_predictor",
}

__all__ = list(_LAZY)
__getattr__, __dir__ = lazy_names(__name__, _LAZY)
