# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Several models to choose from by name, of which only those that are asked for take memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from threading import Lock

from ..packaged_models import packaged_model
from ..predictor import SceneGraphPredictor
from ..quiet_loading import without_progress_bars


PACKAGED_MODEL = "speaq-tiny (packaged)"  # no folder and no Hub name


class ModelShelf:
    """Models by name, loaded when they are first asked for and kept.

    Args:
        models: Folders and Hub names; the packaged model is always there, too, as `PACKAGED_MODEL`.
    """

    def __init__(self, models: Iterable[str | os.PathLike] = ()) -> None:
        self.names = list(dict.fromkeys([*map(str, models), PACKAGED_MODEL]))
        self._loaded: dict[str, SceneGraphPredictor] = {}
        self._lock = Lock()

    def __getitem__(self, name: str) -> SceneGraphPredictor:
        """The model with its processor.

        Raises:
            KeyError: It is none of `names`: nobody but who starts the app says what is loaded.
            OSError: It cannot be loaded.
        """
        if name not in self.names:
            raise KeyError(f"{name} is none of the models {', '.join(self.names)}")
        with self._lock:  # two visitors at once load it once
            if name not in self._loaded:
                source = packaged_model() if name == PACKAGED_MODEL else name
                with without_progress_bars():
                    self._loaded[name] = SceneGraphPredictor.from_pretrained(source)
            return self._loaded[name]
