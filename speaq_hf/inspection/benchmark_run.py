# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What `speaq bench` does: loads a model and an image, and times one on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..checkpoints.checkpoint_files import CheckpointFiles
from ..image_reading import read_image
from ..packaged_models import packaged_model
from ..predictor import SceneGraphPredictor
from .measured_model import FORMS, is_exported, load_measured
from .model_benchmark import BatchSpeed, measure, measure_batch
from .system_report import device_report


_DTYPES = ("float32", "bfloat16", "float16")
_NOISE_SIZE = (640, 480)  # width and height


@dataclass(frozen=True)
class BenchOptions:
    """What is measured, and how.

    Args:
        model: Folder or Hub name, or an exported file; None: the packaged model.
        form: See `load_measured`.
        image: Path or address; None: noise.
        batch_sizes: Images per batch.
        repeats: Runs that count.
        warm_up: Runs before them.
        device: Where to compute; None: the accelerator, if there is one.
        dtype: Number format; None: the model's own.
        threads: Of torch; None: as they are.
    """

    model: str | None = None
    form: str = FORMS[0]
    image: str | None = None
    batch_sizes: Sequence[int] = (1, 2, 4)
    repeats: int = 10
    warm_up: int = 2
    device: str | None = None
    dtype: str | None = None
    threads: int | None = None


def run_benchmark(options: BenchOptions) -> tuple[dict[str, Any], list[BatchSpeed]]:
    """Measure a model.

    Args:
        options: What and how.

    Returns:
        What was measured where, ready for JSON, and the speed of each batch size.

    Raises:
        OSError: There is no such model.
        ValueError: An option is out of range, or the image cannot be read.
    """
    if options.dtype is not None and options.dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {options.dtype}")
    if options.threads is not None:
        if options.threads < 1:
            raise ValueError(f"threads must be at least 1, got {options.threads}")
        torch.set_num_threads(options.threads)
    image = _noise() if options.image is None else read_image(options.image)
    source = _source(options.model)
    dtype = None if options.dtype is None else getattr(torch, options.dtype)
    predictors: list[SceneGraphPredictor] = []
    load = measure(
        lambda: predictors.append(load_measured(source, options.form, options.device, dtype)), repeats=1, warm_up=0
    )
    (predictor,) = predictors
    speeds = [
        measure_batch(predictor, image, batch_size, options.repeats, options.warm_up)
        for batch_size in options.batch_sizes
    ]
    return _report(options, predictor, image) | {"loading_seconds": round(load.median, 3)}, speeds


def _source(model: str | None) -> str:
    if model is None:
        return str(packaged_model())
    return model if is_exported(model) else CheckpointFiles.of(model).name


def _report(options: BenchOptions, predictor: SceneGraphPredictor, image: Image.Image) -> dict[str, Any]:
    model = predictor.model
    device = device_report(model.device)
    return {
        "model": options.model or packaged_model().name,
        "form": "exported" if is_exported(options.model) else options.form,
        "image": f"{options.image or 'noise'}, {image.width} x {image.height}",
        "device": f"{device['type']}: {device['name']}",
        "dtype": str(model.dtype).removeprefix("torch."),
        "attention": model.config._attn_implementation,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "repeats": f"{options.repeats}, after {options.warm_up} that do not count",
    }


def _noise() -> Image.Image:
    width, height = _NOISE_SIZE
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
