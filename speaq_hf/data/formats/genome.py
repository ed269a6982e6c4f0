# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Visual Genome's HDF5 layout, read by `load_visual_genome` and `load_synthetic_genome`, and written."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from datasets import Dataset

from ..generator import GenomeFiles
from ..split_marking import mark_validation_flag, names_validation_images
from ..visual_genome import (
    TEST_FLAG,
    TRAIN_FLAG,
    VALIDATION_FLAG,
    load_synthetic_genome,
    load_visual_genome,
)
from .graph_arrays import GraphArrays, Vocabulary
from .image_files import encoded_images, write_image


logger = logging.getLogger(__name__)

FILES = {
    "visual_genome": GenomeFiles("VG_100K", "VG-SGG-with-attri.h5", "VG-SGG-dicts-with-attri.json", "image_data.json"),
    "synthetic_genome": GenomeFiles(),
}
LOADERS = {"visual_genome": load_visual_genome, "synthetic_genome": load_synthetic_genome}
SPLIT_FLAGS = {"train": TRAIN_FLAG, "validation": VALIDATION_FLAG, "test": TEST_FLAG}
_FRAMES = (1024, 512)
_NUM_ATTRIBUTES = 10
_LEAST_MOVE = 1e-3  # pixels; less is the rounding of float32


def read(path: Path, split: str | None = None, *, naming: str = "visual_genome", **options: Any) -> dict[str, Dataset]:
    """Reads such files with the loader of their naming.

    Visual Genome's file flags no validation images: the first training images are taken. A file that flags some, that `write`
    or the generator wrote, or that is a synthetic set, is split by its flags. `num_validation_images` says otherwise.

    Args:
        path: Folder of the files, or the HDF5 file.
        split: The split to read; None: all.
        naming: "visual_genome" or "synthetic_genome", the names of the files that no option names.
        **options: Of the loader.

    Raises:
        FileNotFoundError: A file or image is missing.
        ValueError: A file is not what it should be.
    """
    root = path if path.is_dir() else path.parent
    if path.is_file():
        options.setdefault("annotations", path.name)
    flags, are_marked = _flags(root / options.get("annotations", FILES[naming].annotations))
    if are_marked or VALIDATION_FLAG in flags or naming == "synthetic_genome":
        options.setdefault("num_validation_images", None)
    names = _split_names(flags, options.get("num_validation_images", 1)) if split is None else [split]
    return {name: LOADERS[naming](root, name, **options) for name in names}


def write(datasets: dict[str, Dataset], folder: Path) -> None:
    """Writes the files under Visual Genome's names; read them with `num_validation_images=None` or `load_scene_graphs`.

    Boxes become integers in a frame whose long side is 1024. Rows that were read from such files are read again bit for
    bit, and the arrays are the same except for one choice that no reader can tell apart: the centre of a box of odd width
    (height) that starts at 0. Corners from elsewhere move by at most half a unit of the frame, which is 1/2048 of the
    image's long side; only a box smaller than a unit is made one unit large.

    Images are JPEG files named by their ids; others are encoded as such with a loss. Images without boxes are written, but the loaders leave
    them out, and without `keep_empty` also those without relations.

    Raises:
        ValueError: A split has another name than train, validation and test, two images have one id, or there are no
            predicates.
    """
    unknown = sorted(datasets.keys() - SPLIT_FLAGS.keys())
    if unknown:
        raise ValueError(f"the splits of Visual Genome's files are {list(SPLIT_FLAGS)}, got {unknown}")
    datasets = {split: datasets[split] for split in SPLIT_FLAGS if split in datasets}
    parts = {split: GraphArrays.from_dataset(dataset) for split, dataset in datasets.items()}
    joined = GraphArrays.joined(list(parts.values()))
    vocabulary = Vocabulary.of(next(iter(datasets.values())))
    if not vocabulary.predicates:
        raise ValueError(
            "there are no predicates, which Visual Genome's files need; use another format for boxes alone"
        )
    joined.check(vocabulary, lambda image: f"image {image} of all splits")
    files = FILES["visual_genome"]
    (folder / files.images).mkdir()
    for split, dataset in datasets.items():
        for image, image_id in zip(encoded_images(dataset), parts[split].image_ids.tolist(), strict=True):
            write_image(
                image, folder / files.images, f"{image_id}.jpg", (".jpg",), f"split '{split}', image {image_id}"
            )
    flags = np.concatenate([np.full(len(part.image_ids), SPLIT_FLAGS[split]) for split, part in parts.items()])
    _write_json(folder / files.categories, _vocabularies(joined, vocabulary))
    _write_json(folder / files.image_data, _image_data(joined))
    with h5py.File(folder / files.annotations, "w") as file:
        mark_validation_flag(file)
        for name, array in _hdf5_arrays(joined, flags).items():
            file.create_dataset(name, data=array)
    _log_moved_boxes(joined)
    if not joined.box_counts.all():
        logger.warning(
            "%d images have no boxes; readers of these files leave them out.", (joined.box_counts == 0).sum()
        )


def _log_moved_boxes(arrays: GraphArrays) -> None:
    """Says how far the readers' corners are from those that were written."""
    long_sides = arrays.sizes.max(axis=1)[arrays.box_owners][:, None]
    stored = _centres_and_sizes(arrays.boxes, long_sides, _FRAMES[0]).astype(np.int64)
    top_left = np.trunc(stored[:, :2] - stored[:, 2:] / 2)
    corners = np.concatenate([top_left, top_left + stored[:, 2:]], axis=1) * long_sides / _FRAMES[0]
    moves = np.abs(corners - arrays.boxes).max(axis=1, initial=0)
    moved = moves > _LEAST_MOVE
    if moved.any():
        logger.warning(
            "Visual Genome's files hold boxes as integers in a frame of %d: %d of %d boxes moved, by %.2g pixels in the mean "
            "and %.2g at most.", _FRAMES[0], moved.sum(), len(moves), moves[moved].mean(), moves.max(),
        )  # fmt: skip


def _flags(annotations: Path) -> tuple[list[int], bool]:
    """Values of the array `split`, none where the loader will say what is wrong; and whether they name validation images."""
    try:
        with h5py.File(annotations, "r") as file:
            return np.unique(file["split"][()]).tolist(), names_validation_images(file)
    except (OSError, KeyError, TypeError, RuntimeError):
        return [], False


def _split_names(flags: list[int], num_validation: int | None) -> list[str]:
    """The splits of a file of which so many training images validate (None: those that are flagged)."""
    found = set(flags)
    if num_validation is not None:
        found -= {VALIDATION_FLAG}
        found |= {VALIDATION_FLAG} if num_validation and TRAIN_FLAG in flags else set()
    return [split for split, flag in SPLIT_FLAGS.items() if flag in found] or list(SPLIT_FLAGS)


def _write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")


def _vocabularies(arrays: GraphArrays, vocabulary: Vocabulary) -> dict[str, dict]:
    content = {}
    for kind, count, names, values in (
        ("label", "object_count", vocabulary.objects, arrays.labels),
        ("predicate", "predicate_count", vocabulary.predicates, arrays.relations[:, 2]),
    ):
        counts = np.bincount(values, minlength=len(names)).tolist()
        content[f"{kind}_to_idx"] = {name: index for index, name in enumerate(names, start=1)}
        content[f"idx_to_{kind}"] = {str(index): name for index, name in enumerate(names, start=1)}
        content[count] = dict(zip(names, counts, strict=True))
    return content | {"attribute_to_idx": {}, "idx_to_attribute": {}, "attribute_count": {}}


def _image_data(arrays: GraphArrays) -> list[dict]:
    sizes = zip(arrays.image_ids.tolist(), arrays.sizes.tolist(), strict=True)
    return [{"image_id": image_id, "width": width, "height": height} for image_id, (width, height) in sizes]


def _hdf5_arrays(arrays: GraphArrays, flags: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of the HDF5 file, with the types of the original; classes are 1-based."""
    first_box, last_box = _first_and_last(arrays.box_counts)
    first_relation, last_relation = _first_and_last(arrays.relation_counts)
    starts = np.cumsum(arrays.box_counts) - arrays.box_counts
    relationships = arrays.relations[:, :2] + starts[arrays.relation_owners][:, None]
    active = np.zeros((len(arrays.boxes), 1), bool)
    active[relationships.ravel()] = True
    long_sides = arrays.sizes.max(axis=1)[arrays.box_owners][:, None]
    return {f"boxes_{frame}": _centres_and_sizes(arrays.boxes, long_sides, frame) for frame in _FRAMES} | {
        "active_object_mask": active,
        "attributes": np.zeros((len(arrays.boxes), _NUM_ATTRIBUTES), np.int64),
        "img_to_first_box": first_box,
        "img_to_first_rel": first_relation,
        "img_to_last_box": last_box,
        "img_to_last_rel": last_relation,
        "labels": arrays.labels[:, None] + 1,
        "predicates": arrays.relations[:, 2:] + 1,
        "relationships": relationships.astype(np.int32),
        "split": flags.astype(np.int32),
    }


def _centres_and_sizes(boxes: np.ndarray, long_sides: np.ndarray, frame: int) -> np.ndarray:
    """Integer (cx, cy, w, h) from which readers, by x1 = trunc(cx - w / 2) and x2 = x1 + w, get the rounded corners."""
    scaled = np.rint(boxes.astype(np.float64) / long_sides * frame).astype(np.int64)
    is_extended = boxes[:, 2:] > boxes[:, :2]
    sizes = np.maximum(scaled[:, 2:] - scaled[:, :2], is_extended)
    # Half a unit is cut off towards zero: so the half of an odd size is rounded away from it.
    halves = np.where(scaled[:, :2] < 0, sizes // 2, (sizes + 1) // 2)
    return np.concatenate([scaled[:, :2] + halves, sizes], axis=1).astype(np.int32)


def _first_and_last(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inclusive row ranges of consecutive groups; -1 for empty ones."""
    last = np.cumsum(counts) - 1
    first = last - counts + 1
    return np.where(counts > 0, first, -1).astype(np.int32), np.where(counts > 0, last, -1).astype(np.int32)
