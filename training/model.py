# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The model and image processor of a run."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import DetrForObjectDetection

from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil

from .arguments import DataArguments, ModelArguments


logger = logging.getLogger(__name__)


def build_config(arguments: ModelArguments, data_fields: dict[str, Any]) -> SpeaQConfig:
    """The configuration: what the section `model` says, over what follows from the data, over the variant's defaults.

    Args:
        arguments: The section `model`.
        data_fields: Vocabularies and predicate counts of the training set.

    Raises:
        ValueError: Fields have wrong types, contradict each other, or do not fit the data.
    """
    fields = data_fields | arguments.config
    try:
        if arguments.pretrained is not None:
            return _pretrained_config(arguments.pretrained, data_fields, arguments.config)
        return SpeaQConfig.iterative_sgg(**fields) if arguments.variant == "iterative_sgg" else SpeaQConfig(**fields)
    except StrictDataclassError as error:
        raise ValueError(f"model: {' '.join(str(error).split())}") from error


def build_model(arguments: ModelArguments, config: SpeaQConfig) -> SpeaQForSceneGraphGeneration:
    """The model, with new weights or those that the section `model` names."""
    if arguments.pretrained is not None:
        with naming("model.pretrained", arguments.pretrained):
            # Training keeps its weights in full precision, whatever the checkpoint was saved in.
            model = SpeaQForSceneGraphGeneration.from_pretrained(
                arguments.pretrained, config=config, dtype=torch.float32
            )
        return _checked(model, f"model.pretrained: {arguments.pretrained}")
    if arguments.detr is not None:
        with naming("model.detr", arguments.detr):
            detr = DetrForObjectDetection.from_pretrained(arguments.detr)
        return _checked(SpeaQForSceneGraphGeneration.from_detr(detr, config=config), f"model.detr: {arguments.detr}")
    if config.freeze_batch_norm:
        logger.warning(
            "The backbone starts from random weights with frozen batch norms, which learns badly: set model.detr or "
            "model.pretrained, or train them (model.freeze_batch_norm=false, model.freeze_backbone_stages=0)."
        )
    return SpeaQForSceneGraphGeneration(config)


def build_processor(arguments: DataArguments, config: SpeaQConfig) -> SpeaQImageProcessorPil:
    """The processor for evaluation; it is saved with the model. Without torchvision, so that it works everywhere."""
    return SpeaQImageProcessorPil(
        id2label=config.id2label,
        id2predicate=config.id2predicate,
        size={"shortest_edge": arguments.test_short_edge, "longest_edge": arguments.longest_edge},
    )


def _pretrained_config(path: str, data_fields: dict[str, Any], changes: dict[str, Any]) -> SpeaQConfig:
    """The saved configuration for new data with the same vocabularies.

    The classes are weighed by the new data's counts. The query groups stay: the queries have specialised in them.
    """
    with naming("model.pretrained", path):
        saved = SpeaQConfig.from_pretrained(path)
    for name in ("id2label", "id2predicate"):
        if getattr(saved, name) != data_fields[name]:
            raise ValueError(f"model.pretrained: {path} was trained on other classes ({name}) than data.root has.")
    groups = {"group_predicate_counts": saved.group_predicate_counts}
    return SpeaQConfig(**SpeaQConfig.replace_fields(saved.to_dict(), data_fields | groups | changes))


def _checked(model: SpeaQForSceneGraphGeneration, source: str) -> SpeaQForSceneGraphGeneration:
    broken = [name for name, value in model.state_dict().items() if not value.isfinite().all()]
    if broken:
        raise ValueError(f"{source} has weights that are not finite: {broken[:3]}; use another checkpoint.")
    return model


@contextmanager
def naming(option: str, path: str) -> Iterator[None]:
    """Errors of loading say which option asked for what."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{option}: cannot load {path}: {error}") from error
