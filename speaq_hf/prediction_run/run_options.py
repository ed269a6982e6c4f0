# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What a run is asked for, beside its sources and its model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..predictions import FORMATS
from ..predictor import GraphOptions
from .frame_choice import FrameChoice


@dataclass(frozen=True)
class RunOptions:
    """Options of `predict_sources`.

    Args:
        output: File of predictions to write.
        format: Of that file, one of `speaq_hf.predictions.FORMATS`.
        predicate_probabilities: Write the probabilities of all predicates, too, where the format can.
        pictures: Folder for a picture of each image.
        annotated_video: File for the video with its graphs or, with several videos, folder of such files.
        resume: Go on with an interrupted run.
        overwrite: Replace what is there.
        graph: Which relations are kept in `output`.
        shown_relations: Most relations of a text or picture.
        shown_score: Lowest relation score in texts, pictures and videos, in [0, 1].
        frames: Which frames of videos are predicted.
        batch_size: Images at once, at least 1.
        num_workers: Threads that read images; 0: none.

    Raises:
        ValueError: A value is impossible, or two contradict each other.
    """

    output: str | os.PathLike | None = None
    format: str = "jsonl"
    predicate_probabilities: bool = True
    pictures: str | os.PathLike | None = None
    annotated_video: str | os.PathLike | None = None
    resume: bool = False
    overwrite: bool = False
    graph: GraphOptions = GraphOptions()
    shown_relations: int = 15
    shown_score: float = 0.05
    frames: FrameChoice = FrameChoice()
    batch_size: int = 8
    num_workers: int = 4

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"--format must be one of {', '.join(FORMATS)}, got {self.format!r}")
        if self.format != "jsonl" and not self.predicate_probabilities:
            raise ValueError(f"{self.format} has no probabilities of all predicates to leave out; only jsonl has")
        if self.format == "jsonl" and str(self.output).endswith(".json"):
            raise ValueError(
                f"{self.output}: predictions are written line by line, as .jsonl; or name --format coco or sgbench"
            )
        if self.resume and self.overwrite:
            raise ValueError("--resume goes on with what is there, --overwrite replaces it: take one of them")
        self._check_numbers()
        if self.resume and not self.writes_files:
            raise ValueError("--resume needs --output or --pictures: nothing else keeps what is done")

    def _check_numbers(self) -> None:
        graph = self.graph
        for name, value, least in (
            ("--batch-size", self.batch_size, 1),
            ("--num-workers", self.num_workers, 0),
            ("--top-k", graph.top_k, 1),
            ("--predicates-per-query", graph.predicates_per_query, 1),
        ):
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        for name, share in (("--threshold", graph.threshold), ("--nms-threshold", graph.nms_threshold)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {share}")

    @property
    def writes_files(self) -> bool:
        """Whether graphs go to files, and not to the terminal."""
        return any(path is not None for path in (self.output, self.pictures, self.annotated_video))

    @property
    def skipped_file(self) -> Path | None:
        """Where the sources that cannot be read are listed."""
        target = self.output or self.pictures
        return None if target is None else Path(target).with_suffix(".skipped.jsonl")
