# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Which predicted objects, pairs and triplets agree with which annotated ones, in one image: plain tables of booleans.

For drawing and explaining single images. Evaluation ranks many images at once, see `triplet_ranks`.
"""

import numpy as np

from .box_overlap import pairwise_iou
from .image_triplets import ImageTriplets


def match_pairs(prediction: ImageTriplets, reference: ImageTriplets, iou_threshold: float) -> np.ndarray:
    """Which predicted (subject, object) pairs agree with which annotated ones in both classes and both boxes.

    Args:
        prediction: Graph with k relations.
        reference: Graph with r relations.
        iou_threshold: Lowest overlap of two boxes that agree, in [0, 1].

    Returns:
        `(k, r)` booleans; predicates are not looked at.
    """
    same_object = prediction.labels[:, None] == reference.labels[None, :]  # (n, m)
    same_object &= pairwise_iou(prediction.boxes, reference.boxes) >= iou_threshold
    subjects = same_object[prediction.relations[:, 0][:, None], reference.relations[:, 0][None, :]]
    objects = same_object[prediction.relations[:, 1][:, None], reference.relations[:, 1][None, :]]
    return subjects & objects


def match_triplets(prediction: ImageTriplets, reference: ImageTriplets, iou_threshold: float) -> np.ndarray:
    """Which predicted triplets hit which annotated ones: `match_pairs` with equal predicates, `(k, r)` booleans."""
    same_predicate = prediction.relations[:, 2][:, None] == reference.relations[:, 2][None, :]
    return match_pairs(prediction, reference, iou_threshold) & same_predicate
