# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What is in a saved model, from its configuration, the headers of its weights and its card."""

from __future__ import annotations

from typing import Any

import yaml
from huggingface_hub import ModelCard

from ..checkpoints.checkpoint_files import CheckpointFiles
from ..checkpoints.model_facts import ModelFacts
from ..checkpoints.training_record import TrainingRecord


def checkpoint_report(files: CheckpointFiles) -> dict[str, Any]:
    """Everything about a model that can be known without loading it, ready for JSON.

    Args:
        files: The model, also one of another package: then less is known.

    Returns:
        `name`, `architecture`, `transformers_version`, `weights`, for a model of this package `model`, and if it has them
        `training` and `metrics` (from its card).

    Raises:
        OSError: There is no such model, or the Hub does not answer.
        ValueError: One of its files is damaged.
    """
    config = files.config
    report: dict[str, Any] = {
        "name": files.name,
        "architecture": (config.get("architectures") or [config.get("model_type")])[0],
        "transformers_version": config.get("transformers_version"),
        "weights": _weights(files),
    }
    if config.get("model_type") == "speaq":
        report["model"] = _model(ModelFacts.of(files))
    record = TrainingRecord.read(files)
    if record is not None:
        report["training"] = _training(record)
    metrics = _metrics(files)
    return report | ({"metrics": metrics} if metrics else {})


def _weights(files: CheckpointFiles) -> dict[str, Any] | None:
    weights = files.weights
    if weights is None:
        return None
    return {"bytes": weights.num_bytes, "files": weights.num_files, "values_by_type": weights.num_values}


def _model(facts: ModelFacts) -> dict[str, Any]:
    config = facts.config
    return {
        "variant": facts.variant_name,
        "parameters": facts.num_parameters,
        "trainable_parameters": facts.num_trainable_parameters,
        "backbone": facts.backbone,
        "object_queries": config.num_object_queries,
        "relation_queries": config.num_relation_queries,
        "encoder_layers": config.encoder_layers,
        "decoder_layers": config.decoder_layers,
        "width": config.d_model,
        "objects": list(config.id2label.values()),
        "predicates": list(config.id2predicate.values()),
        "images": facts.image_size,
    }


def _training(record: TrainingRecord) -> dict[str, Any]:
    sources = {s.name: {"data": s.data, "images": s.num_images, "share_of_a_batch": s.ratio} for s in record.sources}
    return {
        "steps": record.step,
        "images_per_step": record.images_per_step,
        "sources": sources,
        "versions": record.versions,
    }


def _metrics(files: CheckpointFiles) -> list[dict[str, Any]]:
    """The numbers in the metadata of the card; those of a paper name it as their source."""
    if files.card is None:
        return []
    try:
        data = ModelCard(files.card, ignore_metadata_errors=True).data
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(
            f"{files.name}/README.md: its metadata is not YAML: {' '.join(str(error).split())}"
        ) from error
    return [
        {
            "name": result.metric_name or result.metric_type,
            "value": result.metric_value,
            "data": result.dataset_name,
            "split": result.dataset_split,
            "source": result.source_name,
        }
        for result in data.eval_results or ()
    ]
