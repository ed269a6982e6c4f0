# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Which classes meet in a synthetic scene, and how: the table behind `everyday_world`.

Every pair of classes can meet in several ways, so that the two classes of a pair do not give the predicate away. The
first predicate of a row is the usual one. Between two things that merely stand side by side both directions of a
predicate would be true; the table names only one (the more animate, smaller class is the subject), always the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


Triplet = tuple[str, str, str]  # subject class, predicate, object class
Row = tuple[str, str, float, dict[str, float]]  # see `expanded_table`

SPATIAL_PREDICATES = frozenset({"near", "behind", "in front of"})

GROUPS: dict[str, tuple[str, ...]] = {
    "person": ("man", "woman", "boy", "girl"),
    "pet": ("dog", "cat"),
    "mount": ("horse", "elephant"),
    "thing": ("hat", "cup", "bag", "box"),
}


@dataclass(frozen=True)
class Affordance:
    """How often a pair of classes is put together, and with which predicates (relative weights)."""

    weight: float
    predicates: dict[str, float]


_TABLE: list[Row] = [
    ("person", "hat", 0.8, {"wearing": 6, "holding": 2.5, "near": 1}),
    ("person", "cup", 0.7, {"holding": 7, "near": 1.5, "carrying": 1}),
    ("person", "bag", 0.8, {"holding": 5, "carrying": 3, "near": 2}),
    ("person", "box", 0.9, {"carrying": 5, "sitting on": 2, "standing on": 1.5, "behind": 1.5, "near": 1}),
    ("person", "umbrella", 0.7, {"holding": 7, "near": 1.5, "behind": 1}),
    ("person", "flag", 0.6, {"holding": 7, "near": 3}),
    ("person", "kite", 0.6, {"holding": 7, "carrying": 2}),
    ("person", "lamp", 0.5, {"near": 4, "holding": 3, "carrying": 2}),
    ("person", "horse", 2.4, {"riding": 6, "near": 1.2, "in front of": 1.5, "behind": 1.2, "standing on": 0.8}),
    ("person", "elephant", 2.0, {"riding": 5, "in front of": 2, "near": 1.5, "standing on": 1}),
    ("person", "bike", 1.6, {"riding": 6, "near": 1.5, "behind": 1.5, "in front of": 1}),
    ("person", "chair", 1.2, {"sitting on": 6, "standing on": 1.5, "behind": 1.5, "near": 1.2}),
    ("person", "bench", 1.2, {"sitting on": 5, "laying on": 2, "standing on": 1, "behind": 1.5, "in front of": 1}),
    ("person", "bed", 2.4, {"laying on": 6, "sitting on": 2, "standing on": 1, "near": 1}),
    ("person", "table", 1.2, {"behind": 5, "sitting on": 2, "standing on": 1.2, "near": 1.5, "laying on": 1}),
    ("person", "car", 0.8, {"near": 3, "in front of": 5, "behind": 2, "standing on": 0.7}),
    ("person", "boat", 2.0, {"in": 7, "in front of": 1.5, "near": 1.5}),
    ("person", "tree", 0.6, {"near": 6, "in front of": 2.5, "behind": 1}),
    ("person", "house", 0.5, {"in front of": 6, "near": 3}),
    ("person", "street", 0, {"walking on": 8, "standing on": 2}),
    ("person", "pet", 0.6, {"near": 6, "behind": 2.5, "in front of": 1}),
    ("boy", "man", 0.3, {"near": 6, "in front of": 2.5}),
    ("girl", "man", 0.3, {"near": 6, "in front of": 2.5}),
    ("boy", "woman", 0.3, {"near": 6, "in front of": 2.5}),
    ("girl", "woman", 0.3, {"near": 6, "in front of": 2.5}),
    ("woman", "man", 0.3, {"near": 6, "behind": 2.5}),
    ("pet", "chair", 0.9, {"sitting on": 5, "under": 3, "standing on": 1, "near": 1.5}),
    ("pet", "bench", 0.9, {"laying on": 5, "under": 2.5, "sitting on": 1.5, "in front of": 1.5}),
    ("pet", "bed", 1.0, {"laying on": 6, "sitting on": 2, "standing on": 1.5, "near": 1}),
    ("pet", "table", 1.8, {"under": 6, "standing on": 1.5, "sitting on": 1.5, "near": 1, "in front of": 1}),
    ("pet", "box", 1.3, {"in": 6, "sitting on": 2, "near": 1.5, "behind": 1}),
    ("pet", "boat", 0.8, {"in": 7, "near": 2, "in front of": 1}),
    ("pet", "car", 0.7, {"in front of": 5, "near": 3, "standing on": 2, "laying on": 1}),
    ("pet", "tree", 0.3, {"near": 6, "in front of": 2.5, "behind": 2}),
    ("pet", "house", 0.3, {"in front of": 6, "near": 3}),
    ("pet", "mount", 0.7, {"near": 4, "under": 3, "in front of": 2, "standing on": 1}),
    ("pet", "street", 0, {"walking on": 4, "standing on": 2, "sitting on": 1.5, "laying on": 1.5}),
    ("mount", "tree", 0.4, {"near": 5, "behind": 2, "in front of": 2}),
    ("mount", "house", 0.4, {"in front of": 6, "near": 3}),
    ("mount", "street", 0, {"walking on": 6, "standing on": 3}),
    ("bird", "person", 0.25, {"above": 8, "near": 2}),
    ("bird", "tree", 0.8, {"standing on": 5, "above": 5, "near": 1}),
    ("bird", "house", 0.7, {"above": 5, "standing on": 5}),
    ("bird", "car", 0.8, {"standing on": 6, "above": 4}),
    ("bird", "boat", 0.6, {"above": 7, "in": 3}),
    ("bird", "mount", 0.7, {"above": 5, "standing on": 4, "near": 1}),
    ("bird", "bench", 0.8, {"standing on": 6, "above": 3, "near": 1}),
    ("bird", "box", 0.6, {"standing on": 5, "above": 3, "in": 2}),
    ("bird", "street", 0, {"standing on": 1}),
    ("kite", "person", 0.35, {"above": 1}),
    ("kite", "tree", 1.6, {"hanging from": 5, "above": 4}),
    ("kite", "house", 0.4, {"above": 1}),
    ("kite", "mount", 0.3, {"above": 1}),
    ("plane", "house", 0.4, {"above": 1}),
    ("plane", "tree", 0.3, {"above": 1}),
    ("plane", "car", 0.4, {"above": 1}),
    ("plane", "boat", 0.4, {"above": 1}),
    ("thing", "table", 0.8, {"on": 6, "under": 2.5, "in front of": 1, "near": 1}),
    ("thing", "chair", 0.5, {"on": 6, "under": 2.5, "near": 1}),
    ("thing", "bench", 0.5, {"on": 6, "under": 2.5, "in front of": 1}),
    ("thing", "bed", 0.5, {"on": 6, "near": 2, "in front of": 1.5}),
    ("thing", "car", 0.5, {"on": 6, "near": 1.5, "in front of": 1.5}),
    ("thing", "tree", 0, {"near": 1}),
    ("thing", "street", 0, {"on": 1}),
    ("hat", "box", 0.5, {"on": 4, "in": 4, "near": 1}),
    ("cup", "box", 0.6, {"in": 5, "on": 3, "near": 1}),
    ("bag", "tree", 2.2, {"hanging from": 6, "near": 2, "in front of": 1}),
    ("hat", "tree", 0.8, {"hanging from": 5, "near": 2}),
    ("umbrella", "tree", 0.4, {"near": 4, "in front of": 3}),
    ("umbrella", "table", 0.4, {"near": 4, "behind": 4}),
    ("umbrella", "boat", 0.4, {"in": 5, "near": 3}),
    ("flag", "boat", 0.5, {"in": 5, "near": 3}),
    ("flag", "house", 0.4, {"in front of": 5, "near": 4}),
    ("lamp", "table", 1.2, {"on": 5, "above": 4, "near": 1}),
    ("lamp", "bed", 0.9, {"near": 5, "above": 4}),
    ("lamp", "chair", 0.4, {"near": 5, "above": 3}),
    ("lamp", "tree", 2.2, {"hanging from": 7, "near": 2}),
    ("chair", "table", 0.9, {"near": 5, "behind": 2.5, "in front of": 2.5}),
    ("chair", "bed", 0.5, {"near": 5, "in front of": 3}),
    ("bench", "tree", 0.5, {"in front of": 5, "near": 4}),
    ("bench", "house", 0.4, {"in front of": 6, "near": 3}),
    ("bike", "tree", 0.5, {"in front of": 4, "near": 4, "behind": 1.5}),
    ("bike", "house", 0.4, {"in front of": 6, "near": 3}),
    ("bike", "bench", 0.3, {"near": 4, "behind": 3, "in front of": 2}),
    ("bike", "street", 0, {"parked on": 5, "on": 5}),
    ("car", "house", 0.5, {"in front of": 6, "near": 3}),
    ("car", "tree", 0.5, {"near": 4, "in front of": 4, "behind": 1.5}),
    ("car", "street", 0, {"parked on": 1}),
    ("tree", "house", 0.4, {"near": 4, "behind": 2.5, "in front of": 3}),
]  # fmt: skip


def expanded_table(rows: Iterable[Row], groups: Mapping[str, tuple[str, ...]]) -> dict[tuple[str, str], Affordance]:
    """The affordances of single classes from rows that name classes or groups.

    Args:
        rows: (subject, object, weight of the pair, weights of its predicates, the usual one first). Later rows replace
            earlier ones for the same classes.
        groups: Classes of each group.
    """
    pairs = {}
    for subject_group, object_group, weight, predicates in rows:
        for subject in groups.get(subject_group, (subject_group,)):
            for object_ in groups.get(object_group, (object_group,)):
                pairs[subject, object_] = Affordance(weight, predicates)
    return pairs


AFFORDANCES: dict[tuple[str, str], Affordance] = expanded_table(_TABLE, GROUPS)
