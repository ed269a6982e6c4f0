"""The 60 images whose evaluation by the published program was recorded; the predictions are made up."""

import functools

import numpy as np

from tests.helpers import REFERENCE


def split(array: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    """The rows of each image."""
    return np.split(array, np.cumsum(counts)[:-1])


@functools.cache
def recorded_inputs() -> dict[str, np.ndarray]:
    """All arrays of the file."""
    with np.load(REFERENCE / "evaluation_inputs.npz") as file:
        return dict(file)


def recorded_references() -> list[dict[str, np.ndarray]]:
    """What is annotated."""
    z = recorded_inputs()
    boxes, labels = split(z["gt_boxes"], z["gt_box_count"]), split(z["gt_labels"], z["gt_box_count"])
    relations = split(z["gt_relations"], z["gt_relation_count"])
    return [{"boxes": b, "labels": n, "relations": r} for b, n, r in zip(boxes, labels, relations, strict=True)]


def recorded_predictions(mode: str) -> list[dict[str, np.ndarray]]:
    """What is predicted in a mode."""
    z = recorded_inputs()
    prefix = "pred_" if mode == "sgdet" else "gtbox_pred_"
    num_boxes = z["pred_box_count"] if mode == "sgdet" else z["gt_box_count"]
    relations = np.column_stack([z[prefix + "pairs"], z[prefix + "relation_labels"]])
    columns = {
        "boxes": split(z["pred_boxes"] if mode == "sgdet" else z["gt_boxes"], num_boxes),
        "labels": split(z[prefix + "labels"], num_boxes),
        "scores": split(z[prefix + "scores"], num_boxes),
        "relations": split(relations, z[prefix + "relation_count"]),
        "predicate_probabilities": split(z[prefix + "relation_scores"], z[prefix + "relation_count"]),
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
