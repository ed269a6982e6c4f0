# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Graphs of the frames of a video, and how they are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from ..predictor import GraphOptions, SceneGraphPredictor
from ..scene_graph import SceneGraph
from .frame_ids import frame_id
from .shown_graph import shown_graph
from .video_reading import VideoFrame


def frame_line(video_id: int | str, frame: VideoFrame, graph: SceneGraph, predicate_probabilities: bool = True) -> str:
    """The line of a frame in a prediction file: that of an image, and `video`, `frame` and `time` in seconds."""
    line = graph.to_jsonl(frame_id(video_id, frame.number), predicate_probabilities)
    more = json.dumps({"video": str(video_id), "frame": frame.number, "time": round(frame.time, 6)})
    return f"{line[:-1]}, {more[1:]}"


def frame_text(frame: VideoFrame, graph: SceneGraph, max_relations: int = 5, min_score: float = 0.05) -> str:
    """One line for a terminal: the time and the best relations."""
    shown = ", ".join(map(str, shown_graph(graph, max_relations, min_score).triplets()))
    return f"{frame.time:8.2f} s  {shown or '–'}"


def predict_frames(
    predictor: SceneGraphPredictor,
    frames: Iterable[VideoFrame],
    options: GraphOptions,
    batch_size: int = 1,
    known: Callable[[int], SceneGraph | None] = lambda number: None,
) -> Iterator[tuple[VideoFrame, SceneGraph, bool]]:
    """Predicts frames, each by itself: the image models know nothing of the frames before.

    Args:
        predictor: Of images.
        frames: Frames in their order.
        options: Which relations are kept.
        batch_size: Frames at once.
        known: The graph of a frame that an interrupted run has predicted, by its number.

    Yields:
        Frame, graph and whether it was predicted now.
    """
    for batch in _batches(frames, batch_size):
        graphs = [known(frame.number) for frame in batch]
        is_new = any(graph is None for graph in graphs)
        if is_new:
            graphs = predictor([frame.image for frame in batch], options)
        yield from ((frame, graph, is_new) for frame, graph in zip(batch, graphs, strict=True))


def _batches(frames: Iterable[VideoFrame], size: int) -> Iterator[list[VideoFrame]]:
    frames = iter(frames)
    while batch := list(islice(frames, size)):
        yield batch
