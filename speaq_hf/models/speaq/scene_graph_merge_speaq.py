# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The union of two scene graphs of one image, and their common vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .box_ops_speaq import box_iou


if TYPE_CHECKING:
    from .scene_graph_speaq import SceneGraph


_NONE = -1  # no partner, no query


def merge_graphs(first: SceneGraph, second: SceneGraph, iou_threshold: float) -> SceneGraph:
    """The union; see `SceneGraph.merge`.

    Raises:
        ValueError: The graphs belong to images of different sizes, or the threshold is not in (0, 1].
    """
    if first.image_size != second.image_size:
        raise ValueError(
            f"SceneGraph.merge: the images must have one size (height, width), got {first.image_size} and "
            f"{second.image_size}. Boxes of a part of the image need its place in the whole first."
        )
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"SceneGraph.merge: `iou_threshold` must be in (0, 1], got {iou_threshold}.")
    first, second = with_common_names(first, second)
    objects, rows = _union_of_objects(first, second, _partners(first, second, iou_threshold))
    return replace(first, **objects, **_union_of_relations(first, second, rows))


def with_common_names(first: SceneGraph, second: SceneGraph) -> tuple[SceneGraph, SceneGraph]:
    """Both graphs with one vocabulary: the ids of the first; names that only the second has get new ids behind them.

    Args:
        first: A graph.
        second: Another one.

    Returns:
        The two with equal `id2label` and equal `id2predicate`. Columns of `predicate_probabilities` that a graph did
        not have are 0.
    """
    id2label = _union_of_names(first.id2label, second.id2label)
    id2predicate = _union_of_names(first.id2predicate, second.id2predicate)
    return _with_names(first, id2label, id2predicate), _with_names(second, id2label, id2predicate)


def _union_of_names(first: dict[int, str], second: dict[int, str]) -> dict[int, str]:
    names, known = dict(first), set(first.values())
    for name in second.values():
        if name not in known:
            names[max(names, default=-1) + 1] = name
            known.add(name)
    return names


def _with_names(graph: SceneGraph, id2label: dict[int, str], id2predicate: dict[int, str]) -> SceneGraph:
    """The same graph with vocabularies that hold all of its names."""
    new_labels, new_predicates = _new_ids(graph.id2label, id2label), _new_ids(graph.id2predicate, id2predicate)
    subjects, objects, predicates = graph.relations.T.tolist()
    relations = zip(subjects, objects, (new_predicates[predicate] for predicate in predicates), strict=True)
    columns = [new_predicates[predicate] for predicate in range(len(new_predicates))] + [len(id2predicate)]
    probabilities = torch.zeros(len(graph), len(id2predicate) + 1)
    return replace(
        graph,
        labels=[new_labels[label] for label in graph.labels.tolist()],
        relations=list(relations),
        predicate_probabilities=probabilities.index_add(1, torch.tensor(columns), graph.predicate_probabilities),
        id2label=dict(id2label),
        id2predicate=dict(id2predicate),
    )


def _new_ids(own: dict[int, str], names: dict[int, str]) -> dict[int, int]:
    """The id among `names` of every id of `own`."""
    first_ids = {name: key for key, name in reversed(names.items())}
    # Where a vocabulary repeats a name, the same id stays the same.
    return {key: key if names.get(key) == name else first_ids[name] for key, name in own.items()}


def _partners(first: SceneGraph, second: SceneGraph, iou_threshold: float) -> list[int]:
    """The object of the first graph that each object of the second is, or -1.

    The pair of one class that overlaps most is matched first, then the next of those left. Of equal overlaps, lower
    row numbers go first; two pairs that compete share a row, so exchanging the graphs exchanges the partners.
    """
    boxes, others = first.boxes.double(), second.boxes.double()
    overlap = box_iou(boxes[:, None], others[None])
    overlap[(boxes[:, None] == others[None]).all(dim=-1)] = 1.0  # also of boxes without area
    overlap[_name_numbers(first)[:, None] != _name_numbers(second)[None]] = 0.0
    pairs = (overlap >= iou_threshold).nonzero()
    pairs = pairs[overlap[tuple(pairs.T)].argsort(descending=True, stable=True)]
    partners, matched = [_NONE] * len(others), set()
    for row, other in pairs.tolist():
        if partners[other] == _NONE and row not in matched:
            partners[other] = row
            matched.add(row)
    return partners


def _name_numbers(graph: SceneGraph) -> Tensor:
    """Classes `(n,)` by name: where a vocabulary repeats a name, its first id."""
    first_ids = {name: key for key, name in reversed(graph.id2label.items())}
    return torch.tensor([first_ids[graph.id2label[label]] for label in graph.labels.tolist()], dtype=torch.int64)


def _union_of_objects(
    first: SceneGraph, second: SceneGraph, partners: Sequence[int]
) -> tuple[dict[str, Tensor], list[int]]:
    """The fields of the objects, and the row among them of every object of the second graph."""
    boxes, labels, scores = first.boxes.clone(), first.labels, first.scores.clone()
    matched = [other for other, row in enumerate(partners) if row != _NONE]
    new = [other for other, row in enumerate(partners) if row == _NONE]
    for other in matched:
        row = partners[other]
        if second.scores[other] > scores[row]:
            boxes[row], scores[row] = second.boxes[other], second.scores[other]
    rows = list(partners)
    for row, other in enumerate(new, start=len(boxes)):
        rows[other] = row
    fields = {
        "boxes": torch.cat([boxes, second.boxes[new]]),
        "labels": torch.cat([labels, second.labels[new]]),
        "scores": torch.cat([scores, second.scores[new]]),
    }
    return fields, rows


def _union_of_relations(first: SceneGraph, second: SceneGraph, rows: Sequence[int]) -> dict[str, Tensor]:
    """The fields of the relations, best first and each once; the second graph's objects are the given rows."""
    moved = [[rows[subject], rows[object_], predicate] for subject, object_, predicate in second.relations.tolist()]
    fields = {
        "relations": torch.cat([first.relations, torch.tensor(moved, dtype=torch.int64).reshape(-1, 3)]),
        "relation_scores": torch.cat([first.relation_scores, second.relation_scores]),
        "predicate_probabilities": torch.cat([first.predicate_probabilities, second.predicate_probabilities]),
        "query_indices": torch.cat([first.query_indices, torch.full_like(second.query_indices, _NONE)]),
    }
    best_first = fields["relation_scores"].argsort(descending=True, stable=True).tolist()
    best_rows: dict[tuple[int, ...], int] = {}
    relations = [tuple(relation) for relation in fields["relations"].tolist()]
    for row in best_first:
        best_rows.setdefault(relations[row], row)
    return {name: values[list(best_rows.values())] for name, values in fields.items()}
