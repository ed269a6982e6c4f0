# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A video made of pictures and the sound of another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image

from ..complete_files import CompleteFileWriter


_CLOCK = Fraction(1, 60_000)  # seconds; fine enough for every frame rate, and MPEG-4 knows none finer
_CODECS = ("libx264", "mpeg4")  # H.264, which every player knows; the other one where FFmpeg comes without it
_X264_OPTIONS = {"crf": "20", "preset": "veryfast"}
_LARGEST_RATE = 240
_PRIMING = 0.2  # seconds; what an audio decoder needs before the first sound that is heard


class VideoWriter(CompleteFileWriter):
    """A video file that appears when it is complete.

        with VideoWriter("out.mp4", (640, 480), 25, sound_of="in.mp4") as writer:
            writer.write(image, time)

    Args:
        path: The file; its suffix says which container. Missing folders are made, a file that is there is replaced in the end.
        size: (width, height) of the pictures, even numbers.
        rate: Frames per second, a hint for the encoder: times say when a picture is shown.
        sound_of: Video whose sound is copied, if the container takes its kind; None: silent.
        sound_start: Time of the first picture on that video's clock, in seconds.

    Raises:
        ValueError: There is no container for the suffix.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        size: tuple[int, int],
        rate: Fraction | float,
        sound_of: str | None = None,
        sound_start: float = 0.0,
    ) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self.path.with_name(f".{self.path.stem}.{os.getpid()}.unfinished{self.path.suffix}")
        self._container = _opened(self._temporary, self.path)
        self._stream = _video_stream(self._container, size, Fraction(rate).limit_denominator(1001))
        self._sound = _Sound(self._container, sound_of, sound_start) if sound_of else None
        self._last = -1

    def write(self, image: Image.Image, time: float) -> None:
        """Adds a picture.

        Args:
            image: In RGB, of the video's size.
            time: When it is shown, in seconds since the first one; rising.
        """
        frame = av.VideoFrame.from_image(image)
        self._last = max(self._last + 1, round(time / _CLOCK))
        frame.pts, frame.time_base = self._last, _CLOCK
        if self._sound:
            self._sound.copy_until(self._last * float(_CLOCK))
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finishes the file and gives it its name."""
        self._container.mux(self._stream.encode(None))
        if self._sound:
            self._sound.copy_until(self._last * float(_CLOCK) + 1.0)
            self._sound.close()
        self._container.close()
        os.replace(self._temporary, self.path)

    def discard(self) -> None:
        """Removes what was written."""
        if self._sound:
            self._sound.close()
        try:
            self._container.close()
        except av.FFmpegError:  # nothing was written yet that could be finished
            pass
        self._temporary.unlink(missing_ok=True)


class _Sound:
    """The sound of a video, copied as it is, a little ahead of the pictures."""

    def __init__(self, target: av.container.OutputContainer, place: str, start: float) -> None:
        self._container, self._target, self._start = av.open(place), target, start
        self._packets: Iterator[av.Packet] = iter(())
        self._next: av.Packet | None = None
        if self._container.streams.audio:
            source = self._container.streams.audio[0]
            if source.codec_context.name in target.supported_codecs:
                self._stream = target.add_stream_from_template(source)
                self._packets = self._container.demux(source)
                self._next = next(self._packets, None)

    def copy_until(self, time: float) -> None:
        """Copies what is heard before a time, in seconds since the first picture."""
        while self._next is not None and self._next.dts is not None and self._seconds(self._next) <= time:
            packet = self._next
            if self._seconds(packet) >= -_PRIMING:
                shift = round(self._start / packet.time_base)
                packet.dts, packet.pts = packet.dts - shift, packet.pts - shift
                packet.stream = self._stream
                self._target.mux(packet)
            self._next = next(self._packets, None)

    def _seconds(self, packet: av.Packet) -> float:
        return float(packet.dts * packet.time_base) - self._start

    def close(self) -> None:
        self._container.close()


def _opened(temporary: Path, path: Path) -> av.container.OutputContainer:
    try:
        options = {"movflags": "+faststart"} if path.suffix.lower() in (".mp4", ".m4v", ".mov") else {}
        return av.open(str(temporary), "w", options=options)
    except ValueError as error:
        raise ValueError(
            f"{path}: no video can be written with the suffix {path.suffix!r} ({error}); take .mp4"
        ) from error


def _video_stream(container: av.container.OutputContainer, size: tuple[int, int], rate: Fraction) -> av.VideoStream:
    known = container.supported_codecs
    codec = next((name for name in _CODECS if name in known and _can_encode(name)), container.default_video_codec)
    stream = container.add_stream(codec, rate=min(max(rate, Fraction(1)), _LARGEST_RATE))
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    if codec == "libx264":
        stream.options = _X264_OPTIONS
    elif codec == "mpeg4":
        stream.bit_rate = 4 * size[0] * size[1]
    stream.codec_context.time_base = _CLOCK
    return stream


def _can_encode(codec: str) -> bool:
    try:
        return av.Codec(codec, "w").is_encoder
    except av.codec.codec.UnknownCodecError:
        return False
