# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The baseline that sees no relations: what two classes mostly have to do with each other in the training images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from datasets import Dataset

from ..data.vocabulary import object_names, predicate_names


class FrequencyPredictor:
    """Predicts relations from classes alone (FREQ of Neural Motifs, arXiv 1711.06640, section 3.2).

    Args:
        probabilities: For every subject class, object class and predicate, how often a pair of such objects in one image is
            annotated with it, `(C, C, P)` in [0, 1].
    """

    def __init__(self, probabilities: np.ndarray) -> None:
        self.probabilities = probabilities

    @classmethod
    def from_datasets(cls, datasets: Iterable[Dataset]) -> FrequencyPredictor:
        """Count in training images.

        Args:
            datasets: At least one, as `load_scene_graphs` returns it; all with the same vocabularies.

        Raises:
            ValueError: There are none, or their vocabularies differ.
        """
        datasets = list(datasets)
        names = {(tuple(object_names(dataset)), tuple(predicate_names(dataset))) for dataset in datasets}
        if len(names) != 1:
            raise ValueError(f"expected datasets with the same classes and predicates, got {len(names)} vocabularies.")
        objects, predicates = names.pop()
        pairs = np.zeros((len(objects), len(objects)), dtype=np.int64)
        triplets = np.zeros((*pairs.shape, len(predicates)), dtype=np.int64)
        for dataset in datasets:
            _count(dataset, pairs, triplets)
        return cls(np.minimum(triplets / np.maximum(pairs, 1)[..., None], 1.0).astype(np.float32))

    def predict(
        self, boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray | None = None, top_k: int = 100
    ) -> dict[str, Any]:
        """Relate objects.

        Args:
            boxes: `(n, 4)`, xyxy pixels.
            labels: `(n,)`.
            scores: `(n,)`; 1 when missing, as of annotated objects.
            top_k: The most pairs that are related.

        Returns:
            A graph for `SceneGraphRecall`: the objects, `relations` `(k, 3)` with the likeliest predicate of each pair, the best
            first, `relation_scores` and `predicate_probabilities` `(k, P+1)`, "no relation" last.
        """
        scores = np.ones(len(labels), dtype=np.float32) if scores is None else scores
        ends = np.argwhere(~np.eye(len(labels), dtype=bool))
        likely = self.probabilities[labels[ends[:, 0]], labels[ends[:, 1]]]
        best = likely.argmax(axis=-1) if len(ends) else np.empty(0, dtype=np.int64)
        ranks = scores[ends[:, 0]] * scores[ends[:, 1]] * likely.max(axis=-1, initial=0)
        order = np.argsort(-ranks, kind="stable")[:top_k]
        return {
            "boxes": boxes,
            "labels": labels,
            "scores": scores,
            "relations": np.column_stack((ends, best))[order],
            "relation_scores": ranks[order],
            "predicate_probabilities": np.column_stack((likely, np.maximum(1 - likely.sum(axis=-1), 0)))[order],
        }


def _count(dataset: Dataset, pairs: np.ndarray, triplets: np.ndarray) -> None:
    """Add the pairs of objects `(C, C)` and the relations `(C, C, P)` of all images."""
    for row in dataset.select_columns(["objects", "relations"]):
        labels = np.array(row["objects"]["category"], dtype=np.int64)
        first, second = np.nonzero(~np.eye(len(labels), dtype=bool))
        np.add.at(pairs, (labels[first], labels[second]), 1)
        relations = np.array(row["relations"], dtype=np.int64).reshape(-1, 3)
        np.add.at(triplets, (labels[relations[:, 0]], labels[relations[:, 1]], relations[:, 2]), 1)
