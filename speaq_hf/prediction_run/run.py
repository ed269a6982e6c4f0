# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Predicting the graphs of many images and videos: in batches, resumable, alone or with other processes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..predictor import SceneGraphPredictor
from ..scene_graph import SceneGraph
from ..text_files import write_text
from .frame_ids import frame_id
from .image_batches import Outcome, load_batch, predict_batch
from .picture_folder import PictureFolder
from .processes import Processes
from .read_ahead import read_ahead
from .readable_text import readable_graph
from .records import RecordFile, Records, skipped_line
from .run_options import RunOptions
from .safe_names import safe_name
from .sources import VIDEO_SUFFIXES, Source, SourceImage, SourceVideo
from .unfinished_run import UnfinishedRun


@dataclass
class RunSummary:
    """What a run did.

    Args:
        num_images: Images it was to predict, without frames.
        num_known: Of these, predicted before it was resumed.
        num_predicted: Images and frames that this process predicted.
        num_written: Images and frames that are in the output in the end, whoever predicted them.
        skipped: Reasons of the images and videos that cannot be read, by name.
        is_complete: Whether everything is done, also by other processes, and written.
        best_score: Highest relation score that this process saw, in [0, 1].
    """

    num_images: int = 0
    num_known: int = 0
    num_predicted: int = 0
    num_written: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    is_complete: bool = False
    best_score: float = 0.0


class PredictionRun:
    """A run over images and videos.

        run = PredictionRun(find_sources(["photos"]), RunOptions(output="predictions.jsonl"))
        summary = run(SceneGraphPredictor.from_pretrained())

    Args:
        sources: What to predict; with every other process the same, in the same order.
        options: How, and where to.
        model_settings: What tells the model from others, as the run that is resumed must have it: names and values of JSON.
        show: Called with text about each graph where no files are written.
        processes: Those that share the run; None: those that were launched together.

    Raises:
        FileExistsError: There is something already that is neither to be resumed nor replaced.
        ValueError: The options do not fit the sources.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        options: RunOptions,
        model_settings: Mapping[str, Any] | None = None,
        show: Callable[[str], Any] = print,
        processes: Processes | None = None,
    ) -> None:
        self.options, self.summary, self._model_settings = options, RunSummary(), model_settings or {}
        self._sources, self._show, self._processes = sources, show, processes or Processes()
        self._images = [source for source in sources if not source.is_video]
        self._videos = [source for source in sources if source.is_video]
        self.summary.num_images = len(self._images)
        self._unfinished = UnfinishedRun(options.output, options.format) if options.output else None
        self._pictures = (
            PictureFolder(options.pictures, options.shown_relations, options.shown_score) if options.pictures else None
        )
        self._records, self._file, self._num_kept = Records(), None, 0
        self._check()

    def _check(self) -> None:
        options = self.options
        if self._processes.count > 1 and self._unfinished is None:
            raise ValueError("several processes need --output: a file in a folder that all of them see")
        if options.resume and any(video.is_camera for video in self._videos):
            raise ValueError("what a camera saw cannot be predicted again: --resume is for files")
        if options.annotated_video and not self._videos:
            raise ValueError("--annotated-video is for videos, of which none is among the sources")
        if len(self._videos) > 1 and Path(options.annotated_video or "").suffix.lower() in VIDEO_SUFFIXES:
            raise ValueError(f"--annotated-video names one file for {len(self._videos)} videos; name a folder")
        self._check_sources_kept()
        if not self._processes.is_first:  # the first one may have begun already
            return
        if self._unfinished:
            self._unfinished.check(options.resume, options.overwrite)
        if not (options.resume or options.overwrite):
            self._check_nothing_replaced()

    def _check_sources_kept(self) -> None:
        """Not even --overwrite replaces what is to be predicted; --resume would take it for what it has written."""
        sources = {os.path.realpath(source.file) for source in self._sources if source.file is not None}
        written = [("--output", self.options.output), ("", self.options.skipped_file)]
        written += [("--pictures", self._pictures.path(image)) for image in self._images if self._pictures]
        written += [("--annotated-video", self._video_path(video)) for video in self._videos]
        for option, path in written:
            if path is not None and os.path.realpath(path) in sources:
                raise ValueError(
                    f"{option} {path} is one of the sources, and would be replaced; name another place".strip()
                )

    def _check_nothing_replaced(self) -> None:
        if self._pictures:
            self._pictures.check_new(self._images)
        for video in self._videos:
            path = self._video_path(video)
            if path is not None and path.exists():
                raise FileExistsError(f"{path} exists; --overwrite replaces it")

    def __call__(self, predictor: SceneGraphPredictor) -> RunSummary:
        """Predicts what is not done yet.

        Raises:
            InterruptedRun: Within `interruptible`, at a signal; `summary` says how far it came.
            MemoryError: A batch is too large.
            OSError: A file cannot be written.
            ValueError: The run that is to be resumed was another one.
        """
        most = len(predictor.model.config.id2predicate)
        if self.options.graph.predicates_per_query > most:
            raise ValueError(f"--predicates-per-query must be at most {most}, as many predicates as the model knows")
        with ExitStack() as stack:
            if self._unfinished:
                stack.callback(self._unfinished.unlock)
                self._file = stack.enter_context(closing(self._begin(predictor)))
            self._predict_images(predictor)
            self._predict_videos(predictor)
        self._end()
        return self.summary

    def _begin(self, predictor: SceneGraphPredictor) -> RecordFile:
        options = self.options
        if self._processes.is_first:
            self._unfinished.begin(self._settings(predictor), options.resume, options.overwrite)
        self._processes.wait()
        self._records = self._unfinished.records()
        self._processes.wait()  # nobody writes before all have seen the same
        return self._unfinished.open(self._processes.index)

    def _settings(self, predictor: SceneGraphPredictor) -> dict[str, Any]:
        """What decides the content of the output; batch size and device move its last digits only."""
        config = predictor.model.config
        return {
            **self._model_settings,
            **asdict(self.options.graph),
            **asdict(self.options.frames),
            "predicate_probabilities": self.options.predicate_probabilities,
            "id2label": {str(number): name for number, name in config.id2label.items()},
            "id2predicate": {str(number): name for number, name in config.id2predicate.items()},
        }

    @property
    def num_done(self) -> int:
        """Images of which all is known, by this process and those before."""
        return self.summary.num_known + self._num_kept

    # Images -----------------------------------------------------------------------------------------------------------

    def _predict_images(self, predictor: SceneGraphPredictor) -> None:
        from tqdm.auto import tqdm

        size = self.options.batch_size
        batches = [self._images[start : start + size] for start in range(0, len(self._images), size)]
        remaining = [batch for batch in batches if not all(map(self._is_done, batch))]
        self.summary.num_known = sum(map(self._is_done, self._images))
        mine = self._processes.share(remaining)
        loaded = read_ahead(partial(load_batch, predictor, is_done=self._is_done), mine, self.options.num_workers)
        quiet = None if self._processes.is_first and self._images else True  # None: unless nobody looks
        with tqdm(total=sum(map(len, mine)), desc="Predicting", unit="image", disable=quiet) as bar:
            for batch, names in zip(loaded, mine, strict=True):
                self._keep(predict_batch(predictor, batch, self.options.graph))
                bar.update(len(names))

    def _is_done(self, source: SourceImage) -> bool:
        """Whether an earlier process left all that is wanted of an image."""
        if not self.options.resume:
            return False
        is_recorded = self._unfinished is None or str(source.id) in self._records.predicted
        return is_recorded and (self._pictures is None or self._pictures.path(source).exists())

    def _keep(self, outcomes: Sequence[Outcome]) -> None:
        """Pictures first: what is recorded is done."""
        outcomes = [outcome for outcome in outcomes if not self._is_done(outcome.source)]
        for outcome in outcomes:
            if outcome.graph is None:
                self._records.skipped[str(outcome.source.id)] = outcome.reason
                continue
            self._count(outcome.graph)
            if self._pictures:
                self._pictures.write(outcome.source, outcome.image, outcome.graph)
            if not self.options.writes_files:
                self._show(self._text(outcome))
        if self._file:
            self._file.add([self._line(outcome) for outcome in outcomes])
        self._num_kept += len(outcomes)

    def _count(self, graph: SceneGraph) -> None:
        self.summary.num_predicted += 1
        if len(graph):
            self.summary.best_score = max(self.summary.best_score, graph.relation_scores.max().item())

    def _text(self, outcome: Outcome) -> str:
        return readable_graph(
            outcome.source.name, outcome.graph, self.options.shown_relations, self.options.shown_score
        )

    def _line(self, outcome: Outcome) -> str:
        if outcome.graph is None:
            return skipped_line(outcome.source.id, outcome.reason)
        return outcome.graph.to_jsonl(outcome.source.id, self.options.predicate_probabilities)

    # Videos -----------------------------------------------------------------------------------------------------------

    def _predict_videos(self, predictor: SceneGraphPredictor) -> None:
        if not self._videos:
            return
        from .video_run import VideoRun

        quiet = None if self._processes.is_first else True
        predict = VideoRun(predictor, self.options, self._records, self._file, self._show, quiet)
        for video in self._processes.share([video for video in self._videos if not self._is_done_video(video)]):
            predict(video, self._video_path(video))
        self.summary.num_predicted += predict.num_predicted
        self.summary.best_score = max(self.summary.best_score, predict.best_score)

    def _is_done_video(self, video: SourceVideo) -> bool:
        path = self._video_path(video)
        is_recorded = self._unfinished is None or str(video.id) in self._records.frames
        return self.options.resume and is_recorded and (path is None or path.exists())

    def _video_path(self, video: SourceVideo) -> Path | None:
        """Where the annotated video is, or will be."""
        target = self.options.annotated_video
        if target is None:
            return None
        if len(self._videos) == 1 and Path(target).suffix and not Path(target).is_dir():
            return Path(target)
        return Path(target) / f"{safe_name(video.id)}.mp4"

    # The end ----------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        if self._unfinished and not self._unfinished.leave(self._processes.index, self._processes.count):
            return
        self.summary.num_written = self.summary.num_known + self.summary.num_predicted
        if self._unfinished:
            self._records = self._unfinished.records()
            self._unfinished.finish(self._all_ids(), self._records)
            self.summary.num_written = len(self._records.predicted)
        names = {str(source.id): source.name for source in self._sources}
        self.summary.skipped = {
            names.get(id, id): reason
            for id, reason in self._records.skipped.items()
            if id not in self._records.predicted
        }
        self._list_skipped()
        self.summary.is_complete = True

    def _all_ids(self) -> Iterator[int | str]:
        for source in self._sources:
            if source.is_video:
                yield from (frame_id(source.id, number) for number in self._records.frames.get(str(source.id), ()))
            else:
                yield source.id

    def _list_skipped(self) -> None:
        file = self.options.skipped_file
        if file is None:
            return
        if self.summary.skipped:
            lines = [json.dumps({"source": name, "reason": reason}) for name, reason in self.summary.skipped.items()]
            write_text(file, "\n".join(lines) + "\n")
        else:
            file.unlink(missing_ok=True)
