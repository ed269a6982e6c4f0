# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What the frames of a video are called."""

from __future__ import annotations


def frame_id(video_id: int | str, number: int) -> str:
    """The id under which the graph of a frame is written."""
    return f"{video_id}#{number}"
