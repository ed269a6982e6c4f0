# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Predicting videos from their first frame to the last, with what an interrupted run has left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..predictor import SceneGraphPredictor
from ..scene_graph import SceneGraph
from .annotated_video import AnnotatedVideo
from .frame_ids import frame_id
from .frame_prediction import frame_line, frame_text, predict_frames
from .interruption import InterruptedRun
from .readable_text import printable
from .records import RecordFile, Records, skipped_line, video_line
from .run_options import RunOptions
from .sources import SourceVideo
from .video_reading import UnreadableVideoError, VideoFrame, VideoReader, latest_frames, open_camera


class VideoRun:
    """Predicts videos, one after the other; counts what it predicts, and remembers the best score.

    Args:
        predictor: Of images.
        options: Of the run.
        records: What is done; reasons of failures are added.
        file: Gets a line for each frame; None: the lines are not wanted.
        show: Called with text where no files are written.
        quiet: Whether there is no progress bar; None: unless nobody looks.
    """

    def __init__(
        self,
        predictor: SceneGraphPredictor,
        options: RunOptions,
        records: Records,
        file: RecordFile | None,
        show: Callable[[str], Any],
        quiet: bool | None = None,
    ) -> None:
        self._predictor, self._options, self._records, self._file = predictor, options, records, file
        self._show, self._quiet = show, quiet
        self.num_predicted, self.best_score = 0, 0.0

    def __call__(self, video: SourceVideo, path: Path | None) -> None:
        """Predicts a video.

        Args:
            video: The video; if it cannot be read, or not to the end, the records get the reason.
            path: Where to write it with its graphs; None: nowhere.
        """
        numbers: list[int] = []
        try:
            with closing(open_camera(video.name) if video.is_camera else VideoReader(video.name)) as reader:
                self._predict(video, reader, path, numbers)
            reason = reader.failure and f"breaks off behind frame {numbers[-1]}: {reader.failure}"
        except UnreadableVideoError as error:
            reason = str(error).removeprefix(f"{video.name} ")
        if reason:
            self._records.skipped[str(video.id)] = reason
        if self._file:
            lines = [skipped_line(video.id, reason)] if reason else []
            self._file.add([*lines, *([video_line(video.id, numbers)] if numbers else [])])

    def _predict(self, video: SourceVideo, reader: VideoReader, path: Path | None, numbers: list[int]) -> None:
        """Predicts the frames and adds their numbers to `numbers`."""
        options = self._options
        if not options.writes_files:
            self._show(printable(video.name))
        with ExitStack() as stack:
            annotated = None if path is None else stack.enter_context(self._annotated(path, video, reader))
            read = latest_frames if video.is_camera else VideoReader.frames
            frames = stack.enter_context(closing(read(reader, options.frames)))
            bar = stack.enter_context(_progress(video, reader, options, self._quiet if options.writes_files else True))
            if video.is_camera:
                stack.enter_context(suppress(InterruptedRun))  # the way to end it
            batch_size = 1 if video.is_camera else options.batch_size
            for frame, graph, is_new in predict_frames(
                self._predictor, frames, options.graph, batch_size, self._known_of(video)
            ):
                self._keep(video, frame, graph, is_new)
                numbers.append(frame.number)
                if annotated:
                    annotated.write(frame, graph)
                bar.update()

    def _annotated(self, path: Path, video: SourceVideo, reader: VideoReader) -> AnnotatedVideo:
        options = self._options
        limits = options.shown_relations, options.shown_score
        return AnnotatedVideo(path, reader, options.frames, *limits, has_sound=not video.is_camera)

    def _known_of(self, video: SourceVideo) -> Callable[[int], SceneGraph | None]:
        config = self._predictor.model.config

        def known(number: int) -> SceneGraph | None:
            return self._records.graph(frame_id(video.id, number), config.id2label, config.id2predicate)

        return known

    def _keep(self, video: SourceVideo, frame: VideoFrame, graph: SceneGraph, is_new: bool) -> None:
        if not is_new:
            return
        self.num_predicted += 1
        if len(graph):
            self.best_score = max(self.best_score, graph.relation_scores.max().item())
        if self._file:
            self._file.add([frame_line(video.id, frame, graph, self._options.predicate_probabilities)])
        if not self._options.writes_files:
            self._show(frame_text(frame, graph, min_score=self._options.shown_score))


def _progress(video: SourceVideo, reader: VideoReader, options: RunOptions, quiet: bool | None) -> tqdm:
    total = None if video.is_camera else reader.num_frames
    if total is not None:
        total = -(-total // options.frames.every)
        if options.frames.rate is not None:
            total = min(total, round(total * options.frames.every * options.frames.rate / reader.rate) or 1)
    return tqdm(total=total, desc=printable(Path(video.name).name), unit="frame", disable=quiet)
