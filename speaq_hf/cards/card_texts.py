# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What a model card says in words and tables, told from the model, its training and where its weights come from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ..checkpoints.checkpoint_files import Weights
from ..checkpoints.model_facts import ModelFacts
from ..checkpoints.training_record import TrainingRecord
from .markdown_text import markdown_text


_NUM_EXAMPLES = 6
_STARTS = {"detr": "the detector", "pretrained": "the scene graph model", "backbone": "the image classifier"}


def summary(facts: ModelFacts, record: TrainingRecord | None) -> str:
    """One sentence under the heading."""
    drawn = " It was trained on drawn scenes only, and knows nothing else." if is_drawn(record) else ""
    return (
        f"A scene graph model: it finds the objects of an image and how they relate. {facts.variant_name} on "
        f"{facts.backbone}, for {len(facts.config.id2label)} object classes and {facts.config.num_predicates} predicates.{drawn}"
    )


def model_rows(facts: ModelFacts, weights: Weights | None) -> list[tuple[str, str]]:
    """The table of the model."""
    config = facts.config
    rows = [
        ("variant", facts.variant_name),
        ("parameters", f"{facts.num_parameters:,}, of which training changes {facts.num_trainable_parameters:,}"),
        ("backbone", facts.backbone),
        (
            "transformer",
            f"width {config.d_model}, {_number(config.encoder_layers, 'encoder layer')}, "
            f"{_number(config.decoder_layers, 'layer')} in each of three decoders",
        ),
        (
            "queries",
            f"{config.num_object_queries} for subjects and objects, {config.num_relation_queries} for relations, in "
            f"{_number(config.num_query_groups, 'group')}",
        ),
        ("assignment", _assignment(facts)),
        ("object classes", _examples(config.id2label)),
        ("predicates", _examples(config.id2predicate)),
        ("images", facts.image_size),
        ("weights", None if weights is None else weights_text(weights)),
    ]
    return [(label, value) for label, value in rows if value is not None]


def weights_text(weights: Weights) -> str:
    """ "4.0 MB in F32"; integers are counters of the batch norms, of which nobody wants to know."""
    types = [name for name in weights.num_values if name.startswith(("F", "BF"))] or list(weights.num_values)
    return f"{weights.num_bytes / 1e6:,.1f} MB in {', '.join(types)}"


def origin(name: str, record: TrainingRecord | None, is_converted: bool) -> str:
    """Where the weights come from."""
    if is_converted:
        return (
            "Trained by the authors with their Detectron2 program, not with this package, and converted: `speaq convert "
            f"--checkpoint model.pth --config config.yaml --output {_in_code(name)}` makes these files of theirs."
        )
    if record is None:
        return "How these weights came about is not recorded."
    start = (
        "random weights"
        if record.start is None
        else f"{_STARTS[record.start['option']]} {markdown_text(record.start['name'])}"
    )
    return f"Trained with `training/train.py` from {start}."


def recipe_rows(record: TrainingRecord) -> list[tuple[str, str]]:
    """The table of the recipe."""
    training, data, evaluation = (record.options[name] for name in ("training", "data", "evaluation"))
    forward = f"{training['batch_size']} × {_number(record.num_processes, 'process', 'es')}"
    if training["gradient_accumulation_steps"] > 1:
        forward += f" × {training['gradient_accumulation_steps']} forward passes"
    skipped = f", {record.skipped_steps} of them skipped" if record.skipped_steps else ""
    rows = [
        ("steps", f"{record.step:,}{skipped}"),
        ("images per step", f"{record.images_per_step} ({forward})"),
        (
            "optimizer",
            f"AdamW, learning rate {training['learning_rate']:g}, of the backbone × "
            f"{training['backbone_learning_rate_factor']:g}, weight decay {training['weight_decay']:g}",
        ),
        ("schedule", _schedule(training)),
        (
            "gradient norm",
            "not limited" if training["max_grad_norm"] is None else f"at most {training['max_grad_norm']:g}",
        ),
        ("number format", "fp32" if record.mixed_precision == "no" else f"{record.mixed_precision}, weights in fp32"),
        ("seed", str(training["seed"])),
        ("augmentation", _augmentation(data)),
        ("unreadable images", f"replaced {record.num_unreadable} times" if record.num_unreadable else None),
        ("validation", _validation(evaluation, record.num_validation_images)),
        ("device", record.device),
        ("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())),
    ]
    return [(label, value) for label, value in rows if value is not None]


def intended_use(record: TrainingRecord | None) -> str:
    """For what the model is good."""
    if is_drawn(record):
        return (
            "Drawn scenes like those of its training: to try the package, its commands and programs in seconds and without a "
            "network, and as a subject of tests. Not photographs."
        )
    return (
        "Scene graphs of images like those of its training, with its classes: research on visual relationships, retrieval, "
        "captions, and a start for training on other data. Not for decisions about people."
    )


def limits(facts: ModelFacts, record: TrainingRecord | None, is_genome: bool) -> list[str]:
    """What the model cannot do, one sentence or two each."""
    config = facts.config
    found = [
        f"It knows no classes but its {len(config.id2label)} of objects and {config.num_predicates} of predicates."
    ]
    if is_drawn(record):
        found.append(
            "Every image of its training was drawn by `speaq generate-data`: of a photograph it makes nonsense."
        )
    if is_genome:
        found.append(
            "Visual Genome's relations are incomplete, English, and as its annotators saw them: frequent predicates such as "
            "“on” and “has” are preferred, and what they left out counts as wrong."
        )
    found += _untrained("predicates", config.id2predicate, config.predicate_counts)
    found += _untrained("object classes", config.id2label, config.object_counts)
    return [*found, "Scores put relations in order; they are no calibrated probabilities."]


def license_text(license: str | None, is_converted: bool) -> str:
    """Of the weights and of the code."""
    if is_converted and license is None:
        return "The weights are their authors', under their terms. The converter and the code of this package are Apache-2.0."
    weights = "is not stated" if license is None else f"is {license}"
    return f"That of the weights {weights}; the code of this package is Apache-2.0."


def is_drawn(record: TrainingRecord | None) -> bool:
    """Whether the model has seen generated images only."""
    return record is not None and all(source.generated for source in record.sources)


def _assignment(facts: ModelFacts) -> str:
    config = facts.config
    if config.assignment == "one_to_one":
        how = "one query for each relation"
    else:
        upper = "up to " if config.assignment == "dynamic" else ""
        how = f"{config.assignment}, {upper}{config.assignment_topk} queries for each relation"
    return f"{how}; {'every layer' if config.match_per_layer else 'all layers together'} matched"


def _schedule(training: Mapping[str, Any]) -> str:
    steps = ", ".join(f"{step:,}" for step in training["milestones"])
    how = f"× {training['decay']:g} at {steps}" if training["schedule"] == "step" else "cosine to 0"
    warmup = training["warmup_ratio"]
    return how + (f", rising from 0 in the first {100 * warmup:g} % of the steps" if warmup else "")


def _augmentation(data: Mapping[str, Any]) -> str:
    edges = data["short_edges"]
    sizes = f"{min(edges)} to {max(edges)}" if len(edges) > 1 else str(edges[0])
    chances = f"flipped {100 * data['flip_probability']:g} %, cropped {100 * data['crop_probability']:g} %"
    return f"short edge {sizes} pixels, long edge at most {data['longest_edge']}; {chances}"


def _validation(evaluation: Mapping[str, Any], num_images: int) -> str:
    if evaluation["steps"] == 0:
        return "none while training"
    return f"every {evaluation['steps']:,} steps on {num_images:,} images; `best` is that of the highest {evaluation['best_metric']}"


def _examples(names: Mapping[int, str]) -> str:
    shown = _listed(list(names.values()))
    return f"{len(names)}: {shown}"


def _listed(names: Sequence[str]) -> str:
    """The first of some names, as Markdown."""
    return ", ".join(map(markdown_text, names[:_NUM_EXAMPLES])) + (", …" if len(names) > _NUM_EXAMPLES else "")


def _untrained(what: str, names: Mapping[int, str], counts: Sequence[float] | None) -> list[str]:
    """The classes without a training example."""
    missing = [names[index] for index, count in enumerate(counts or ()) if count == 0]
    if not missing:
        return []
    return [f"{len(missing)} of its {len(names)} {what} have no training example: {_listed(missing)}."]


def _in_code(name: str) -> str:
    """A name between backticks, as a shell takes it."""
    return shlex.quote(" ".join(name.replace("`", "").split()))


def _number(count: int, noun: str, plural: str = "s") -> str:
    return f"{count} {noun}{'' if count == 1 else plural}"
