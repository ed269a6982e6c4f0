# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Which predicted triplets agree with which annotated ones, in one image: a plain table of booleans.

For drawing and explaining single images. Evaluation ranks many images at once, see `triplet_ranks`.
"""

import numpy as np

from .box_overlap import pairwise_iou
from .image_triplets import ImageTriplets


def match_triplets(prediction: ImageTriplets, reference: ImageTriplets, iou_threshold: float) -> np.ndarray:
    """Which predicted triplets hit which annotated ones: predicate, both classes and both boxes agree.

    Args:
        prediction: Graph with k relations.
        reference: Graph with r relations.
        iou_threshold: Lowest overlap of two boxes that agree, in [0, 1].

    Returns:
        `(k, r)` booleans.
    """
    same_object = prediction.labels[:, None] == reference.labels[None, :]  # (n, m)
    same_object &= pairwise_iou(prediction.boxes, reference.boxes) >= iou_threshold
    (subject, object_, predicate), truth = prediction.relations.T, reference.relations.T
    same_ends = same_object[subject[:, None], truth[0]] & same_object[object_[:, None], truth[1]]  # (k, r)
    return same_ends & (predicate[:, None] == truth[2])
