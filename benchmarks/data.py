# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Time and memory of reading Visual Genome at its real size, beside a plain loop over the same files.

python -m benchmarks.data [--root FOLDER] [--output FILE.json]

Without `--root` files of the real size and types are made first: 108,073 images (empty files, nothing decodes them), about
3.4 million boxes and 2 million relations. Every measurement is a process of its own, so that peaks of memory do not mix.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from speaq_hf.data import load_visual_genome, object_counts, predicate_statistics, zero_shot_triplets
from speaq_hf.models.speaq.vg150 import VG150_OBJECTS, VG150_PREDICATE_COUNTS, VG150_PREDICATES


NUM_IMAGES, NUM_BOXES, NUM_RELATIONS, NUM_TRAINING_IMAGES = 108_073, 3_400_000, 2_000_000, 75_651
SPLITS = ("train", "val", "test")


def write_genome(root: Path, seed: int = 0) -> None:
    """Write annotation files with the sizes and types of the published ones, random content, and empty image files."""
    generator = np.random.default_rng(seed)
    boxes_per_image = generator.poisson(NUM_BOXES / NUM_IMAGES, NUM_IMAGES).clip(1)
    relations_per_image = generator.poisson(NUM_RELATIONS / NUM_IMAGES, NUM_IMAGES)
    first_box, first_relation = (np.cumsum(count) - count for count in (boxes_per_image, relations_per_image))
    owner = np.repeat(np.arange(NUM_IMAGES), relations_per_image)
    pairs = (generator.random((len(owner), 2)) * boxes_per_image[owner][:, None]).astype(np.int32)
    num_boxes = int(boxes_per_image.sum())
    shares = np.array(VG150_PREDICATE_COUNTS) / sum(VG150_PREDICATE_COUNTS)
    corners, sides = generator.integers(300, 700, (num_boxes, 2)), generator.integers(10, 300, (num_boxes, 2))
    empty = relations_per_image == 0
    arrays = {
        "boxes_1024": np.concatenate([corners, sides], axis=1).astype(np.int32),
        "boxes_512": np.concatenate([corners, sides], axis=1).astype(np.int32) // 2,
        "labels": generator.integers(1, len(VG150_OBJECTS) + 1, (num_boxes, 1)),
        "attributes": np.zeros((num_boxes, 10), np.int64),
        "relationships": pairs + first_box[owner][:, None].astype(np.int32),
        "predicates": generator.choice(len(VG150_PREDICATES), (len(owner), 1), p=shares) + 1,
        "img_to_first_box": first_box.astype(np.int32),
        "img_to_last_box": (first_box + boxes_per_image - 1).astype(np.int32),
        "img_to_first_rel": np.where(empty, -1, first_relation).astype(np.int32),
        "img_to_last_rel": np.where(empty, -1, first_relation + relations_per_image - 1).astype(np.int32),
        "split": np.where(np.arange(NUM_IMAGES) < NUM_TRAINING_IMAGES, 0, 2).astype(np.int32),
    }
    (root / "VG_100K").mkdir(parents=True)
    with h5py.File(root / "VG-SGG-with-attri.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    image_ids = generator.permutation(2_400_000)[:NUM_IMAGES].tolist()
    url = "https://cs.stanford.edu/people/rak248/VG_100K_2/{}.jpg"
    sizes = [
        {"image_id": i, "width": 800, "height": 600, "url": url.format(i), "coco_id": None, "flickr_id": None}
        for i in image_ids
    ]
    (root / "image_data.json").write_text(json.dumps(sizes))
    vocabulary = {"label_to_idx": VG150_OBJECTS, "predicate_to_idx": VG150_PREDICATES}
    numbered = {key: {name: i for i, name in enumerate(names, 1)} for key, names in vocabulary.items()}
    (root / "VG-SGG-dicts-with-attri.json").write_text(json.dumps(numbered))
    for image_id in image_ids:
        (root / "VG_100K" / f"{image_id}.jpg").touch()


def load_all(root: Path, cache: Path) -> None:
    """What is measured: all splits."""
    for split in SPLITS:
        load_visual_genome(root, split, cache_dir=cache)


def count_all(root: Path, cache: Path) -> dict[str, float]:
    """Statistics of loaded splits, as training needs them."""
    train, test = (load_visual_genome(root, split, cache_dir=cache) for split in ("train", "test"))
    start = time.perf_counter()
    statistics = predicate_statistics(train)
    object_counts(train)
    zero_shot_triplets(statistics, predicate_statistics(test))
    return {"seconds": time.perf_counter() - start}


def plain_loop(root: Path, _: Path) -> None:
    """The same rows as Python lists, image after image, as readers of these files usually make them."""
    with h5py.File(root / "VG-SGG-with-attri.h5") as file:
        arrays = {name: file[name][()] for name in file if name not in ("attributes", "boxes_512")}
    sizes, rows = json.loads((root / "image_data.json").read_text()), []
    for i, size in enumerate(sizes):
        boxes = slice(arrays["img_to_first_box"][i], arrays["img_to_last_box"][i] + 1)
        relations = slice(arrays["img_to_first_rel"][i], arrays["img_to_last_rel"][i] + 1)
        if arrays["img_to_first_rel"][i] < 0:
            continue
        corners = arrays["boxes_1024"][boxes] / 1024 * max(size["width"], size["height"])
        corners[:, :2] -= corners[:, 2:] / 2
        corners[:, 2:] += corners[:, :2]
        pairs = arrays["relationships"][relations] - boxes.start
        triplets = np.column_stack([pairs, arrays["predicates"][relations]])
        labels = arrays["labels"][boxes, 0] - 1
        row = {"bbox": corners.tolist(), "category": labels.tolist(), "relations": triplets.tolist()}
        rows.append(size | row)


def measure(function: Callable[[Path, Path], dict[str, float] | None], root: Path, cache: Path) -> dict[str, float]:
    """Seconds and peak memory (GB) of a function in a process of its own, imports not timed."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (function, root, cache))


def _measured(function: Callable[[Path, Path], Any], root: Path, cache: Path) -> dict[str, float]:
    import datasets  # noqa: F401 (its import is not what is timed)

    start = time.perf_counter()
    result = function(root, cache) or {"seconds": time.perf_counter() - start}
    return result | {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="Folder of Visual Genome; made files when missing.")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, cache = arguments.root or Path(folder, "genome"), Path(folder, "cache")
        if arguments.root is None:
            write_genome(root)
        names = {"cold": load_all, "warm": load_all, "statistics": count_all, "plain loop": plain_loop}
        report = {name: measure(function, root, cache) for name, function in names.items()}
    for name, values in report.items():
        sys.stdout.write(f"{name:12}{values['seconds']:8.2f} s{values['peak_gb']:8.2f} GB\n")
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
