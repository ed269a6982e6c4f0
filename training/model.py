# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The model and image processor of a run."""

import logging
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError

from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil
from speaq_hf.models.speaq.detr_weights_speaq import fields_from_detr, load_detr, load_detr_config

from .arguments import DataArguments, ModelArguments
from .loading import load_complete, naming_option, without_loading_report


logger = logging.getLogger(__name__)

# In which the variants differ.
_VARIANT_FIELDS = ("relation_query_multiplier", "assignment", "match_per_layer", "num_query_groups")


def build_config(arguments: ModelArguments, data_fields: dict[str, Any]) -> SpeaQConfig:
    """The configuration: what the section `model` says, over what follows from the data, over the detector's sizes, over
    the variant's defaults.

    Args:
        arguments: The section `model`.
        data_fields: Vocabularies and predicate counts of the training set.

    Raises:
        ValueError: Fields have wrong types, contradict each other, or do not fit the data.
    """
    fields = data_fields | arguments.config
    try:
        if arguments.pretrained is not None:
            return _pretrained_config(arguments, data_fields)
        if arguments.detr is not None:
            with naming_option("model.detr", arguments.detr):
                fields = fields_from_detr(load_detr_config(arguments.detr)) | fields
        return _variant_config(arguments.variant, fields)
    except StrictDataclassError as error:
        raise ValueError(f"model: {' '.join(str(error).split())}") from error


def build_model(arguments: ModelArguments, config: SpeaQConfig) -> SpeaQForSceneGraphGeneration:
    """The model, with new weights or those that the section `model` names.

    Raises:
        OSError: There is no model of that name.
        ValueError: Its files cannot be read, or its weights do not fit the configuration or are not finite.
    """
    if arguments.pretrained is not None:
        # Training keeps its weights in full precision, whatever the checkpoint was saved in.
        model = load_complete(
            SpeaQForSceneGraphGeneration, "model.pretrained", arguments.pretrained, config=config, dtype=torch.float32
        )
        return _checked(model, f"model.pretrained: {arguments.pretrained}")
    if arguments.detr is not None:
        with naming_option("model.detr", arguments.detr), without_loading_report():
            detr = load_detr(arguments.detr)
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


def _variant_config(variant: str | None, fields: dict[str, Any]) -> SpeaQConfig:
    return SpeaQConfig.iterative_sgg(**fields) if variant == "iterative_sgg" else SpeaQConfig(**fields)


def _pretrained_config(arguments: ModelArguments, data_fields: dict[str, Any]) -> SpeaQConfig:
    """The saved configuration for new data with the same vocabularies.

    The classes are weighed by the new data's counts. The query groups stay: the queries have specialised in them.
    """
    path = arguments.pretrained
    with naming_option("model.pretrained", path):
        saved = SpeaQConfig.from_pretrained(path)
    for name in ("id2label", "id2predicate"):
        if getattr(saved, name) != data_fields[name]:
            raise ValueError(f"model.pretrained: {path} was trained on other classes ({name}) than data.root has.")
    groups = {"group_predicate_counts": saved.group_predicate_counts}
    config = SpeaQConfig(**SpeaQConfig.replace_fields(saved.to_dict(), data_fields | groups | arguments.config))
    _check_variant(arguments, config)
    return config


def _check_variant(arguments: ModelArguments, config: SpeaQConfig) -> None:
    """A saved model keeps its variant; one that was asked for must be the same, as far as no option changes it."""
    if arguments.variant is None:
        return
    variant = _variant_config(arguments.variant, {})
    for name in _VARIANT_FIELDS:
        wanted, value = getattr(variant, name), getattr(config, name)
        if name not in arguments.config and value != wanted:
            raise ValueError(
                f"model.variant: {arguments.variant} has {name} {wanted}, but model.pretrained "
                f"({arguments.pretrained}) was saved with {value}. Go on with the saved model as it is "
                "(--model.variant null), or start a new one (--model.pretrained null)."
            )


def _checked(model: SpeaQForSceneGraphGeneration, source: str) -> SpeaQForSceneGraphGeneration:
    broken = [name for name, value in model.state_dict().items() if not value.isfinite().all()]
    if broken:
        raise ValueError(f"{source} has weights that are not finite: {broken[:3]}; use another checkpoint.")
    return model
