"""Predictions made from annotations by dropping, renaming, moving and repeating, so that every kind of error occurs."""

import numpy as np


def perturbed_annotation(annotation, rng, num_objects, num_predicates, error_rate):
    """A prediction for an annotation.

    Args:
        annotation: `boxes` (n, 4), `labels` (n,), `relations` (r, 3).
        rng: A numpy generator.
        num_objects: Number of object classes.
        num_predicates: P.
        error_rate: How likely each kind of error is, in [0, 1].

    Returns:
        A prediction with `boxes`, `labels`, `scores`, `relations` and `relation_scores`, best first.
    """
    boxes, labels = (np.array(annotation[name]) for name in ("boxes", "labels"))
    relations = np.array(annotation["relations"]).reshape(-1, 3)
    n = len(boxes)
    twins = rng.integers(0, n, rng.binomial(n, error_rate))  # objects that are found twice
    boxes, labels = np.concatenate([boxes, boxes[twins]]), np.concatenate([labels, labels[twins]])
    spread = np.where(rng.random((len(boxes), 1)) < error_rate / 2, 0.25, 0.03)
    spread[rng.random(len(boxes)) < error_rate / 4] = 5
    sizes = (boxes[:, 2:] - boxes[:, :2])[:, [0, 1, 0, 1]]
    boxes = boxes + rng.normal(size=boxes.shape) * spread * sizes
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    renamed = rng.random(len(labels)) < error_rate / 4
    labels = np.where(renamed, rng.integers(0, num_objects, len(labels)), labels)
    relations = relations[rng.random(len(relations)) > error_rate / 2]
    wrong = relations[rng.random(len(relations)) < error_rate].copy()
    wrong[:, 2] = (wrong[:, 2] + rng.choice([1, 1, 2, 3, 7], len(wrong))) % num_predicates
    repeated = [[n + i, o, p] for i, twin in enumerate(twins) for s, o, p in relations if s == twin]
    noise = np.column_stack([rng.integers(0, len(boxes), (20, 2)), rng.integers(0, num_predicates, 20)])
    relations = np.concatenate([relations, wrong, np.array(repeated, dtype=int).reshape(-1, 3), noise])
    scores = rng.beta(2, 2, len(relations)) * np.where(np.arange(len(relations)) < len(relations) - 20, 1, 0.6)
    order = np.argsort(-scores)
    return {
        "boxes": boxes,
        "labels": labels,
        "scores": rng.uniform(0.3, 1, len(labels)),
        "relations": relations[order],
        "relation_scores": scores[order],
    }
