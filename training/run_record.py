# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What a run leaves with every model that it saves: how that came about, and for scene graph models a card."""

import json
import logging
import platform
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from accelerate import Accelerator
from datasets import Dataset

import speaq_hf
from speaq_hf.checkpoints.training_record import DataSource, TrainingRecord, public_name
from speaq_hf.data.domains import DOMAINS

from .arguments import RunArguments
from .checkpoints import TrainingState
from .data import TrainingData


logger = logging.getLogger(__name__)

_LIBRARIES = ("torch", "transformers", "accelerate", "datasets")
_START_OPTIONS = ("pretrained", "detr", "backbone")
# Options that are places on the machine, or that say what happens to files there.
_PRIVATE = {
    "model": _START_OPTIONS,
    "data": ("root", "synthetic_root", "images", "annotations", "categories", "image_data"),
    "training": ("output_dir", "overwrite", "resume_from", "tracker"),
}
_GENOME_FILES = {"visual_genome": DOMAINS["real"].files, "synthetic_genome": DOMAINS["synthetic"].files}


def describe_sources(data: TrainingData) -> list[DataSource]:
    """The data sets of a run, the real one first."""
    options = data.arguments
    images, relations = _counts(data)
    weights = (options.loss_weights or {}) if options.synthetic_root is not None else {}
    places = {"real": (options.root, options.format)}
    if options.synthetic_root is not None:
        places["synthetic"] = (
            options.synthetic_root,
            _synthetic_format(options.synthetic_root, options.synthetic_format),
        )
    return [
        DataSource(
            name=name,
            data=public_name(root),
            on_hub=not Path(root).expanduser().exists(),
            format=format,
            num_images=images[name],
            num_relations=relations[name],
            ratio=float(data.ratios[name]),
            loss_weight=float(weights.get(name, 1.0)),
            generated=_generated_domain(root, format),
        )
        for name, (root, format) in places.items()
    ]


def build_record(
    arguments: RunArguments,
    data: TrainingData,
    sources: list[DataSource],
    state: TrainingState,
    accelerator: Accelerator,
    evaluation: dict[str, Any] | None,
) -> TrainingRecord:
    """What there is to remember of a run.

    Args:
        arguments: What it was told.
        data: What it was trained on.
        sources: From `describe_sources`.
        state: How far it is.
        accelerator: Its processes and device.
        evaluation: What was measured at this step, None: nothing.
    """
    most = arguments.evaluation.max_images
    num_validation = len(data.validation) if most is None else min(most, len(data.validation))
    return TrainingRecord(
        name=Path(arguments.training.output_dir).expanduser().resolve().name,
        step=state.step,
        skipped_steps=state.skipped_steps,
        num_unreadable=state.num_unreadable,
        num_processes=accelerator.num_processes,
        device=accelerator.device.type,
        mixed_precision=accelerator.mixed_precision,
        versions=_versions(),
        sources=sources,
        num_validation_images=num_validation,
        start=_start(arguments),
        options=_public_options(arguments),
        evaluation=evaluation,
    )


def write_card(folder: Path) -> None:
    """Write `README.md` beside a model. Without a card it is a model, too: what goes wrong is only logged."""
    try:
        from speaq_hf.cards.model_card import write_model_card

        write_model_card(folder)
    except Exception as error:  # no card is worth the model that hours of training have made
        logger.warning("No model card was written: %s: %s. `speaq card` writes it later.", type(error).__name__, error)


def _counts(data: TrainingData) -> tuple[Counter, Counter]:
    """Training images and relations of each source."""
    names = data.sources or ["real"] * len(data.train)
    relations: Counter = Counter()
    for name, number in zip(names, _relations_per_image(data.train), strict=True):
        relations[name] += number
    return Counter(names), relations


def _relations_per_image(dataset: Dataset) -> list[int]:
    batches = dataset.select_columns("relations").with_format("arrow").iter(10_000)
    return [number for batch in batches for number in pc.list_value_length(batch["relations"]).to_pylist()]


def _synthetic_format(root: str, format: str) -> str:
    """A generated set may lie in one folder with Visual Genome, see `load_training_data`."""
    is_generated = (Path(root).expanduser() / _GENOME_FILES["synthetic_genome"].annotations).is_file()
    return "synthetic_genome" if format == "auto" and is_generated else format


def _generated_domain(root: str, format: str) -> str | None:
    """Generated sets say so in the file of their vocabularies."""
    if format not in _GENOME_FILES:
        return None
    try:
        content = json.loads((Path(root).expanduser() / _GENOME_FILES[format].categories).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("generator", {}).get("domain")


def _start(arguments: RunArguments) -> dict[str, Any] | None:
    for option in _START_OPTIONS:
        name = getattr(arguments.model, option, None)
        if name is not None:
            return {"option": option, "name": public_name(name), "on_hub": not Path(name).expanduser().exists()}
    return None


def _public_options(arguments: RunArguments) -> dict[str, dict[str, Any]]:
    return {
        section: {name: value for name, value in values.items() if name not in _PRIVATE.get(section, ())}
        for section, values in arguments.to_dict().items()
    }


def _versions() -> dict[str, str]:
    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), "speaq_hf": speaq_hf.__version__} | libraries
