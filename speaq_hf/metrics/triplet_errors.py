# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Why one image's annotated triplets are missed: the first cause that holds for each, in a fixed order.

The causes, in their order, for an annotated triplet that no competing prediction among the first K hits:

1. `not_found`: for its subject or object, no predicted object of any class overlaps enough, and none of its class loosely.
2. `wrong_class`: a predicted object overlaps it enough, but none of its class does.
3. `loose_box`: one of its class overlaps it loosely (at least 0.1), but none enough.
4. `pair_not_proposed`: both objects are found, but no row of the prediction connects two that agree with them.
5. `wrong_predicate`: rows connect them, but none that competes has the annotated predicate; the best-ranked of these rows
   says which came instead. Where one predicate per pair competes, a right one behind a wrong one does not.
6. `below_k`: the triplet is predicted, but behind K others.
7. `duplicate`: the triplet is predicted, and would be among the first K if no repetition stood before it and the protocol
   had not given the predicted box to another annotated one.

Subject and object each have one of the causes 1 to 3 or none; the triplet has the earlier one. "Overlaps enough" means IoU
of at least the threshold, computed as the protocol does. Up to cause 5, all objects and all rows of the prediction are
looked at, also the rows at K and later. Whether a predicted object agrees with an annotated
one is decided by class and overlap alone, so that under best matching of boxes an object that lost its annotated one to
another leads to cause 7.

Causes 6 and 7 are told apart by the best-ranked competing row that predicts the triplet: it is `below_k` if at least K rows before
it compete under the protocol and are no repetitions. A repetition is a row with the predicate, the classes and, within
the threshold of overlap, both boxes of a competing row before it.
"""

from __future__ import annotations

import numpy as np

from .box_overlap import pairwise_iou
from .candidates import competing_rows
from .image_triplets import ImageTriplets
from .protocols import EvaluationProtocol


CAUSES = ("not_found", "wrong_class", "loose_box", "pair_not_proposed", "wrong_predicate", "below_k", "duplicate")
LOOSE_OVERLAP = 0.1
_NOT_FOUND, _WRONG_CLASS, _LOOSE_BOX, _NOT_PROPOSED, _WRONG_PREDICATE, _BELOW_K, _DUPLICATE = range(len(CAUSES))
_FOUND = len(CAUSES)  # of an object: later than every cause
_BLOCK_ROWS = 256  # that are compared with all before them at a time,
_BLOCK_PAIRS = 2**20  # and how many comparisons that may be: memory must not grow with the square of the rows


def first_causes(
    graph: ImageTriplets,
    reference: ImageTriplets,
    missed: np.ndarray,
    protocol: EvaluationProtocol,
    iou_threshold: float,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The first cause of each missed triplet of one image, see the module.

    Args:
        graph: The prediction, from `ranked_graph`.
        reference: The annotation.
        missed: `(t, 3)` rows (subject, object, predicate) of the annotation that `rank_triplets` puts at K or later.
        protocol: The rules.
        iou_threshold: Lowest overlap of two boxes that agree, in [0, 1].
        k: Number of competing predictions that are looked at.

    Returns:
        Position in `CAUSES` `(t,)`, and the row of `graph.relations` `(t,)` that speaks for it: the best-ranked one that
        connects the objects (`wrong_predicate`) or that predicts the triplet (`below_k`, `duplicate`); otherwise -1.
    """
    found_by, object_causes = _object_causes(graph, reference, protocol, iou_threshold)
    causes = np.minimum(object_causes[missed[:, 0]], object_causes[missed[:, 1]])
    connects = found_by[graph.relations[:, 0]][:, missed[:, 0]] & found_by[graph.relations[:, 1]][:, missed[:, 1]]
    connecting = _first_rows(connects)
    competes = np.zeros((len(graph.relations), 1), dtype=bool)
    competes[competing_rows(graph, protocol)] = True
    predicting = _first_rows(competes & connects & (graph.relations[:, 2, None] == missed[None, :, 2]))
    causes[(causes == _FOUND) & (connecting < 0)] = _NOT_PROPOSED
    causes[connecting >= 0] = _WRONG_PREDICATE
    predicted = predicting >= 0
    if predicted.any():
        before = _places_taken(graph, predicting[predicted], protocol, iou_threshold, k)
        causes[predicted] = np.where(before >= k, _BELOW_K, _DUPLICATE)
    return causes, np.where(predicted, predicting, connecting)


def _first_rows(table: np.ndarray) -> np.ndarray:
    """The first row of each column of `(q, t)` that is true, -1 where none is."""
    return np.where(table.any(axis=0), table.argmax(axis=0), -1) if len(table) else np.full(table.shape[1], -1)


def _object_causes(
    graph: ImageTriplets, reference: ImageTriplets, protocol: EvaluationProtocol, iou_threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which predicted objects find which annotated ones `(n, m)`, and the cause of each annotated one `(m,)`."""
    overlap = pairwise_iou(graph.boxes, reference.boxes, protocol.box_offset)
    same_class = graph.labels[:, None] == reference.labels[None, :]
    enough = overlap >= iou_threshold
    found_by = same_class & enough
    loose = same_class & (overlap >= LOOSE_OVERLAP)
    conditions = [table.any(axis=0) for table in (found_by, enough, loose)]
    return found_by, np.select(conditions, [_FOUND, _WRONG_CLASS, _LOOSE_BOX], _NOT_FOUND)


def _places_taken(
    graph: ImageTriplets, of_rows: np.ndarray, protocol: EvaluationProtocol, iou_threshold: float, k: int
) -> np.ndarray:
    """How many rows before each of `of_rows` `(p,)` compete and are no repetitions; at least K where there are more."""
    rows = competing_rows(graph, protocol)
    rows = rows[rows < of_rows.max()]
    relations = graph.relations[rows]
    classes = np.column_stack([graph.labels[relations[:, :2]], relations[:, 2]])
    groups = np.unique(classes, axis=0, return_inverse=True)[1].reshape(-1)
    size = min(_BLOCK_ROWS, max(_BLOCK_PAIRS // max(len(rows), len(graph.boxes), 1), 1))
    takers = np.zeros(0, dtype=np.int64)
    for start in range(0, len(rows), size):
        block = slice(start, start + size)
        takers = np.append(takers, rows[block][~_repeats(graph, relations, groups, block, protocol, iou_threshold)])
        if len(takers) >= k:  # further ones change no cause
            break
    return np.searchsorted(takers, of_rows)


def _repeats(
    graph: ImageTriplets,
    relations: np.ndarray,
    groups: np.ndarray,
    block: slice,
    protocol: EvaluationProtocol,
    iou_threshold: float,
) -> np.ndarray:
    """Whether each of the `relations[block]` `(b, 3)` repeats an earlier one of the same of the `groups` `(q,)`."""
    later = np.arange(len(relations))[block]
    earlier = np.arange(later[-1])
    repeats = (earlier < later[:, None]) & (groups[earlier] == groups[later, None])
    for ends in (relations[:, 0], relations[:, 1]):
        # Objects are fewer than the rows that connect them.
        same_box = pairwise_iou(graph.boxes[ends[later]], graph.boxes, protocol.box_offset) >= iou_threshold
        repeats &= same_box[:, ends[earlier]]
    return repeats.any(axis=1)
