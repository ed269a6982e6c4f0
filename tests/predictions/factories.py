"""Predicted graphs, and one small file of each format."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np

from speaq_hf.scene_graph import SceneGraph


ID2LABEL = {0: "man", 1: "horse", 2: "hat"}
ID2PREDICATE = {0: "riding", 1: "wearing"}
NAMES = {"id2label": ID2LABEL, "id2predicate": ID2PREDICATE}


def random_graph(seed: int, num_objects: int = 5, num_relations: int = 7) -> SceneGraph:
    """A graph inside an image of 120 x 100 pixels, relations by falling score, as post-processing makes them."""
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, num_objects, 2)) * [120, 100]
    boxes = np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=1)
    ends = rng.integers(0, max(num_objects, 1), (num_relations, 2))
    return SceneGraph(
        boxes=boxes.astype(np.float32),
        labels=rng.integers(0, 3, num_objects),
        scores=rng.random(num_objects, dtype=np.float32),
        relations=np.column_stack([ends, rng.integers(0, 2, num_relations)]),
        relation_scores=-np.sort(-rng.random(num_relations, dtype=np.float32)),
        predicate_probabilities=rng.dirichlet(np.ones(3), num_relations).astype(np.float32),
        query_indices=np.arange(num_relations),
        image_size=(100, 120),
        **NAMES,
    )


# Image 7: man 0 rides horse 1 and wears hat 2; image 8: two men.
LINES = [
    {"id2label": {"0": "man", "1": "horse", "2": "hat"}, "id2predicate": {"0": "riding", "1": "wearing"}},
    {
        "image_id": 7,
        "image_size": [100, 120],
        "boxes": [[20, 10, 50, 90], [20, 50.5, 90, 99], [20, 5, 30, 15]],
        "labels": [0, 1, 2],
        "scores": [0.9, 0.8, 0.7],
        "relations": [[0, 1, 0], [0, 2, 1]],
        "relation_scores": [0.5, 0.25],
        "predicate_probabilities": [[0.7, 0.2, 0.1], [0.1, 0.5, 0.4]],
        "query_indices": [3, 1],
    },
    {"image_id": 8, "boxes": [[0, 0, 9, 9]], "labels": ["man"], "scores": [1], "relations": [[0, 0, "wearing"]]},
]
SGBENCH = {
    "version": 1,
    "images": [
        {
            "id": 7,
            "annotation": [
                {"category": 0, "bbox": [20, 10, 50, 90]},
                {"category": 1, "bbox": [20, 50.5, 90, 99]},
                {"category": 2, "bbox": [20, 5, 30, 15, 0.7]},
            ],
            "triplets": [[0, 1, 0], [0, 2, 1]],
            "ng_triplets": [[0, 1, 0], [0, 2, 1], [0, 1, 1]],
        },
        {"id": 8, "annotation": [{"category": 0, "bbox": [0, 0, 9, 9]}], "triplets": [[0, 0, 1]]},
    ],
}
COCO = {
    "images": [{"id": 7, "width": 120, "height": 100}, {"id": 8}],
    "categories": [{"id": 9, "name": "hat"}, {"id": 1, "name": "man"}, {"id": 4, "name": "horse"}],
    "rel_categories": [{"id": 5, "name": "riding"}, {"id": 3, "name": "wearing"}],
    "annotations": [
        {"id": 11, "image_id": 7, "category_id": 1, "bbox": [20, 10, 30, 80], "score": 0.9},
        {"id": 14, "image_id": 8, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 1},
        {"id": 12, "image_id": 7, "category_id": 4, "bbox": [20, 50.5, 70, 48.5], "score": 0.8},
        {"id": 13, "image_id": 7, "category_id": 9, "bbox": [20, 5, 10, 10], "score": 0.7},
    ],
    "rel_annotations": [
        {"id": 1, "image_id": 7, "subject_id": 11, "object_id": 13, "predicate_id": 3, "score": 0.25},
        {"id": 2, "image_id": 8, "subject_id": 14, "object_id": 14, "predicate_id": 3, "score": 1},
        {"id": 3, "image_id": 7, "subject_id": 11, "object_id": 12, "predicate_id": 5, "score": 0.5},
    ],
}
CONTENTS = {"jsonl": LINES, "sgbench": SGBENCH, "coco": COCO}
BOXES = [[20, 10, 50, 90], [20, 50.5, 90, 99], [20, 5, 30, 15]]  # of image 7


def content_of(format: str) -> Any:
    """A copy of the small file."""
    return copy.deepcopy(CONTENTS[format])


def write_content(folder: Path, format: str, content: Any) -> Path:
    """Writes parsed content as a file of the format, which its name does not tell."""
    path = folder / "predictions.json"
    lines = content if format == "jsonl" and isinstance(content, list) else [content]
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return path
