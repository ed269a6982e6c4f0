# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Predictions kept in a file while they are evaluated, by any number of processes."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from datasets import Dataset
from torch import nn
from transformers import BaseImageProcessor

from speaq_hf import SceneGraph
from speaq_hf.complete_files import complete_file
from speaq_hf.predictions import PredictionWriter

from .prediction import LoadingOptions, predict_scene_graphs


@dataclass(frozen=True)
class SavedPredictions:
    """`predict_scene_graphs` that writes every graph to a file as `speaq evaluate` reads it, with its probabilities.

    Each process writes a part beside the file; `join` makes one of them. On several machines they must share the folder.

    Args:
        path: The JSONL file.
    """

    path: Path

    def __call__(
        self,
        model: nn.Module,
        processor: BaseImageProcessor,
        dataset: Dataset,
        accelerator: Accelerator,
        options: LoadingOptions,
    ) -> Iterator[tuple[list[SceneGraph], list[dict[str, Any]]]]:
        """Arguments and results as of `predict_scene_graphs`.

        Raises:
            OSError: The file cannot be written.
            ValueError: Two images have the same id.
        """
        with PredictionWriter(self._part(accelerator.process_index)) as writer:
            for graphs, references in predict_scene_graphs(model, processor, dataset, accelerator, options):
                for graph, reference in zip(graphs, references, strict=True):
                    writer.write(reference["image_id"], graph)
                yield graphs, references

    def join(self, num_processes: int) -> None:
        """Make one file of the parts of all processes, with the images in the order of the data set.

        Args:
            num_processes: How many have written theirs to the end.

        Raises:
            OSError: The file cannot be written.
        """
        parts = [self._part(number) for number in range(num_processes)]
        files = [open(part, encoding="utf-8") for part in parts]
        with complete_file(self.path) as unfinished, open(unfinished, "w", encoding="utf-8") as joined:
            # The first line of a part names the classes; one without images is empty.
            joined.write(next(filter(None, [file.readline() for file in files]), ""))
            # Process r of n had the images r, r + n, r + 2n, ...
            for lines in itertools.zip_longest(*files, fillvalue=""):
                joined.writelines(lines)
        for file, part in zip(files, parts, strict=True):
            file.close()
            part.unlink()

    def _part(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.part{number}")
