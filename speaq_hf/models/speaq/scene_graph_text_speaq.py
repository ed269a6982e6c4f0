# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A scene graph in words, for people and for language models."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from torch import Tensor


if TYPE_CHECKING:
    from .scene_graph_speaq import SceneGraph


def describe(graph: SceneGraph, style: str, boxes: bool, scores: bool) -> str:
    """The graph in words; see `SceneGraph.to_text`.

    Raises:
        ValueError: The style is unknown.
    """
    styles = {"sentences": _sentences, "compact": _compact, "json": _json}
    if style not in styles:
        raise ValueError(f"SceneGraph.to_text: `style` must be one of {', '.join(styles)}, got {style!r}.")
    return styles[style](graph, boxes, scores)


def numbered_names(graph: SceneGraph) -> list[str]:
    """A different name for every object: its class, with a number where several objects have that class."""
    names = _class_names(graph)
    counts = Counter(names)
    taken = {name for name, count in counts.items() if count == 1}
    return [name if counts[name] == 1 else _next_name(name, taken) for name in names]


def one_line(name: str) -> str:
    """A name of any vocabulary without line breaks."""
    return " ".join(name.split())


def _class_names(graph: SceneGraph) -> list[str]:
    return [one_line(graph.id2label[label]) for label in graph.labels.tolist()]


def _next_name(name: str, taken: set[str]) -> str:
    """The name with the first number that makes it new."""
    number = 1
    while f"{name} {number}" in taken:  # a class itself may be called "man 2"
        number += 1
    taken.add(f"{name} {number}")
    return f"{name} {number}"


def _sentences(graph: SceneGraph, boxes: bool, scores: bool) -> str:
    names = numbered_names(graph)
    unmentioned = dict(enumerate(map("".join, zip(names, _corners(graph, boxes), strict=True))))
    clauses = []
    for (subject, object_, predicate), score in zip(graph.relations.tolist(), graph.relation_scores, strict=True):
        first, second = (unmentioned.pop(end, names[end]) for end in (subject, object_))
        clauses.append(f"{first} {one_line(graph.id2predicate[predicate])} {second}" + f" ({score:.2f})" * scores)
    sentences = ["; ".join(clauses)] if clauses else []
    if unmentioned:
        sentences.append("Without relation: " + ", ".join(unmentioned.values()))
    return " ".join(sentence + "." for sentence in sentences)


def _compact(graph: SceneGraph, boxes: bool, scores: bool) -> str:
    columns = zip(_class_names(graph), _corners(graph, boxes), _decimals(graph.scores, scores), strict=True)
    objects = [f"{i} " + "".join(column) for i, column in enumerate(columns)]
    relations = [
        f"{subject} {one_line(graph.id2predicate[predicate])} {object_}{score}"
        for (subject, object_, predicate), score in zip(
            graph.relations.tolist(), _decimals(graph.relation_scores, scores), strict=True
        )
    ]
    lines = [f"image: {graph.image_size[1]}x{graph.image_size[0]}"] if boxes else []
    lines += [f"objects: {'; '.join(objects)}", f"relations: {'; '.join(relations)}"]
    return "\n".join(map(str.rstrip, lines))


def _json(graph: SceneGraph, boxes: bool, scores: bool) -> str:
    objects = [{"id": i, "name": graph.id2label[label]} for i, label in enumerate(graph.labels.tolist())]
    relations = [
        {"subject": subject, "predicate": graph.id2predicate[predicate], "object": object_}
        for subject, object_, predicate in graph.relations.tolist()
    ]
    head = {}
    if boxes:
        head = {"width": graph.image_size[1], "height": graph.image_size[0]}
        _add_field(objects, "box", _pixels(graph))
    if scores:
        _add_field(objects, "score", [round(score, 2) for score in graph.scores.tolist()])
        _add_field(relations, "score", [round(score, 2) for score in graph.relation_scores.tolist()])
    return json.dumps(head | {"objects": objects, "relations": relations}, ensure_ascii=False, separators=(",", ":"))


def _add_field(rows: list[dict[str, Any]], key: str, values: list) -> None:
    for row, value in zip(rows, values, strict=True):
        row[key] = value


def _pixels(graph: SceneGraph) -> list[list[int]]:
    return graph.boxes.round().long().tolist()


def _corners(graph: SceneGraph, wanted: bool) -> list[str]:
    return [" [" + ",".join(map(str, box)) + "]" if wanted else "" for box in _pixels(graph)]


def _decimals(values: Tensor, wanted: bool) -> list[str]:
    return [f" {value:.2f}" if wanted else "" for value in values.tolist()]
