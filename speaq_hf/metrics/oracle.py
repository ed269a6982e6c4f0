# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Modes "sgcls" and "predcls" for models that cannot be given boxes: their graphs, on the annotated objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .box_overlap import pairwise_iou
from .image_triplets import ImageTriplets


ORACLE_MODES = ("sgcls", "predcls")
ORACLE_NOTE = (
    "Oracle: this model cannot be given boxes or classes. Its predicted objects were matched to the annotated ones and "
    "took over what the mode gives, so these numbers do not compare with those of models that get it as input."
)
_UNKNOWN = -1


def ground_objects(prediction: Any, reference: Any, mode: str, iou_threshold: float = 0.5) -> dict[str, np.ndarray]:
    """Replaces the predicted objects of a graph by the annotated ones.

    A model with queries finds its boxes itself. What it would predict on given boxes can only be guessed from what it
    predicts near them, with the annotation as an oracle:

    1. Every predicted object goes to the annotated object that it overlaps most, if by `iou_threshold`. In "predcls",
       where classes are given, annotated objects of its own class come first. Of equal ones it is the first.
    2. An annotated object takes, in "sgcls", class and score of the best-scoring predicted object that went to it; in
       "predcls" its own class, with score 1.
    3. A relation goes with its two ends. It is dropped if one of them went nowhere, or both went to one object.
       Repetitions stay: how to count them is for the protocol to say.
    4. Relations are ranked anew, with and without graph constraint by the same scores: subject score x object score x
       predicate probability with the object scores of step 2 (in "predcls" the probability alone). Of equal ones the
       earlier stays first. Without `predicate_probabilities` they keep their order and their scores.

    So many predicted objects may go to one annotated object. A one-to-one (Hungarian) matching would let one survive.
    But every relation query comes with objects of its own; suppression leaves an object once for every class that a
    query saw in it (man, person, player) and for every box that differs enough, and the queries' relations hang on all
    of these. A one-to-one matching would drop the relations of all but one, and punish the model for what the given
    boxes should spare it: with the model of the demo it keeps 8 % of the relations instead of 19 %. It would also
    hang together over the whole image: one object more or less changes the matches of others. Its merit, that nothing
    is gained by predicting an object twice, is the business of the protocol: "strict" counts every pair once.

    An oracle's recall is not always higher than that in "sgdet". There, every relation comes with classes of its own,
    and of an object that is annotated twice both can be hit. Here "sgcls" gives an object one class for all of its
    relations, and what the model says reaches one object, of identical boxes ("predcls": and classes) the first. And
    where no relation is left, a protocol that skips images without predictions skips the image: prefer "strict".

    Args:
        prediction: A `SceneGraph` or a mapping as `SceneGraphRecall.add_batch` takes it, n objects and k relations.
        reference: `boxes` `(m, 4)` xyxy pixels, `labels` `(m,)` and `relations` of the annotation.
        mode: "sgcls" or "predcls".
        iou_threshold: Lowest overlap of a predicted object with the one that it goes to, in (0, 1].

    Returns:
        A graph for `SceneGraphRecall` in this mode, over the m annotated objects in their order: `boxes`, `labels`,
        `scores`, at most k `relations`, with probabilities `predicate_probabilities` and `relation_scores`, and without
        them what the prediction has of `relation_scores` and `unconstrained_relations`. In "sgcls" an object without predicted objects has class 0 and score 0; no relation
        names it.

    Raises:
        ValueError: The mode or the threshold is not one of these, or a field is missing, malformed or out of range.

    Example:
        >>> truth = {"boxes": [[0, 0, 10, 10], [20, 0, 30, 10]], "labels": [4, 7], "relations": [[0, 1, 2]]}
        >>> seen = {"boxes": [[20, 0, 30, 9], [0, 0, 10, 8]], "labels": [7, 5], "relations": [[1, 0, 2]]}
        >>> grounded = ground_objects(seen | {"scores": [0.9, 0.6]}, truth, "sgcls")
        >>> grounded["labels"].tolist(), grounded["relations"].tolist()
        ([5, 7], [[0, 1, 2]])
    """
    if mode not in ORACLE_MODES:
        raise ValueError(f"mode must be one of {ORACLE_MODES}, got {mode!r}: in sgdet nothing is given.")
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold must be in (0, 1], got {iou_threshold}.")
    num_predicates = _num_predicates(prediction)
    graph = ImageTriplets.from_prediction(prediction, num_predicates, "Prediction")
    truth = ImageTriplets.from_reference(reference, num_predicates, "Reference")
    target = _targets(graph, truth, iou_threshold, prefer_own_class=mode == "predcls")
    given = {"labels": truth.labels, "scores": np.ones(len(truth.labels), dtype=np.float32)}
    objects = given if mode == "predcls" else _best_of_each(graph, target, len(truth.labels))
    return {"boxes": truth.boxes, **objects, **_ranked(_moved_relations(graph, target), objects["scores"])}


def _num_predicates(prediction: Any) -> int:
    """As many as the probabilities have; without them, any number."""
    name = "predicate_probabilities"
    probabilities = prediction.get(name) if isinstance(prediction, Mapping) else getattr(prediction, name, None)
    return 2**31 - 1 if probabilities is None or not len(probabilities) else len(probabilities[0]) - 1


def _targets(
    prediction: ImageTriplets, reference: ImageTriplets, iou_threshold: float, prefer_own_class: bool
) -> np.ndarray:
    """The annotated object `(n,)` that each predicted one goes to, or `_UNKNOWN`."""
    if not len(reference.boxes):
        return np.full(len(prediction.boxes), _UNKNOWN)
    overlap = pairwise_iou(prediction.boxes, reference.boxes)  # (n, m)
    overlap = np.where(overlap >= iou_threshold, overlap, 0.0)
    preference = overlap
    if prefer_own_class:
        own_class = prediction.labels[:, None] == reference.labels[None]
        preference = overlap + (own_class & (overlap > 0))  # an overlap is at most 1
    return np.where(overlap.any(axis=1), preference.argmax(axis=1), _UNKNOWN)


def _best_of_each(prediction: ImageTriplets, target: np.ndarray, num_objects: int) -> dict[str, np.ndarray]:
    """Class and score of the best-scoring predicted object, the first of equal ones, of each annotated object."""
    labels, scores = np.zeros(num_objects, dtype=np.int64), np.zeros(num_objects, dtype=np.float32)
    best_first = np.argsort(-prediction.scores, kind="stable")
    best_first = best_first[target[best_first] != _UNKNOWN]
    objects, first = np.unique(target[best_first], return_index=True)
    labels[objects] = prediction.labels[best_first[first]]
    scores[objects] = prediction.scores[best_first[first]]
    return {"labels": labels, "scores": scores}


def _moved_relations(prediction: ImageTriplets, target: np.ndarray) -> dict[str, np.ndarray]:
    """The fields of the relations whose ends went to two annotated objects."""
    relations, kept = _moved(prediction.relations, target)
    fields = {"relations": relations}
    for name in ("relation_scores", "predicate_probabilities"):
        if getattr(prediction, name) is not None:
            fields[name] = getattr(prediction, name)[kept]
    # With probabilities these follow from them, with the new object scores.
    if prediction.unconstrained_relations is not None and prediction.predicate_probabilities is None:
        fields["unconstrained_relations"], _ = _moved(prediction.unconstrained_relations, target)
    return fields


def _ranked(fields: dict[str, np.ndarray], object_scores: np.ndarray) -> dict[str, np.ndarray]:
    """The relations by subject score x object score x predicate probability; as they are without probabilities."""
    if "predicate_probabilities" not in fields:
        return fields
    subjects, objects, predicates = fields["relations"].T
    probabilities = fields["predicate_probabilities"][np.arange(len(predicates)), predicates]
    fields["relation_scores"] = object_scores[subjects] * object_scores[objects] * probabilities
    best_first = np.argsort(-fields["relation_scores"], kind="stable")
    return {name: values[best_first] for name, values in fields.items()}


def _moved(relations: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows `(k', 3)` between annotated objects, and which of the k they were."""
    ends = target[relations[:, :2]]
    kept = (ends != _UNKNOWN).all(axis=1) & (ends[:, 0] != ends[:, 1])
    return np.column_stack([ends, relations[:, 2]])[kept], kept
