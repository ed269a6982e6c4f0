# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Batches of images of which some may be unreadable: the others are predicted, and each failure gets its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from ..image_reading import read_image
from ..predictor import GraphOptions, PreparedImages, SceneGraphPredictor
from ..scene_graph import SceneGraph
from .sources import SourceImage


@dataclass(frozen=True)
class Outcome:
    """What became of an image.

    Args:
        source: The image.
        image: Its pixels; None if it cannot be read.
        graph: Its graph; None if there is none.
        reason: Why there is none.
    """

    source: SourceImage
    image: Image.Image | None = None
    graph: SceneGraph | None = None
    reason: str = ""


@dataclass(frozen=True)
class LoadedBatch:
    """Images that could be read, with what the model needs, and those that could not.

    Args:
        sources: Those that were read.
        images: Their pixels.
        prepared: Their batch; None if they cannot be in one.
        failures: The others.
    """

    sources: list[SourceImage]
    images: list[Image.Image]
    prepared: PreparedImages | None
    failures: list[Outcome]


def load_batch(
    predictor: SceneGraphPredictor, sources: Sequence[SourceImage], is_done: Callable[[SourceImage], bool]
) -> LoadedBatch:
    """Reads the images of a batch, for `read_ahead`.

    A batch is always made of the same images, whatever was done before an interruption: in another batch, with other sums, the
    last digits of a graph may differ.

    Args:
        predictor: Prepares them.
        sources: The images.
        is_done: Whether an image is predicted already; nothing is computed where all the others are unreadable.
    """
    read = {source.id: _read(source) for source in sources if not is_done(source)}
    failures = [outcome for outcome in read.values() if outcome.image is None]
    if len(failures) == len(read):
        return LoadedBatch([], [], None, failures)
    outcomes = [read.get(source.id) or _read(source) for source in sources]
    outcomes = [outcome for outcome in outcomes if outcome.image is not None]
    sources, images = [outcome.source for outcome in outcomes], [outcome.image for outcome in outcomes]
    return LoadedBatch(sources, images, _prepared(predictor, images), failures)


def predict_batch(predictor: SceneGraphPredictor, batch: LoadedBatch, options: GraphOptions) -> list[Outcome]:
    """The graphs of a loaded batch, and its failures.

    Raises:
        MemoryError: The batch is too large for the device.
    """
    if not batch.images:
        return batch.failures
    graphs = _predicted(predictor, batch.prepared, options) if batch.prepared else None
    if isinstance(graphs, list):
        rows = zip(batch.sources, batch.images, graphs, strict=True)
        return [*(Outcome(*row) for row in rows), *batch.failures]
    rows = zip(batch.sources, batch.images, strict=True)
    return [*(_predicted_alone(predictor, *row, options) for row in rows), *batch.failures]


def _read(source: SourceImage) -> Outcome:
    try:
        return Outcome(source, read_image(source.read(), source.name))
    except (ValueError, OSError) as error:
        return Outcome(source, reason=_without_name(str(error), source.name))


def _without_name(message: str, name: str) -> str:
    return message.removeprefix(f"{name} ").removeprefix(f"{name}: ")


def _prepared(predictor: SceneGraphPredictor, images: Sequence[Image.Image]) -> PreparedImages | None:
    try:
        return predictor.prepare(images)
    except (ValueError, RuntimeError):  # one of them has no size that the processor can make anything of
        return None


def _predicted(
    predictor: SceneGraphPredictor, prepared: PreparedImages, options: GraphOptions
) -> list[SceneGraph] | Exception:
    try:
        return predictor.predict_prepared(prepared, options)
    except torch.OutOfMemoryError as error:
        raise MemoryError(
            f"{len(prepared.sizes)} images at once are too many for the memory of {predictor.model.device}: --batch-size sets fewer, "
            "--resume goes on"
        ) from error
    except (ValueError, RuntimeError) as error:
        return error


def _predicted_alone(
    predictor: SceneGraphPredictor, source: SourceImage, image: Image.Image, options: GraphOptions
) -> Outcome:
    try:
        graphs = _predicted(predictor, predictor.prepare([image]), options)
    except (ValueError, RuntimeError) as error:
        graphs = error
    if isinstance(graphs, list):
        return Outcome(source, image, graphs[0])
    first_line = (str(graphs) or type(graphs).__name__).splitlines()[0]
    return Outcome(
        source,
        image,
        reason=f"is {image.width} x {image.height} pixels, of which the model makes nothing: {first_line}",
    )
