# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A video with boxes and relations drawn on its frames."""

from __future__ import annotations

import os
from types import TracebackType

from ..scene_graph import SceneGraph
from .frame_choice import FrameChoice
from .frame_drawing import FrameArtist
from .video_reading import VideoFrame, VideoReader
from .video_writing import VideoWriter


class AnnotatedVideo:
    """A file to which predicted frames are added; it appears when it is complete.

    Args:
        path: The file.
        reader: The video of the frames; its sound is copied.
        choice: Which of its frames are predicted, and shown.
        max_relations: Most relations of a frame.
        min_score: Lowest relation score drawn.
        has_sound: Whether `reader` can be read a second time, for its sound.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        reader: VideoReader,
        choice: FrameChoice,
        max_relations: int,
        min_score: float,
        has_sound: bool = True,
    ) -> None:
        self._path, self._reader, self._choice, self._has_sound = path, reader, choice, has_sound
        self._limits = max_relations, min_score
        self._artist: FrameArtist | None = None
        self._writer: VideoWriter | None = None

    def write(self, frame: VideoFrame, graph: SceneGraph) -> None:
        """Adds a frame with its graph."""
        if self._writer is None:
            self._begin(frame)
        self._writer.write(self._artist.draw(frame.image, graph, _caption(frame)), frame.time)

    def _begin(self, frame: VideoFrame) -> None:
        """The first frame tells the size."""
        self._artist = FrameArtist(frame.image.size, *self._limits)
        rate = self._reader.rate / self._choice.every
        rate = rate if self._choice.rate is None else min(rate, self._choice.rate)
        sound_of = self._reader.place if self._has_sound else None
        self._writer = VideoWriter(self._path, self._artist.size, rate, sound_of, self._reader.start)

    def __enter__(self) -> AnnotatedVideo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, traceback)


def _caption(frame: VideoFrame) -> str:
    minutes, seconds = divmod(frame.time, 60)
    return f"{minutes:.0f}:{seconds:05.2f}   frame {frame.number}"
