# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A scene graph as lines for a terminal."""

from __future__ import annotations

from collections import Counter

from ..scene_graph import SceneGraph
from .shown_graph import shown_graph


_LIKELY = 0.5  # objects at least as probable are listed even without a relation


def readable_graph(name: str, graph: SceneGraph, max_relations: int = 20, min_score: float = 0.05) -> str:
    """The best relations of a graph, with scores, and their objects.

    Args:
        name: Of the image.
        graph: Its graph.
        max_relations: Most relations to list.
        min_score: Lowest relation score listed.

    Returns:
        Lines without an end.
    """
    height, width = graph.image_size
    related = shown_graph(graph, max_relations, min_score, keep_isolated=True)
    kept = sorted(_listed_objects(related), key=lambda row: -related.scores[row].item())
    names = object_names(related, kept)
    relations = [
        f"    {score:.2f}  {names[subject]} {related.id2predicate[predicate]} {names[object_]}"
        for (subject, object_, predicate), score in zip(
            related.relations.tolist(), related.relation_scores.tolist(), strict=True
        )
    ]
    objects = [f"{names[row]} {related.scores[row]:.2f}" for row in kept]
    return "\n".join(
        [
            f"{printable(name)} ({width} x {height} pixels)",
            f"  objects: {', '.join(objects) or 'none'}",
            f"  relations:{'' if relations else f' none with a score of {min_score:g} or more'}",
            *relations,
        ]
    )


def object_names(graph: SceneGraph, rows: list[int]) -> dict[int, str]:
    """Names of some objects by row of `boxes`; those of a class that occurs more than once among them get a number."""
    classes = {row: graph.id2label[graph.labels[row].item()] for row in rows}
    counts, seen = Counter(classes.values()), Counter()
    names = {}
    for row, name in classes.items():
        seen[name] += 1
        names[row] = f"{name} {seen[name]}" if counts[name] > 1 else name
    return names


def printable(text: str) -> str:
    """The text without what a terminal would obey or cannot show: a file can have any name."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _listed_objects(graph: SceneGraph) -> set[int]:
    likely = (graph.scores >= _LIKELY).nonzero().flatten().tolist()
    return {*graph.relations[:, :2].flatten().tolist(), *likely}
