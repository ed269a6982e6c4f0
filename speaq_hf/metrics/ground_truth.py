# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The annotations that predictions are judged by, found by image id."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from datasets import Dataset
from PIL import Image

from ..data import load_scene_graphs, predicate_statistics, zero_shot_triplets
from ..data.images import UnreadableImageError, read_row_image, undecoded
from ..data.missing_split import MissingSplitError
from ..data.scene_graph_files import recognise_format
from ..data.scene_graph_table import SceneGraphTable


logger = logging.getLogger(__name__)

_GENOME_FORMATS = ("visual_genome", "synthetic_genome")


@dataclass(frozen=True)
class GroundTruth:
    """The annotations of one split.

    Args:
        name: How reports call it.
        table: Its images; their ids are unique.
        zero_shot_triplets: `(z, 3)` rows (subject class, object class, predicate) that training never shows; None if there
            is no training split.
        predicate_counts: `(P,)` how often training shows each predicate; None likewise.
        dataset: The rows of the table, for their pictures; None without any.
    """

    name: str
    table: SceneGraphTable
    zero_shot_triplets: np.ndarray | None = None
    predicate_counts: np.ndarray | None = None
    dataset: Dataset | None = None

    def __post_init__(self) -> None:
        ids, counts = np.unique(self.table.image_ids, return_counts=True)
        if counts.max(initial=1) > 1:
            raise ValueError(
                f"{self.name}: the image id {ids[counts.argmax()]} occurs {counts.max()} times, so predictions cannot tell "
                "which image they mean; give every image of the split its own id"
            )

    @classmethod
    def load(
        cls, root: str | os.PathLike, split: str = "test", *, format: str | None = None, **options: Any
    ) -> GroundTruth:
        """Reads a split, and the training split, if there is one, for what training shows.

        Args:
            root: Anything that `load_scene_graphs` reads.
            split: "train", "val" or "test".
            format: Of the data set; None: recognised.
            **options: Of the format, see `load_scene_graphs`.

        Returns:
            The annotations.

        Raises:
            FileNotFoundError: A folder or file is missing.
            ValueError: A file is not what it should be, of the training split, too; there is no such split, or an image id occurs twice.
        """
        format = format or recognise_format(root)
        # Predictions for images without relations count for nothing, but are no mistake. The order of the training images,
        # from which the validation split is cut, depends on this option.
        more = {"keep_empty": True} if format in _GENOME_FORMATS and split == "test" else {}
        dataset = load_scene_graphs(root, split, format=format, **(more | options))
        table = SceneGraphTable.from_datasets({split: dataset})
        try:
            train = predicate_statistics(load_scene_graphs(root, "train", format=format, **options))
        except (MissingSplitError, FileNotFoundError) as error:
            logger.warning(
                "zR and mR-head, -body and -tail are left out, they need the training annotations: %s", error
            )
            return cls(f"{root}, split '{split}'", table, dataset=dataset)
        unseen = zero_shot_triplets(train, predicate_statistics(dataset))
        return cls(f"{root}, split '{split}'", table, unseen, train.counts, dataset)

    @property
    def id2label(self) -> dict[int, str]:
        """Object class names."""
        return dict(enumerate(self.table.object_names))

    @property
    def id2predicate(self) -> dict[int, str]:
        """Predicate names."""
        return dict(enumerate(self.table.predicate_names))

    @cached_property
    def rows(self) -> dict[int, int]:
        """Position of each image id."""
        return {image_id: row for row, image_id in enumerate(self.table.image_ids.tolist())}

    def image_size(self, row: int) -> tuple[int, int]:
        """(height, width) of the image at a position, in pixels."""
        width, height = self.table.image_sizes[row].tolist()
        return height, width

    def reference(self, row: int) -> dict[str, Any]:
        """The annotation at a position, as `SceneGraphRecall.add_batch` takes it."""
        boxes, labels, relations = self.table.graph(row)
        image_id = int(self.table.image_ids[row])
        return {"boxes": boxes, "labels": labels, "relations": relations, "image_id": image_id}

    @cached_property
    def _pictures(self) -> Dataset | None:
        if self.dataset is None or "image" not in self.dataset.column_names:
            return None
        return undecoded(self.dataset.select_columns(["image", "image_id"]))

    def picture(self, row: int) -> Image.Image | None:
        """The RGB image at a position, upright; None, with a warning, where it cannot be read."""
        if self._pictures is None:
            return None
        try:
            return read_row_image(self._pictures[row])
        except (UnreadableImageError, OSError) as error:
            logger.warning("a picture is left out: %s", error)
            return None
