"""What somebody does who has transformers, but not speaq_hf; imports nothing of it."""

import importlib
from typing import Any
from unittest import mock

import numpy as np
from huggingface_hub import constants
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForObjectDetection, pipeline
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from .machine import message_of
from .outputs import graph, outputs


def error_of_import(name: str) -> str:
    return message_of(importlib.import_module, name)


def pull(source: str, **kwargs: Any) -> tuple[Any, Any]:
    """Model with heads and processor."""
    model = AutoModelForObjectDetection.from_pretrained(source, trust_remote_code=True, **kwargs)
    return model, AutoImageProcessor.from_pretrained(source, trust_remote_code=True, **kwargs)


def compute(source: str, **kwargs: Any) -> dict[str, Any]:
    return outputs(*pull(source, **kwargs))


def compute_revision(source: str, revision: str) -> dict[str, Any]:
    """With the model of a revision, and the processor of the main branch."""
    model = AutoModelForObjectDetection.from_pretrained(source, revision=revision, trust_remote_code=True)
    return outputs(model, AutoImageProcessor.from_pretrained(source, trust_remote_code=True))


def compute_offline(source: str) -> dict[str, Any]:
    with mock.patch.object(constants, "HF_HUB_OFFLINE", True):
        return compute(source)


def predict(source: str) -> dict[str, Any]:
    return graph(*pull(source))


def error_of_model(source: str, **kwargs: Any) -> str:
    return message_of(AutoModelForObjectDetection.from_pretrained, source, **kwargs)


def error_of_processor(source: str, **kwargs: Any) -> str:
    return message_of(AutoImageProcessor.from_pretrained, source, **kwargs)


def described(parts: list[Any]) -> list[tuple[str, str]]:
    """The packages that the parts' classes come from, and their names."""
    return [(type(part).__module__.split(".")[0], type(part).__name__) for part in parts]


def auto_classes(source: str) -> list[tuple[str, str]]:
    loaders = (AutoConfig, AutoModel, AutoModelForObjectDetection, AutoImageProcessor)
    return described([loader.from_pretrained(source, trust_remote_code=True) for loader in loaders])


def from_config(source: str) -> list[tuple[str, str]]:
    """Models with random weights."""
    config = AutoConfig.from_pretrained(source, trust_remote_code=True)
    loaders = (AutoModel, AutoModelForObjectDetection)
    return described([loader.from_config(config, trust_remote_code=True) for loader in loaders])


def compute_by_custom_name(source: str) -> dict[str, Any]:
    """As the README tells."""
    config = AutoConfig.from_pretrained(source, trust_remote_code=True)
    model_class = get_class_from_dynamic_module(config.auto_map["AutoModelForSceneGraphGeneration"], source)
    return outputs(
        model_class.from_pretrained(source), AutoImageProcessor.from_pretrained(source, trust_remote_code=True)
    )


def processor_classes(source: str, backend: str | None) -> list[str]:
    """The class of the processor and what it is derived from."""
    processor = AutoImageProcessor.from_pretrained(source, trust_remote_code=True, backend=backend)
    return [kind.__name__ for kind in type(processor).__mro__]


def save(source: str, folder: str) -> None:
    for part in pull(source):
        part.save_pretrained(folder)


def push(source: str, name: str) -> None:
    for part in pull(source):
        part.push_to_hub(name)


def relabelled(source: str, names: list[str]) -> tuple[dict[int, str], list[float]]:
    """Names and biases of the class head for another vocabulary."""
    model, _ = pull(source, id2label=dict(enumerate(names)), ignore_mismatched_sizes=True)
    return model.config.id2label, model.class_head.bias.tolist()


def run_pipeline(source: str, **kwargs: Any) -> tuple[list[tuple[str, str]], Any]:
    """The class of the pipeline, and what it predicts for an image."""
    runner = pipeline(model=source, device="cpu", **kwargs)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8))
    return described([runner]), runner(image)
