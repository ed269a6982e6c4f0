"""What people do with a saved pipeline; imports nothing of speaq_hf, for those who do not have it."""

from typing import Any

import numpy as np
from transformers import pipeline


IMAGE = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)


def predict(source: str, **kwargs: Any) -> tuple[str, Any]:
    """The package that the pipeline's class comes from, and its relations for two images."""
    runner = pipeline(model=source, device="cpu", **kwargs)
    return type(runner).__module__.split(".")[0], runner([IMAGE, IMAGE[:40]], batch_size=2)


def save(source: str, folder: str, **kwargs: Any) -> None:
    pipeline(model=source, device="cpu", **kwargs).save_pretrained(folder)


def push(source: str, name: str, **kwargs: Any) -> None:
    pipeline(model=source, device="cpu", **kwargs).push_to_hub(name)
