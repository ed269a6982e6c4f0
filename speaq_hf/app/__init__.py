# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The web app: choose a picture, see its scene graph. A Space can be written without gradio, which the app needs."""

from ..lazy_names import lazy_names


_MODULES = {"build_app": "web_app", "launch_app": "web_app", "write_space": "space_files"}

__all__ = sorted(_MODULES)
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
