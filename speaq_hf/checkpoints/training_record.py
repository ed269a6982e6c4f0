# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What a trained model remembers of its training: data, options, versions. It travels with the model, for its card."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..json_files import write_json
from .checkpoint_files import CheckpointFiles


RECORD_FILE = "training_run.json"


@dataclass(frozen=True)
class DataSource:
    """One of the data sets that a model is trained on.

    Args:
        name: What the mixture calls it.
        data: Its folder or Hub name, see `public_name`.
        on_hub: Whether that is a Hub name.
        format: Of its files.
        num_images: Training images.
        num_relations: Their relations.
        ratio: Share of a batch, in [0, 1].
        loss_weight: Of its images.
        generated: The domain of `speaq generate-data` that drew it, None: not generated.
    """

    name: str
    data: str
    on_hub: bool
    format: str
    num_images: int
    num_relations: int
    ratio: float
    loss_weight: float
    generated: str | None = None


@dataclass(frozen=True)
class TrainingRecord:
    """How a model came about.

    Args:
        name: Of the run's folder.
        step: Optimizer steps taken.
        skipped_steps: Those without finite numbers.
        num_unreadable: Images that could not be read and others replaced.
        num_processes: That trained together.
        device: Their type.
        mixed_precision: Number format of the forward pass, "no": that of the weights.
        versions: Of Python and the libraries.
        sources: The data sets.
        num_validation_images: Images that `evaluation` was measured on, those without relations included.
        start: Where the weights began: `option` ("detr", "pretrained" or "backbone"), `name` and `on_hub`; None: at random.
        options: The sections of the configuration, without places on the machine.
        evaluation: Numbers on the validation split at this step, as `SceneGraphRecall.compute` gives them; None: not measured.
    """

    name: str
    step: int
    skipped_steps: int
    num_unreadable: int
    num_processes: int
    device: str
    mixed_precision: str
    versions: dict[str, str]
    sources: list[DataSource]
    num_validation_images: int
    start: dict[str, Any] | None
    options: dict[str, dict[str, Any]]
    evaluation: dict[str, Any] | None = None

    @classmethod
    def read(cls, files: CheckpointFiles) -> TrainingRecord | None:
        """The record of a model, None if it has none.

        Raises:
            ValueError: The file is not what `write` writes.
        """
        content = files.read_json(RECORD_FILE)
        if content is None:
            return None
        try:
            return cls.from_dict(content)
        except (TypeError, KeyError) as error:
            raise ValueError(f"{files.name}: {RECORD_FILE} is not a record of this package: {error}") from error

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TrainingRecord:
        """What `write` wrote; fields of later versions are left out.

        Raises:
            KeyError: A field is missing.
            TypeError: A field is not what it should be.
        """
        sources = [DataSource(**source) for source in content["sources"]]
        known = {field.name: content[field.name] for field in fields(cls)}
        return cls(**known | {"sources": sources})

    def write(self, folder: Path) -> None:
        """Write it beside a model.

        Raises:
            OSError: It cannot be written.
        """
        write_json(folder / RECORD_FILE, asdict(self))

    @property
    def images_per_step(self) -> int:
        """Of all processes and forward passes."""
        training = self.options["training"]
        return training["batch_size"] * training["gradient_accumulation_steps"] * self.num_processes


def public_name(place: str | os.PathLike) -> str:
    """How a folder, file or Hub name is called in what others read: of a whole path its last part."""
    path = Path(place).expanduser()
    return path.name if path.is_absolute() else str(place)
