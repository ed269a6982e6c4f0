# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The part of a predicted graph that people are shown."""

from __future__ import annotations

from ..scene_graph import SceneGraph


def shown_graph(graph: SceneGraph, max_relations: int, min_score: float, keep_isolated: bool = False) -> SceneGraph:
    """The best relations, without those of an object to itself: two boxes of a query became one object.

    Args:
        graph: The whole graph, as files hold it.
        max_relations: Most relations.
        min_score: Lowest relation score.
        keep_isolated: Keep objects without relation.

    Returns:
        A new graph.
    """
    ends = graph.relations[:, :2]
    between_two = graph.select(relations=ends[:, 0] != ends[:, 1], keep_isolated=keep_isolated)
    likely = between_two.filter(min_score=min_score, keep_isolated=keep_isolated)
    return likely.top(max_relations, keep_isolated=keep_isolated)
