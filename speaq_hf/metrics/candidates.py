# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Which predicted triplets compete, and in which order: the ranked lists that recall at K looks at."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from .image_triplets import ImageTriplets
from .protocols import PROTOCOLS, EvaluationProtocol


_UNLIKE_WEIGHTS = np.sqrt([2.0, 3.0, 5.0, 7.0])  # unlike boxes hardly ever have equal weighted sums


def ranked_graph(prediction: ImageTriplets, protocol: EvaluationProtocol) -> ImageTriplets:
    """The prediction with its rows in the order of the protocol, and identical objects merged if it says so.

    Args:
        prediction: Graph with n objects and k relations.
        protocol: The rules.

    Returns:
        A graph with the same numbers of objects and relations.
    """
    if protocol.rank_by_score:
        prediction = _sorted_by_score(prediction)
    if protocol.merge_identical_objects:
        prediction = _with_merged_objects(prediction)
    return prediction


def constrained_triplets(
    prediction: ImageTriplets, protocol: EvaluationProtocol, limit: int | None = None
) -> np.ndarray:
    """The triplets that compete under graph constraint.

    Args:
        prediction: From `ranked_graph`, k relations.
        protocol: The rules.
        limit: Largest number of triplets; None for all.

    Returns:
        `(q, 3)` rows (subject, object, predicate), best first, q <= k.
    """
    relations = prediction.relations
    if protocol.one_predicate_per_pair:
        relations = relations[_first_of_each(pair_numbers(relations, len(prediction.boxes)))]
    elif protocol.merge_identical_predictions:
        relations = without_repetitions(relations, len(prediction.boxes))
    return relations[:limit]


def unconstrained_triplets(prediction: ImageTriplets, protocol: EvaluationProtocol, limit: int) -> np.ndarray:
    """The triplets that compete without graph constraint: every predicate of every pair.

    A triplet scores subject score x object score x predicate probability; background does not compete, and of equal
    scores the earlier row, then the lower predicate, wins. A prediction without probabilities competes with its
    `unconstrained_relations` or `relations` as they are.

    Args:
        prediction: From `ranked_graph`.
        protocol: The rules.
        limit: Largest number of triplets, if the protocol has no limit.

    Returns:
        `(q, 3)` rows (subject, object, predicate), best first.
    """
    limit = min(limit, protocol.no_graph_constraint_limit or limit)
    given = prediction.unconstrained_relations
    if given is None and prediction.predicate_probabilities is None:
        given = prediction.relations
    if given is not None:
        if protocol.merge_identical_predictions:
            given = without_repetitions(given, len(prediction.boxes))
        return given[:limit]
    pair_scores = prediction.scores[prediction.relations[:, 0]] * prediction.scores[prediction.relations[:, 1]]
    scores = pair_scores[:, None] * prediction.predicate_probabilities[:, :-1]  # (k, P)
    if protocol.merge_identical_predictions:
        rows, scores = _best_of_each_pair(prediction, scores)
        return _best_combinations(prediction.relations[rows], scores, scores.max(axis=1), limit)
    own_scores = scores[np.arange(len(scores)), prediction.relations[:, 2]]
    return _best_combinations(prediction.relations, scores, own_scores, limit)


def best_unconstrained(graph: Any, limit: int) -> np.ndarray:
    """The best combinations of a predicted pair and a predicate, each once.

    Args:
        graph: A `SceneGraph`.
        limit: Largest number of combinations.

    Returns:
        `(q, 3)` rows (subject, object, predicate), best first.
    """
    prediction = ImageTriplets.from_prediction(graph, len(graph.id2predicate), "SceneGraph")
    return unconstrained_triplets(prediction, PROTOCOLS["sgbench"], limit)


def identical_objects(graph: ImageTriplets) -> np.ndarray | None:
    """For each object the number `(n,)` of the first one with its class and its box; None if no two are identical."""
    sums = np.sort((graph.boxes * _UNLIKE_WEIGHTS).sum(axis=1) + graph.labels)
    if (sums[1:] > sums[:-1]).all():  # identical objects have equal sums; this is much cheaper than to compare rows
        return None
    rows = np.column_stack([graph.boxes, graph.labels]) + 0.0  # compared as bytes, so -0 must become 0
    first: dict[bytes, int] = {}
    numbers = [first.setdefault(row.tobytes(), number) for number, row in enumerate(rows)]
    return np.array(numbers) if len(first) < len(rows) else None


def pair_numbers(relations: np.ndarray, num_objects: int) -> np.ndarray:
    """A number `(k,)` for the (subject, object) pair of each row of `relations` `(k, 3)`."""
    return relations[:, 0] * num_objects + relations[:, 1]


def without_repetitions(relations: np.ndarray, num_objects: int) -> np.ndarray:
    """The rows of `relations` `(k, 3)` that no earlier row equals."""
    num_predicates = relations[:, 2].max(initial=0) + 1
    return relations[_first_of_each(pair_numbers(relations, num_objects) * num_predicates + relations[:, 2])]


def _sorted_by_score(prediction: ImageTriplets) -> ImageTriplets:
    scores = prediction.relation_scores
    if scores is None or (scores[1:] <= scores[:-1]).all():
        return prediction
    order = np.argsort(-scores, kind="stable")
    probabilities = prediction.predicate_probabilities
    return dataclasses.replace(
        prediction,
        relations=prediction.relations[order],
        relation_scores=scores[order],
        predicate_probabilities=None if probabilities is None else probabilities[order],
    )


def _with_merged_objects(prediction: ImageTriplets) -> ImageTriplets:
    numbers = identical_objects(prediction)
    if numbers is None:
        return prediction
    best = np.full(len(numbers), -np.inf, dtype=np.float32)
    np.maximum.at(best, numbers, prediction.scores)
    merged = {name: getattr(prediction, name) for name in ("relations", "unconstrained_relations")}
    merged = {name: _renumbered(relations, numbers) for name, relations in merged.items()}
    return dataclasses.replace(prediction, scores=best[numbers], **merged)


def _renumbered(relations: np.ndarray | None, new_numbers: np.ndarray) -> np.ndarray | None:
    if relations is None:
        return None
    return np.column_stack([new_numbers[relations[:, :2]], relations[:, 2]])


def _first_of_each(numbers: np.ndarray) -> np.ndarray:
    """Where each number of `(k,)` occurs first, in order."""
    return np.sort(np.unique(numbers, return_index=True)[1])


def _best_of_each_pair(prediction: ImageTriplets, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each pair `(q,)`, in order, and the best score of each of its predicates `(q, P)`."""
    numbers = pair_numbers(prediction.relations, len(prediction.boxes))
    _, first, group = np.unique(numbers, return_index=True, return_inverse=True)
    if len(first) == len(scores):
        return np.arange(len(scores)), scores
    by_group = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[by_group], np.arange(len(first)))
    best = np.maximum.reduceat(scores[by_group], starts, axis=0)
    order = np.argsort(first)
    return first[order], best[order]


def _best_combinations(relations: np.ndarray, scores: np.ndarray, lower_bounds: np.ndarray, limit: int) -> np.ndarray:
    """The best (row, predicate) combinations as triplets `(min(limit, k * P), 3)`.

    Args:
        relations: `(k, 3)`; the predicates are not looked at.
        scores: `(k, P)`.
        lower_bounds: `(k,)` one of the scores of each row. The limit-th best of them is a floor under the limit-th best
            of all scores, so that only scores above it need sorting.
        limit: Largest number of combinations.
    """
    flat = scores.ravel()
    floor = np.partition(lower_bounds, -limit)[-limit] if len(lower_bounds) > limit else -np.inf
    found = np.flatnonzero(flat >= floor)
    if len(found) > limit:  # sort only what can be among the best, ties with the last one included
        found = found[flat[found] >= np.partition(flat[found], -limit)[-limit]]
    best = found[np.argsort(-flat[found], kind="stable")][:limit]
    rows, predicates = np.divmod(best, scores.shape[1])
    return np.column_stack([relations[rows, :2], predicates])
