# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Loads a model in the form in which it is to be measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoImageProcessor

from ..models.auto import AutoModelForSceneGraphGeneration
from ..predictor import SceneGraphPredictor, preferred_device
from ..quiet_loading import without_progress_bars


FORMS = ("optimized", "plain", "compiled")
_EXPORTED = (".onnx", ".pt2")


def is_exported(source: str | None) -> bool:
    """Whether that is the name of a file that `speaq export` has written."""
    return source is not None and source.endswith(_EXPORTED)


def load_measured(source: str, form: str, device: str | None, dtype: torch.dtype | None) -> SceneGraphPredictor:
    """Load a model.

    Args:
        source: Folder or Hub name, or an exported file.
        form: "optimized" for inference, as prediction does; "plain", as training does; "compiled": optimised, then compiled
            for images of any size at the first call.
        device: Where to compute; None: the accelerator, if there is one.
        dtype: Number format; None: the model's own.

    Returns:
        The predictor.

    Raises:
        OSError: There is no such model.
        ValueError: The form is unknown, the device is not there, or an exported file is asked for what it was not written for.
    """
    if form not in FORMS:
        raise ValueError(f"the form of a model must be one of {', '.join(FORMS)}, got {form}")
    if is_exported(source):
        return _load_exported(source, form, device, dtype)
    try:
        place = preferred_device() if device is None else torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"there is no device {device!r}: {str(error).splitlines()[0]}") from error
    try:
        with without_progress_bars():
            return _load(source, form, place, {} if dtype is None else {"dtype": dtype})
    except (RuntimeError, AssertionError) as error:  # of a device that this machine or this torch does not have
        raise ValueError(f"cannot compute on {device}: {str(error).splitlines()[0]}") from error


def _load(source: str, form: str, device: torch.device, dtype: dict[str, Any]) -> SceneGraphPredictor:
    if form == "plain":
        model = AutoModelForSceneGraphGeneration.from_pretrained(source, **dtype).to(device)
        return SceneGraphPredictor(model, AutoImageProcessor.from_pretrained(source))
    predictor = SceneGraphPredictor.from_pretrained(source, device=device, **dtype)
    if form == "compiled":
        predictor.model.compile(dynamic=True)
    return predictor


def _load_exported(source: str, form: str, device: str | None, dtype: torch.dtype | None) -> SceneGraphPredictor:
    from ..export import load_exported

    if form != FORMS[0] or device is not None or dtype is not None:
        raise ValueError(f"{Path(source).name} is measured as it was exported: leave form, device and dtype out")
    return load_exported(source)
