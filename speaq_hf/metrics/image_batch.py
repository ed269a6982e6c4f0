# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Predictions and annotations of a batch of images, read and checked once for every metric that looks at them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bootstrap import image_key
from .image_triplets import ImageTriplets


# What each mode takes from the reference.
GIVEN_FIELDS = {"sgdet": (), "sgcls": ("boxes",), "predcls": ("boxes", "labels", "scores")}
MODES = tuple(GIVEN_FIELDS)


@dataclass(frozen=True)
class ImageBatch:
    """B images.

    Args:
        predictions: B graphs, with the given boxes and classes in modes "sgcls" and "predcls".
        references: B annotations.
        keys: B numbers that stand for the images, see `image_key`.
    """

    predictions: list[ImageTriplets]
    references: list[ImageTriplets]
    keys: list[int]

    def __len__(self) -> int:
        return len(self.keys)

    def select(self, images: Sequence[int]) -> ImageBatch:
        """The images with these numbers."""
        return ImageBatch(*([column[i] for i in images] for column in (self.predictions, self.references, self.keys)))

    def counted(self, skip_without_predictions: bool) -> ImageBatch:
        """The images that recall is averaged over: those with annotated relations.

        Args:
            skip_without_predictions: Leave out images for which no relation is predicted.

        Returns:
            These images, in their order.
        """
        pairs = zip(self.predictions, self.references, strict=True)
        return self.select(
            [
                number
                for number, (prediction, reference) in enumerate(pairs)
                if len(reference.relations) and (len(prediction.relations) or not skip_without_predictions)
            ]
        )

    def chunks(self, size: int) -> Iterator[ImageBatch]:
        """The images in batches of at most `size`."""
        for start in range(0, len(self), size):
            yield self.select(range(start, min(start + size, len(self))))


def read_images(
    predictions: Sequence[Any], references: Sequence[Any], num_predicates: int, mode: str = "sgdet", first: int = 0
) -> ImageBatch:
    """Reads what `SceneGraphRecall.add_batch` takes.

    Args:
        predictions: B `SceneGraph` objects or mappings with the same fields.
        references: B annotations.
        num_predicates: P.
        mode: One of `MODES`.
        first: Number of the first image, for error messages.

    Returns:
        The checked images.

    Raises:
        ValueError: The lengths differ, or a field is missing, malformed, out of range or not finite.
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions do not fit {len(references)} references.")
    batch = ImageBatch([], [], [])
    for number, (prediction, reference) in enumerate(zip(predictions, references, strict=True), start=first):
        image_id = _image_id(reference)
        name = f"image {number}" if image_id is None else f"image {number} (id {image_id})"
        truth = ImageTriplets.from_reference(reference, num_predicates, f"Reference of {name}")
        batch.predictions.append(_read_prediction(prediction, truth, num_predicates, mode, f"Prediction of {name}"))
        batch.references.append(truth)
        batch.keys.append(image_key(image_id, truth))
    return batch


def _image_id(reference: Any) -> Any:
    return reference.get("image_id") if isinstance(reference, Mapping) else None


def _read_prediction(
    prediction: Any, truth: ImageTriplets, num_predicates: int, mode: str, where: str
) -> ImageTriplets:
    given = {"boxes": truth.boxes, "labels": truth.labels, "scores": [1.0] * len(truth.boxes)}
    given = {name: given[name] for name in GIVEN_FIELDS[mode]}
    if isinstance(prediction, Mapping):
        prediction = {**given, **prediction}  # what is given may be missing
    graph = ImageTriplets.from_prediction(prediction, num_predicates, where)
    if not given:
        return graph
    if len(graph.boxes) != len(truth.boxes):
        raise ValueError(
            f"{where}: mode {mode!r} needs the {len(truth.boxes)} objects of the reference in its order, "
            f"got {len(graph.boxes)}."
        )
    given["boxes"] = truth.boxes
    if mode == "predcls":
        given["scores"] = np.ones_like(graph.scores)
    return dataclasses.replace(graph, **given)
