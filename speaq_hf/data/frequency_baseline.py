# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The frequency baseline: how far the two class labels alone give the predicate (Zellers et al., CVPR 2018)."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from numpy.typing import ArrayLike


def _checked(rows: ArrayLike, name: str) -> list[tuple[int, int, int]]:
    array = np.asarray(rows)
    if array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(
            f"Expected `{name}` of shape (n, 3) with rows (subject class, object class, predicate), "
            f"got shape {array.shape}."
        )
    return [tuple(row) for row in array.tolist()]


def pair_frequency_accuracy(train_relations: ArrayLike, test_relations: ArrayLike) -> float:
    """Share of test relations whose predicate is the most frequent training one of their two classes.

    A pair that training never saw is given the most frequent predicate of all; ties go to the smaller index. A model
    must beat this number to show that it looks at the image.

    Args:
        train_relations: (n, 3) rows (subject class, object class, predicate), n >= 1.
        test_relations: (m, 3) rows of the same kind, m >= 1.

    Returns:
        Accuracy in [0, 1].

    Raises:
        ValueError: If an argument has another shape or no rows.
    """
    train, test = _checked(train_relations, "train_relations"), _checked(test_relations, "test_relations")
    if not train or not test:
        raise ValueError(f"Expected at least one relation each, got {len(train)} for training, {len(test)} for test.")
    overall = Counter(predicate for _, _, predicate in train)
    per_pair: dict[tuple[int, int], Counter] = defaultdict(Counter)
    for subject, object_, predicate in train:
        per_pair[subject, object_][predicate] += 1
    guess = {pair: _most_frequent(counts) for pair, counts in per_pair.items()}
    fallback = _most_frequent(overall)
    return sum(guess.get((subject, object_), fallback) == predicate for subject, object_, predicate in test) / len(
        test
    )


def _most_frequent(counts: Counter) -> int:
    return min(counts, key=lambda predicate: (-counts[predicate], predicate))
