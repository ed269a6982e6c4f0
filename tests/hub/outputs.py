"""What a model and its processor compute, for comparison between computers; needs nothing of speaq_hf."""

from typing import Any

import numpy as np
import torch


SIZE = (90, 70)


def outputs(model: Any, processor: Any) -> dict[str, np.ndarray]:
    """The processed image and everything predicted from it."""
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    inputs = processor(image, return_tensors="pt")
    with torch.no_grad():
        tensors = {**inputs, **model(**inputs)}
    kept = {name: value for name, value in tensors.items() if isinstance(value, torch.Tensor)}
    # NumPy has no bfloat16; float32 holds each of its values.
    return {
        name: value.float().numpy() if value.dtype == torch.bfloat16 else value.numpy() for name, value in kept.items()
    }


def graph(model: Any, processor: Any) -> dict[str, Any]:
    """The predicted scene graph."""
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    with torch.no_grad():
        predicted = model(**processor(image, return_tensors="pt"))
    return processor.post_process_scene_graph(predicted, target_sizes=[SIZE])[0].to_dict()


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Bit for bit."""
    assert actual.keys() == expected.keys() and len(expected) > 5
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype and actual[name].tobytes() == value.tobytes(), name
