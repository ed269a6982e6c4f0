# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Frames of videos and cameras, upright, with their times."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer
from PIL import Image

from .frame_choice import FrameChoice


_USUAL_RATE = Fraction(25)
_URL_TIMEOUT = 20.0  # seconds
_CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


class UnreadableVideoError(ValueError):
    """A video is missing, damaged or none."""


@dataclass(frozen=True)
class VideoFrame:
    """A frame.

    Args:
        number: Its place in the video, from 0, counting frames that were passed over, too.
        time: Seconds since the first frame.
        image: Its pixels, upright, in RGB.
    """

    number: int
    time: float
    image: Image.Image


class VideoReader:
    """An open video or camera. `failure` says, in the end, why it broke off, if it did.

    Args:
        place: Path, address, or what the input format calls a device.
        format: Input format of FFmpeg; None: recognised.
        options: Of that format.

    Raises:
        UnreadableVideoError: There is no such video, or it holds no pictures.
    """

    def __init__(self, place: str, format: str | None = None, options: dict[str, str] | None = None) -> None:
        self.place = place
        try:
            self._container: InputContainer = av.open(
                place, format=format, options=options, timeout=(_URL_TIMEOUT, None)
            )
        except (av.FFmpegError, ValueError) as error:
            raise UnreadableVideoError(f"{place} cannot be read as a video: {_reason(error)}") from error
        if not self._container.streams.video:
            self._container.close()
            raise UnreadableVideoError(f"{place} holds no pictures, only sound or text")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._start: float | None = None
        self.failure = ""

    @property
    def rate(self) -> Fraction:
        """Frames per second, as the file says or as usual."""
        return self._stream.average_rate or self._stream.guessed_rate or _USUAL_RATE

    @property
    def num_frames(self) -> int | None:
        """About how many frames there are, for a progress bar; None where the file does not tell."""
        if self._stream.frames:
            return self._stream.frames
        seconds = (self._container.duration or 0) / av.time_base
        return round(seconds * self.rate) or None

    @property
    def start(self) -> float:
        """Time of the first frame on the file's own clock, in seconds."""
        return self._start or 0.0

    def frames(self, choice: FrameChoice) -> Iterator[VideoFrame]:
        """The chosen frames in their order.

        Raises:
            UnreadableVideoError: Not one frame can be read. If the video breaks off later, the frames just end.
        """
        due, number = 0.0, -1
        try:
            for number, frame in enumerate(self._container.decode(self._stream)):
                time = self._time(frame, number)
                if number % choice.every == 0 and time >= due - 1e-6:
                    due = due if choice.rate is None else max(due, time - 1 / choice.rate) + 1 / choice.rate
                    yield VideoFrame(number, time, _upright(frame))
        except av.FFmpegError as error:
            self.failure = _reason(error)
        if number < 0:
            raise UnreadableVideoError(
                f"{self.place} cannot be read as a video: {self.failure or 'it holds no pictures'}"
            )

    def _time(self, frame: av.VideoFrame, number: int) -> float:
        time = frame.time if frame.time is not None else number / float(self.rate)
        if self._start is None:
            self._start = time
        return time - self._start

    def close(self) -> None:
        """Closes the file or camera."""
        self._container.close()


def open_camera(device: str) -> VideoReader:
    """A camera.

    Args:
        device: Its number; on Windows, or where there are many, the name that the system gives it.

    Raises:
        UnreadableVideoError: There is no such camera, or FFmpeg cannot open those of this system.
    """
    format = _CAMERA_FORMATS.get(sys.platform)
    if format is None:
        raise UnreadableVideoError(f"cameras cannot be read on {sys.platform}")
    place = device
    if format == "v4l2" and device.isdecimal():
        place = f"/dev/video{device}"
    elif format == "dshow":
        place = f"video={_camera_name(int(device)) if device.isdecimal() else device}"
    return VideoReader(place, format, {"framerate": "30"} if format == "avfoundation" else None)


def _camera_name(number: int) -> str:
    from av.device import enumerate_input_devices

    names = [device.name for device in enumerate_input_devices("dshow") if "video" in str(device.media_types)]
    if number >= len(names):
        raise UnreadableVideoError(f"there is no camera {number}; there are {', '.join(names) or 'none'}")
    return names[number]


def latest_frames(reader: VideoReader, choice: FrameChoice) -> Iterator[VideoFrame]:
    """Frames of a camera as they come: those that nobody has time for are passed over, so that what is shown is now.

    Close the generator before the reader.
    """
    newest: queue.Queue[VideoFrame | Exception | None] = queue.Queue(maxsize=1)
    is_over = threading.Event()
    thread = threading.Thread(target=_follow, args=(reader, choice, newest, is_over), daemon=True)
    thread.start()
    try:
        while (frame := newest.get()) is not None:
            if isinstance(frame, Exception):
                raise frame
            yield frame
    finally:
        is_over.set()
        thread.join()  # FFmpeg does not bear that a file is closed while it is read


def _follow(reader: VideoReader, choice: FrameChoice, newest: queue.Queue, is_over: threading.Event) -> None:
    """Keeps the newest frame in a queue with one place, then the end: None or an error."""
    end: Exception | None = None
    try:
        for frame in reader.frames(choice):
            if is_over.is_set():
                return
            _replace(newest, frame)
    except Exception as error:
        end = error
    _put_last(newest, end, is_over)


def _put_last(newest: queue.Queue, end: Exception | None, is_over: threading.Event) -> None:
    """Waits until the last frame is fetched, unless nobody will."""
    while not is_over.is_set():
        try:
            return newest.put(end, timeout=0.1)
        except queue.Full:
            continue


def _replace(newest: queue.Queue, frame: VideoFrame) -> None:
    try:
        newest.get_nowait()
    except queue.Empty:
        pass
    newest.put(frame)


def _upright(frame: av.VideoFrame) -> Image.Image:
    image = frame.to_image()
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
