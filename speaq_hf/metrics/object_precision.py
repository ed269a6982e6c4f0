# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Average precision of the predicted objects, as COCO defines it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .image_batch import ImageBatch
from .image_triplets import ImageTriplets


MAX_DETECTIONS = 100  # of one class in one image, best first: COCO's usual limit
_CLASS = 4  # its column
# Of no class: overlaps 0.50, 0.55, ..., 0.95 and recalls 0.00, 0.01, ..., 1.00.
_NO_PRECISIONS, _NO_RECALLS = np.full((10, 101), np.nan), np.full(10, np.nan)


@dataclass(frozen=True)
class _Image:
    """What is kept of an image: rows (x, y, width, height, class), of detections with the score as a sixth column."""

    rank: tuple[int, bytes]
    detections: np.ndarray
    objects: np.ndarray

    @classmethod
    def of(cls, key: int, prediction: ImageTriplets, reference: ImageTriplets) -> _Image:
        detections = np.column_stack([_rows(prediction), prediction.scores])
        objects = _rows(reference)
        digest = hashlib.blake2b(detections.tobytes(), digest_size=8)
        digest.update(objects.tobytes())
        return cls((key, digest.digest()), detections, objects)


class ObjectPrecision:
    """Average precision and recall of the predicted objects, computed by `faster-coco-eval` (extra `eval`).

    COCO sorts the detections of all images by score before it looks at the first one, so they must be kept: 48 bytes
    for each. That is why this is no part of `SceneGraphRecall` but made on request, as one of the tallies of
    `SceneGraphEvaluator`. It belongs to mode "sgdet": in the others boxes are given.

    `compute` returns

    - `AP`: precision averaged over recall, over classes that are annotated somewhere, and over the overlaps 0.50,
      0.55, ..., 0.95; `AP50` and `AP75` at one overlap.
    - `AR100`: largest recall, averaged over the same classes and overlaps. No more than the 100 best detections of a
      class in an image count, for AP either.
    - `AP50_per_class` `(C,)`: nan for classes that are never annotated.
    - `num_images`, `num_objects` (annotated), `num_detections`.

    An object that is annotated twice wants two detections: COCO has no rule for duplicates. Detections of classes that
    are never annotated change nothing. Without any annotated object every average is nan.

    Like the other tallies it can be pickled and merged, and the order of the images changes nothing.

    Args:
        num_classes: C.

    Raises:
        ImportError: `faster-coco-eval` is not installed.
        ValueError: There is no class.
    """

    def __init__(self, num_classes: int) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}.")
        _import_coco()  # better now than after an hour of predictions
        self.num_classes = num_classes
        self._images: list[_Image] = []

    def add_images(self, images: ImageBatch) -> None:
        """Adds images from `read_images`. Nothing is added when one of them is faulty.

        Raises:
            ValueError: A class does not exist.
        """
        for what, graphs in (("Prediction", images.predictions), ("Reference", images.references)):
            for number, graph in enumerate(graphs, start=len(self._images)):
                self._check_labels(f"{what} of image {number}", graph.labels)
        rows = zip(images.keys, images.predictions, images.references, strict=True)
        self._images += [_Image.of(*row) for row in rows]

    def merge(self, other: ObjectPrecision) -> ObjectPrecision:
        """Adds the images of another one.

        Returns:
            This one.

        Raises:
            ValueError: The numbers of classes differ.
        """
        if self.num_classes != other.num_classes:
            raise ValueError(f"Cannot merge: `num_classes` differs ({self.num_classes} and {other.num_classes}).")
        self._images += other._images
        return self

    def compute(self) -> dict[str, Any]:
        """The numbers of all images added so far, see the class."""
        # COCO decides ties of scores by the order of the images, so they get one that follows from what they are.
        images = sorted(self._images, key=lambda image: image.rank)
        detections = _concatenated([image.detections for image in images], num_columns=6)
        objects = _concatenated([image.objects for image in images], num_columns=5)
        # One class at a time: COCO wants a dictionary for every detection.
        classes = np.unique(objects[:, _CLASS]).astype(np.int64)
        curves = [_class_curves(_of_class(detections, number), _of_class(objects, number)) for number in classes]
        precisions, recalls = zip(*curves, strict=True) if curves else ([_NO_PRECISIONS], [_NO_RECALLS])
        precision = np.stack(precisions)  # (classes, overlaps, recalls)
        recall = np.stack(recalls)  # (classes, overlaps)
        per_class = np.full(self.num_classes, np.nan)
        per_class[classes] = precision[: len(classes), 0].mean(axis=-1)
        return {
            "AP": float(precision.mean()),
            "AP50": float(precision[:, 0].mean()),
            "AP75": float(precision[:, 5].mean()),
            f"AR{MAX_DETECTIONS}": float(recall.mean()),
            "AP50_per_class": per_class.tolist(),
            "num_images": len(images),
            "num_objects": len(objects),
            "num_detections": len(detections),
        }

    def _check_labels(self, where: str, labels: np.ndarray) -> None:
        if labels.max(initial=0) >= self.num_classes:
            row = int(labels.argmax())
            raise ValueError(
                f"{where}: `labels` row {row} is {labels[row]}, but there are {self.num_classes} classes."
            )


def _import_coco() -> Any:
    try:
        import faster_coco_eval
    except ImportError as error:
        raise ImportError('ObjectPrecision needs faster-coco-eval: pip install "speaq_hf[eval]".') from error
    return faster_coco_eval


def _rows(graph: ImageTriplets) -> np.ndarray:
    corners, far_corners = graph.boxes[:, :2], graph.boxes[:, 2:]
    return np.column_stack([corners, far_corners - corners, graph.labels])


def _concatenated(rows: Sequence[np.ndarray], num_columns: int) -> np.ndarray:
    """Rows `(N, num_columns + 1)` of all images, with the number of the image from 1 as the last column."""
    image = np.repeat(np.arange(1, len(rows) + 1), [len(part) for part in rows])
    return np.column_stack([np.concatenate([np.zeros((0, num_columns)), *rows]), image])


def _of_class(rows: np.ndarray, number: int) -> np.ndarray:
    return rows[rows[:, _CLASS] == number]


def _class_curves(detections: np.ndarray, objects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Curves of one class that has objects.

    Args:
        detections: `(n, 7)` rows (x, y, width, height, class, score, image).
        objects: `(m, 6)` the same without the score.

    Returns:
        Precision `(overlaps, recalls)` and largest recall `(overlaps,)`.
    """
    coco = _import_coco()
    images = np.union1d(detections[:, -1], objects[:, -1])  # others say nothing about this class
    truth = {
        "images": [{"id": int(image)} for image in images],
        "categories": [{"id": 1, "name": ""}],
        # COCO leaves out objects whose area is out of range, and gives a class that has no others a precision of -1; with
        # an area of 1 even turned boxes, which nothing can find, count.
        "annotations": [
            {**_annotation(row), "id": number, "area": 1, "iscrowd": 0}
            for number, row in enumerate(objects.tolist(), start=1)
        ],
    }
    annotated = coco.COCO(truth)
    found = annotated.loadRes([{**_annotation(row), "score": row[5]} for row in detections.tolist()])
    evaluation = coco.COCOeval_faster(annotated, found, "bbox")
    evaluation.params.maxDets = [MAX_DETECTIONS]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]  # square pixels
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"][:, :, 0, 0, 0], evaluation.eval["recall"][:, 0, 0, 0]


def _annotation(row: list[float]) -> dict[str, Any]:
    return {"image_id": int(row[-1]), "category_id": 1, "bbox": row[:4]}
