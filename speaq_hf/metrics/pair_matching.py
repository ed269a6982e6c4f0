# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Which predicted relations agree with which annotated ones, in one image: a plain table of booleans.

For drawing and explaining single images. Evaluation ranks many images at once, see `triplet_ranks`.
"""

from __future__ import annotations

import numpy as np

from ..models.speaq.scene_graph_merge_speaq import with_common_names
from ..scene_graph import SceneGraph
from .box_overlap import pairwise_iou
from .image_triplets import ImageTriplets


def find_hits(predicted: SceneGraph, reference: SceneGraph, iou_threshold: float = 0.5) -> np.ndarray:
    """Which predicted relations agree with which true ones, as the evaluation decides it.

    Args:
        predicted: Graph with k relations.
        reference: Graph with r relations. Classes and predicates are compared by name.
        iou_threshold: Lowest overlap of two boxes that agree, in [0, 1].

    Returns:
        `(k, r)` booleans: predicate, both classes and both boxes agree.
    """
    predicted, reference = with_common_names(predicted, reference)
    num_predicates = len(reference.id2predicate)
    ours = ImageTriplets.from_prediction(predicted, num_predicates, "predicted")
    truth = ImageTriplets.from_reference(reference, num_predicates, "reference")
    same_object = ours.labels[:, None] == truth.labels[None, :]  # (n, m)
    same_object &= pairwise_iou(ours.boxes, truth.boxes) >= iou_threshold
    (subject, object_, predicate), annotated = ours.relations.T, truth.relations.T
    same_ends = same_object[subject[:, None], annotated[0]] & same_object[object_[:, None], annotated[1]]  # (k, r)
    return same_ends & (predicate[:, None] == annotated[2])
