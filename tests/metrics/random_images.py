"""Made-up images that are hard on an evaluator: ties, repetitions, empty and degenerate things at every turn."""

import dataclasses
from typing import Any

import numpy as np
from hypothesis import strategies as st

from speaq_hf.metrics.protocols import PROTOCOLS, EvaluationProtocol


P = 4  # predicates
NUM_CLASSES = 3
ZERO_SHOT = [[0, 1, 0], [1, 1, 2], [2, 0, 3], [0, 0, 1], [2, 2, 2]]
PREDICATE_COUNTS = [5, 9, 9, 1]

Graph = dict[str, Any]
Rng = np.random.Generator

protocols = st.sampled_from(sorted(PROTOCOLS)).map(PROTOCOLS.get)
rules = st.builds(
    EvaluationProtocol,
    name=st.just("random"),
    box_matching=st.sampled_from(["overlap", "best"]),
    box_offset=st.sampled_from([0, 1]),
    no_graph_constraint_limit=st.sampled_from([None, 1, 3, 100]),
    **{field.name: st.booleans() for field in dataclasses.fields(EvaluationProtocol) if field.type == "bool"},
)


def random_boxes(rng: Rng, count: int) -> np.ndarray:
    """Boxes `(count, 4)` on a coarse grid: many are equal, some are empty, some have their sides crossed."""
    corners = rng.integers(0, 3, (count, 2)) * 2
    sides = rng.choice([-1, 0, *(2, 3, 4) * 8], (count, 2))
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def random_relations(rng: Rng, num_objects: int, count: int) -> np.ndarray:
    """Rows `(count, 3)`, some of them repeated; none without objects."""
    count = count if num_objects else 0
    rows = np.column_stack([rng.integers(0, max(num_objects, 1), (count, 2)), rng.integers(0, P, count)])
    return rows[rng.integers(0, max(count, 1), count)] if rng.random() < 0.5 else rows


def random_scores(rng: Rng, *shape: int) -> np.ndarray:
    """Numbers `shape`, either drawn from few values or all different."""
    few = rng.choice(np.array([0.0, 0.25, 0.5, 1.0], dtype=np.float32), shape)
    return few if rng.random() < 0.5 else rng.random(shape, dtype=np.float32)


def random_reference(rng: Rng) -> Graph:
    """An annotation, sometimes without objects or relations."""
    n = int(rng.integers(0, 6))
    return {
        "boxes": random_boxes(rng, n),
        "labels": rng.integers(0, NUM_CLASSES, n),
        "relations": random_relations(rng, n, int(rng.integers(0, 7))),
    }


def random_prediction(rng: Rng, reference: Graph, mode: str = "sgdet") -> Graph:
    """A prediction that has something to do with the annotation, sometimes without anything in it."""
    m = len(reference["boxes"])
    n = m if mode != "sgdet" else int(rng.integers(m, m + 5)) if rng.random() < 0.9 else 0
    boxes, labels = random_boxes(rng, n), rng.integers(0, NUM_CLASSES, n)
    if n and m:  # most objects are those annotated, the further ones repeat some of them
        like, copied = rng.random(n) < 0.8, np.where(np.arange(n) < m, np.arange(n), rng.integers(0, m, n))
        boxes = np.where(like[:, None], reference["boxes"][copied] + rng.choice([0, 0, 0, 0, 1], (n, 4)), boxes)
        labels = np.where(like, reference["labels"][copied], labels)
    graph = {
        "boxes": boxes.astype(np.float32),
        "labels": labels,
        "scores": random_scores(rng, n) * rng.choice(np.float32([1, 1, -1])),  # of other programs they may be logits
        "relations": _predicted_relations(rng, reference, n),
    }
    k = len(graph["relations"])
    if rng.random() < 0.7:
        graph["predicate_probabilities"] = random_scores(rng, k, P + 1)
    if rng.random() < 0.7:
        graph["relation_scores"] = random_scores(rng, k)
    if rng.random() < 0.2:
        graph["unconstrained_relations"] = _predicted_relations(rng, reference, n)
    return graph


def _predicted_relations(rng: Rng, reference: Graph, num_objects: int) -> np.ndarray:
    rows = random_relations(rng, num_objects, int(rng.integers(0, 14)))
    if not len(rows) or not len(reference["relations"]):
        return rows
    like = rng.random(len(rows)) < 0.7
    return np.where(
        like[:, None], reference["relations"][rng.integers(0, len(reference["relations"]), len(rows))], rows
    )


def random_images(seed: int, count: int, mode: str = "sgdet") -> tuple[list[Graph], list[Graph]]:
    """Predictions and annotations of `count` images."""
    rng = np.random.default_rng(seed)
    references = [random_reference(rng) | {"image_id": i} for i in range(count)]
    return [random_prediction(rng, reference, mode) for reference in references], references
