# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Which predicted triplets compete, and in which order: the ranked lists that recall at K looks at."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from .image_triplets import ImageTriplets
from .protocols import PROTOCOLS, EvaluationProtocol
from .repetitions import is_first, is_first_row


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
    return prediction.relations[competing_rows(prediction, protocol)[:limit]]


def competing_rows(prediction: ImageTriplets, protocol: EvaluationProtocol) -> np.ndarray:
    """Positions `(q,)`, ascending, of the relations of `prediction` that compete under graph constraint."""
    relations = prediction.relations
    if protocol.one_predicate_per_pair:
        return np.flatnonzero(prediction.first_of_pair == np.arange(len(relations)))
    if protocol.merge_identical_predictions:
        return np.flatnonzero(is_first_row(relations, len(prediction.boxes)))
    return np.arange(len(relations))


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
            given = given[is_first_row(given, len(prediction.boxes))]
        return given[:limit]
    relations = prediction.relations
    pair_scores = prediction.scores[relations[:, 0]] * prediction.scores[relations[:, 1]]
    scores = pair_scores[:, None] * prediction.predicate_probabilities[:, :-1]  # (k, P)
    first_rows = np.arange(len(relations))
    if protocol.merge_identical_predictions:
        first_rows = prediction.first_of_pair
    return _best_combinations(relations, scores, first_rows, limit)


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


def _best_combinations(relations: np.ndarray, scores: np.ndarray, first_rows: np.ndarray, limit: int) -> np.ndarray:
    """The best combinations of a pair and a predicate as triplets `(q, 3)`, each once.

    Args:
        relations: `(k, 3)`.
        scores: `(k, P)` of every predicate of every row.
        first_rows: `(k,)` the row that stands for each row. Where one stands for several, the best of their scores counts.
        limit: Largest number of combinations.
    """
    num_rows, num_predicates = scores.shape
    stands = first_rows == np.arange(num_rows)
    # Sorting all scores would take most of the time. The limit-th best of any distinct combinations bounds the limit-th
    # best of all from below, first among the predicates of `relations`, then among what these leave.
    named = scores[np.arange(num_rows), relations[:, 2]][stands]
    found = np.flatnonzero(scores.ravel() >= _nth_largest(named, limit))
    values, rows = scores.ravel()[found], found // num_predicates
    enough = values >= _nth_largest(values[stands[rows]], limit)
    found, values, rows = found[enough], values[enough], rows[enough]
    combinations = found + (first_rows[rows] - rows) * num_predicates
    combinations = combinations[np.lexsort((combinations, -values))]
    if not stands.all():
        combinations = combinations[is_first(combinations)]
    rows, predicates = np.divmod(combinations[:limit], num_predicates)
    return np.column_stack([relations[rows, :2], predicates])


def _nth_largest(values: np.ndarray, n: int) -> float:
    """The n-th largest value; minus infinity where there are fewer."""
    return np.partition(values, -n)[-n] if len(values) >= n else -np.inf
