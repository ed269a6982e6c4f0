# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The data sets of a run: which files, which vocabulary, which statistics."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from PIL import Image

from speaq_hf.data import (
    PredicateStatistics,
    RatioBatchSampler,
    SceneGraphAugmentation,
    load_scene_graphs,
    mix_datasets,
    object_counts,
    object_names,
    predicate_names,
    predicate_statistics,
    zero_shot_triplets,
)
from speaq_hf.data.domains import GenomeFiles
from speaq_hf.data.images import read_row_image
from speaq_hf.data.quick_images import QuickImage, QuickReader
from speaq_hf.data.scene_graph_files import recognise_format
from speaq_hf.data.vocabulary import share_vocabulary

from .arguments import DataArguments


logger = logging.getLogger(__name__)

_GENOME_FORMATS = ("visual_genome", "synthetic_genome")
_FILE_FIELDS = ("images", "annotations", "categories", "image_data")


@dataclass(frozen=True)
class TrainingData:
    """What a model is trained and validated on.

    Args:
        train: Training rows; with a column `source` when several sources are mixed.
        validation: Validation rows of the real source.
        statistics: Predicates and triplets of all training rows.
        ratios: Share of each source in a batch.
        arguments: Where the sources are; `format` is resolved.
    """

    train: Dataset
    validation: Dataset
    statistics: PredicateStatistics
    ratios: dict[str, float]
    arguments: DataArguments

    @cached_property
    def zero_shot_triplets(self) -> np.ndarray:
        """Triplets of the validation split that training never shows, `(z, 3)`."""
        return zero_shot_triplets(self.statistics, predicate_statistics(self.validation))

    @cached_property
    def sources(self) -> list[str] | None:
        """Source of each training row, None if they are not mixed."""
        return self.train["source"][:] if "source" in self.train.column_names else None

    def sampler(self, batch_size: int, seed: int) -> RatioBatchSampler:
        """Shuffled batches with the sources in their ratios."""
        sources = self.sources or ["real"] * len(self.train)
        if len(self.train) < batch_size:
            raise ValueError(
                f"training.batch_size is {batch_size}, but the training split has only {len(self.train)} images."
            )
        return RatioBatchSampler(sources, self.ratios, batch_size, seed)

    def config_fields(self) -> dict[str, Any]:
        """Fields of the model's configuration that follow from the data."""
        counts = self.statistics.counts.tolist()
        fields = {
            "id2label": dict(enumerate(object_names(self.train))),
            "id2predicate": dict(enumerate(predicate_names(self.train))),
            "predicate_counts": counts,
            "object_counts": object_counts(self.train).tolist(),
        }
        test = _test_statistics(self.arguments, self.train)
        if test is not None:
            fields["zero_shot_triplets"] = zero_shot_triplets(self.statistics, test).tolist()
        # SpeaQ cuts Visual Genome's groups from its raw counts, which the configuration knows.
        is_genome = self.arguments.format == "visual_genome"
        return fields if is_genome else fields | {"group_predicate_counts": counts}


def load_training_data(arguments: DataArguments) -> TrainingData:
    """Load the sets that the section `data` names.

    Raises:
        FileNotFoundError: A folder or file is missing.
        ValueError: A file is not what it should be, or the sources cannot be mixed as asked.
    """
    format = resolve_format(data_root(arguments.root, "data.root"), arguments.format)
    arguments = dataclasses.replace(arguments, format=format)
    train = load_split(arguments, "train")
    if arguments.max_train_images is not None:
        train = train.select(range(min(arguments.max_train_images, len(train))))
    validation = _with_vocabulary_of(train, load_split(arguments, "val"), "val")
    if arguments.synthetic_root is None:
        return TrainingData(train, validation, predicate_statistics(train), {"real": 1.0}, arguments)
    sources = {"real": train, "synthetic": _load_synthetic(arguments.synthetic_root, arguments.synthetic_format)}
    mixed = mix_datasets(sources, arguments.ratios, arguments.loss_weights)
    statistics = predicate_statistics(mixed)  # its classes have the real set's numbers
    return TrainingData(mixed, validation, statistics, dict(arguments.ratios), arguments)


def _with_vocabulary_of(train: Dataset, dataset: Dataset, split: str) -> Dataset:
    """Files of different splits may number their classes differently."""
    return share_vocabulary({"train": train, split: dataset})[split]


def _test_statistics(arguments: DataArguments, train: Dataset) -> PredicateStatistics | None:
    """Predicates and triplets of the test rows of the real source; None if there are none."""
    try:
        return predicate_statistics(_with_vocabulary_of(train, load_split(arguments, "test"), "test"))
    except (ValueError, FileNotFoundError) as error:
        logger.info("Zero-shot triplets are not recorded, there is no test split: %s", error)
        return None


def load_split(arguments: DataArguments, split: str) -> Dataset:
    """Load the split "train", "val" or "test" of `data.root`."""
    root = data_root(arguments.root, "data.root")
    format = resolve_format(root, arguments.format)
    options = {name: getattr(arguments, name) for name in _FILE_FIELDS if getattr(arguments, name) is not None}
    num_validation = arguments.num_validation_images
    if format in _GENOME_FORMATS:
        options |= {} if num_validation is None else {"num_validation_images": num_validation}
        options |= {"filter_non_overlap": arguments.filter_non_overlap}
    elif arguments.filter_non_overlap:
        raise ValueError(
            f"data.filter_non_overlap is known for {' and '.join(_GENOME_FORMATS)} only, {root} is {format}."
        )
    elif num_validation is not None and split != "test":
        return _split_off(load_scene_graphs(root, "train", format=format, **options), num_validation, split)
    return load_scene_graphs(root, split, format=format, **options)


def _load_synthetic(path: str, format: str) -> Dataset:
    """The training split of `data.synthetic_root`."""
    root = str(Path(path).expanduser())
    # A generated set may lie in one folder with Visual Genome, which has other file names.
    if format == "auto" and (Path(root) / GenomeFiles().annotations).is_file():
        format = "synthetic_genome"
    try:
        return load_scene_graphs(root, "train", format=resolve_format(root, format))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"data.synthetic_root: {error}; name another set, or set it to null to train on data.root alone."
        ) from error


def data_root(path: str, option: str) -> str:
    """The folder, file or Hub repository that an option names.

    Raises:
        FileNotFoundError: There is no such folder, and a repository would be written owner/name.
    """
    place = Path(path).expanduser()
    if not place.exists() and "/" not in path:
        raise FileNotFoundError(f"{option}: there is no folder {place}.")
    return str(place)


def resolve_format(root: str, format: str) -> str:
    """The format of a data set: `format` itself, or for "auto" the one that its files have.

    Raises:
        ValueError: None is recognised, or several are.
    """
    return recognise_format(root) if format == "auto" else format


def _split_off(train: Dataset, num_validation: int, split: str) -> Dataset:
    """The first rows for validation, the others for training."""
    if not 0 < num_validation < len(train):
        raise ValueError(
            f"data.num_validation_images must leave images for both splits of {len(train)}, got {num_validation}."
        )
    return train.select(range(num_validation, len(train)) if split == "train" else range(num_validation))


def build_augmentation(arguments: DataArguments) -> SceneGraphAugmentation:
    """The training augmentation that the section `data` describes."""
    return SceneGraphAugmentation(
        short_edges=tuple(arguments.short_edges),
        longest_edge=arguments.longest_edge,
        flip_probability=arguments.flip_probability,
        crop_probability=arguments.crop_probability,
        crop_short_edges=tuple(arguments.crop_short_edges),
        crop_sides=tuple(arguments.crop_sides),
    )


def image_reader(arguments: DataArguments) -> Callable[[Mapping[str, Any]], Image.Image | QuickImage]:
    """What reads the training images, as the section `data` describes it."""
    if arguments.image_reading == "exact":
        return read_row_image
    before_crop = arguments.crop_short_edges if arguments.crop_probability > 0 else []
    return QuickReader(max([*arguments.short_edges, *before_crop]))
