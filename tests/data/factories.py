"""Tiny data sets in the files of Visual Genome, and rows built in memory."""

import json
from pathlib import Path

import h5py
import numpy as np
from datasets import Dataset
from PIL import Image

from speaq_hf.data import scene_graph_features


OBJECTS = ["cat", "dog", "hat"]
PREDICATES = ["near", "on"]

# Three training images, one flagged 1, one test image; the second training image has a box but no relation.
ARRAYS = {
    "split": [0, 0, 0, 1, 2],
    "img_to_first_box": [0, 2, 3, 5, 7],
    "img_to_last_box": [1, 2, 4, 6, 8],
    "img_to_first_rel": [0, -1, 1, 3, 4],
    "img_to_last_rel": [0, -1, 2, 3, 4],
    "boxes_1024": [[100, 100, 50, 50], [400, 400, 60, 60]]
    + [[100, 100, 50, 50], [110, 110, 51, 51]] * 3
    + [[9, 9, 9, 9]],
    "labels": [[1], [2], [3], [1], [2], [3], [1], [2], [3]],
    "relationships": [[0, 1], [3, 4], [4, 3], [5, 6], [7, 8]],
    "predicates": [[1], [2], [1], [2], [1]],
}


def write_genome(root: Path, image_ids: tuple[int, ...] = (1, 2, 3, 4, 5), **arrays: list | None) -> Path:
    """Writes a data set under the real file names; `arrays` replaces arrays of the HDF5 file, None leaves one out."""
    (root / "VG_100K").mkdir(parents=True)
    for image_id in image_ids:
        Image.new("RGB", (64, 48), (image_id, 0, 0)).save(root / "VG_100K" / f"{image_id}.jpg")
    sizes = [{"image_id": image_id, "width": 64, "height": 48} for image_id in image_ids]
    (root / "image_data.json").write_text(json.dumps(sizes))
    vocabulary = {
        "label_to_idx": {name: index for index, name in enumerate(OBJECTS, start=1)},
        "predicate_to_idx": {name: index for index, name in enumerate(PREDICATES, start=1)},
    }
    (root / "VG-SGG-dicts-with-attri.json").write_text(json.dumps(vocabulary))
    with h5py.File(root / "VG-SGG-with-attri.h5", "w") as handle:
        for name, values in (ARRAYS | arrays).items():
            if values is not None:
                handle[name] = np.asarray(values)
    return root


def row(image_id: int = 0, size: tuple[int, int] = (40, 30), boxes=(), labels=(), relations=()) -> dict:
    """One row of a scene graph dataset with a noisy image of `size` (width, height)."""
    pixels = np.random.default_rng(image_id).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    relations = np.asarray(relations, int).reshape(-1, 3)
    return {
        "image": Image.fromarray(pixels),
        "image_id": image_id,
        "width": size[0],
        "height": size[1],
        "objects": {"bbox": np.asarray(boxes, float).reshape(-1, 4).tolist(), "category": list(labels)},
        "relations": relations.tolist(),
        "predicates": relations[:, 2].tolist(),
    }


def dataset(rows: list[dict], objects: list[str] = OBJECTS, predicates: list[str] = PREDICATES) -> Dataset:
    """A scene graph dataset of the given rows."""
    return Dataset.from_list(rows, features=scene_graph_features(objects, predicates))
