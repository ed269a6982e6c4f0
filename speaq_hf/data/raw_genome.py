# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Reads Visual Genome's JSON and HDF5 files as far as they can be read, and notes what cannot."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .class_names import is_class_name
from .defects import DefectLog
from .generator import GenomeFiles
from .image_inspection import ImageList
from .visual_genome import CORRUPTED_IMAGE_IDS


VISUAL_GENOME_FILES = GenomeFiles(
    images="VG_100K",
    annotations="VG-SGG-with-attri.h5",
    categories="VG-SGG-dicts-with-attri.json",
    image_data="image_data.json",
)
SYNTHETIC_GENOME_FILES = GenomeFiles()

_MAX_SIDE = 2**31 - 1
IMAGE_ARRAYS = ("split", "img_to_first_box", "img_to_last_box", "img_to_first_rel", "img_to_last_rel")
_OPTIONAL_BOX_ARRAYS = ("boxes_512", "boxes_1024", "attributes", "active_object_mask")  # no reader needs them
# What a damaged HDF5 file raises, depending on where the damage lies.
_HDF5_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError)


@dataclass(frozen=True)
class RawVocabulary:
    """Names by 0-based index; `<class 7>` where the file names none. Empty: the file could not be read."""

    objects: list[str]
    predicates: list[str]


def find_genome_files(root: str | os.PathLike) -> GenomeFiles:
    """Whether a folder uses the names of Visual Genome or of a synthetic set: those of which more files exist.

    Raises:
        FileNotFoundError: The folder has none of either.
    """
    layouts = (VISUAL_GENOME_FILES, SYNTHETIC_GENOME_FILES)
    found = [sum((Path(root) / name).is_file() for name in _annotation_files(files)) for files in layouts]
    if not any(found):
        names = " or ".join(str(list(_annotation_files(files))) for files in layouts)
        raise FileNotFoundError(f"{root}: expected a folder that holds the files {names}, found none of them")
    return layouts[found.index(max(found))]


def _annotation_files(files: GenomeFiles) -> tuple[str, str, str]:
    return files.annotations, files.categories, files.image_data


# JSON files -----------------------------------------------------------------------------------------------------------


def _read_json(file: Path, log: DefectLog) -> Any:
    """Content of the file; None, and a defect, if there is none."""
    if not file.is_file():
        log.add("missing_file", file, "expected a JSON file")
        return None
    try:
        with open(file, encoding="utf-8") as handle:
            content = json.load(handle)
    except (ValueError, OSError, RecursionError) as error:
        log.add("unreadable_file", file, f"not a JSON file ({error})")
        return None
    if content is None:
        log.add("unreadable_file", file, "holds nothing (null)")
    return content


def read_raw_vocabulary(file: Path, log: DefectLog) -> RawVocabulary:
    """The names of the classes; those of a kind that cannot be read are none."""
    content = _read_json(file, log)
    if content is None:
        return RawVocabulary([], [])
    return RawVocabulary(*(_read_names(file, content, kind, log) for kind in ("label", "predicate")))


def _read_names(file: Path, content: Any, kind: str, log: DefectLog) -> list[str]:
    key, inverse_key = f"{kind}_to_idx", f"idx_to_{kind}"
    index_of = content.get(key) if isinstance(content, dict) else None
    if not isinstance(index_of, dict) or not index_of:
        log.add("broken_vocabulary", file, "expected an object of names and 1-based indices", field=key)
        return []
    nameless = [name for name in index_of if not is_class_name(name)]
    if nameless:
        log.add(
            "broken_vocabulary", file, f"names must be texts of Unicode and not empty, got {nameless[:5]}", field=key
        )
    usable = {
        name: index
        for name, index in index_of.items()
        if type(index) is int and 1 <= index <= len(index_of) and name not in nameless
    }
    if sorted(index_of.values(), key=str) != sorted(range(1, len(index_of) + 1), key=str):
        taken = set(usable.values())
        missing = [index for index in range(1, len(index_of) + 1) if index not in taken]
        message = f"{len(index_of)} names must use every index 1..{len(index_of)} once; not used: {missing[:5]}"
        log.add("broken_vocabulary", file, message, field=key)
    names = [f"<class {index}>" for index in range(1, len(index_of) + 1)]
    for name, index in usable.items():
        names[index - 1] = name
    inverse = content.get(inverse_key)
    if isinstance(inverse, dict) and inverse != {str(index): name for name, index in index_of.items()}:
        log.add("broken_vocabulary", file, f"does not agree with '{key}', which readers use", field=inverse_key)
    return names


def read_raw_image_list(file: Path, num_images: int | None, log: DefectLog) -> ImageList | None:
    """The image list, None if it cannot be read.

    Args:
        file: JSON file of image ids and sizes.
        num_images: How many images the HDF5 file has; where it lacks those known to be corrupt, they are left out.
        log: Takes the defects.
    """
    entries = _read_json(file, log)
    if entries is not None and not isinstance(entries, list):
        log.add("unreadable_file", file, f"expected a list of images, found {type(entries).__name__}")
    if not isinstance(entries, list):
        return None
    values = np.array([_image_entry(entry) for entry in entries], np.int64).reshape(-1, 3)

    def describe(row: int) -> str:
        return f"expected integers 'image_id', 'width', 'height' of at least 0, 1, 1, got {_shorten(entries[row])}"

    log.add_rows("broken_image_entry", file, None, np.flatnonzero(values[:, 0] < 0), describe)
    _, first, inverse = np.unique(values[:, 0], return_index=True, return_inverse=True)
    repeated = np.flatnonzero((first[inverse] != np.arange(len(values))) & (values[:, 0] >= 0))

    def describe_repeated(row: int) -> str:
        return f"image id {values[row, 0]} is that of row {first[inverse[row]]}, too"

    log.add_rows("duplicate_image_id", file, None, repeated, describe_repeated)
    images = ImageList(file, np.arange(len(values)), values[:, 0], values[:, 1:])
    kept = ~np.isin(images.ids, CORRUPTED_IMAGE_IDS)
    return images.select(kept) if len(images) != num_images and kept.sum() == num_images else images


def _image_entry(entry: Any) -> tuple[int, int, int]:
    """(id, width, height), or id -1 and no size for an entry that no reader can use."""
    try:
        image_id, width, height = (int(entry[name]) for name in ("image_id", "width", "height"))
    except (KeyError, TypeError, ValueError, OverflowError):
        return -1, 0, 0
    usable = 0 <= image_id < 2**63 and 1 <= width <= _MAX_SIDE and 1 <= height <= _MAX_SIDE
    return (image_id, width, height) if usable else (-1, 0, 0)


def _shorten(value: Any, length: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= length else text[: length - 1] + "…"


# HDF5 file ------------------------------------------------------------------------------------------------------------


def read_raw_arrays(file: Path, boxes: str, log: DefectLog) -> dict[str, np.ndarray]:
    """The arrays that have the right type and shape.

    Args:
        file: HDF5 file of boxes and relations.
        boxes: Name of the array of boxes.
        log: Takes the defects.

    Returns:
        int64 arrays (rows, columns), or (rows,) for one column; arrays that belong together are cut to one length.
    """
    needed = dict.fromkeys(IMAGE_ARRAYS, 1) | {boxes: 4, "labels": 1, "relationships": 2, "predicates": 1}
    if not file.is_file():
        log.add("missing_file", file, "expected an HDF5 file")
        return {}
    try:
        with h5py.File(file, "r") as handle:
            arrays = {name: _read_array(handle, file, name, columns, log) for name, columns in needed.items()}
            extra = {name: _rows_of(handle, name) for name in _OPTIONAL_BOX_ARRAYS if name != boxes}
    except _HDF5_ERRORS as error:
        log.add("unreadable_file", file, f"not an HDF5 file, or damaged ({error})")
        return {}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    extra = {name: rows for name, rows in extra.items() if rows is not None}
    for group, others in ((IMAGE_ARRAYS, {}), ((boxes, "labels"), extra), (("relationships", "predicates"), {})):
        arrays |= _cut_to_one_length(file, {name: arrays[name] for name in group if name in arrays}, others, log)
    return arrays


def _read_array(handle: h5py.File, file: Path, name: str, columns: int, log: DefectLog) -> np.ndarray | None:
    if name not in handle:
        log.add("missing_array", file, f"the file holds {_shorten(sorted(handle))}", field=name)
        return None
    try:
        array = np.asarray(handle[name][()])
    except _HDF5_ERRORS as error:
        log.add("broken_array", file, f"cannot be read ({error})", field=name)
        return None
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] != columns or array.dtype.kind not in "iu":
        message = f"expected integers of shape (rows, {columns}), got {array.dtype} {array.shape}"
        log.add("broken_array", file, message, field=name)
        return None
    array = array.astype(np.int64)
    return array[:, 0] if columns == 1 else array


def _rows_of(handle: h5py.File, name: str) -> int | None:
    item = handle.get(name)
    return item.shape[0] if isinstance(item, h5py.Dataset) and item.shape else None


def _cut_to_one_length(
    file: Path, arrays: dict[str, np.ndarray], others: dict[str, int], log: DefectLog
) -> dict[str, np.ndarray]:
    lengths = {name: len(array) for name, array in arrays.items()}
    if lengths and len({*lengths.values(), *others.values()}) > 1:
        message = f"arrays of one length expected, got rows: {lengths | others}"
        log.add("length_mismatch", file, message, field=next(iter(arrays)), row=min((lengths | others).values()))
    shortest = min(lengths.values(), default=0)
    return {name: array[:shortest] for name, array in arrays.items()}
