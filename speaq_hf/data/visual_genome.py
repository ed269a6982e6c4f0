# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Visual Genome scene graphs in the VG150 files (Xu et al., CVPR 2017) as a `datasets.Dataset`.

The HDF5 file stores all boxes and relations of all images in flat arrays; they become Arrow columns without a Python
loop over images. One row is one image:

- `image`: decoded on access from `<images>/<image_id>.jpg`
- `image_id`, `width`, `height`: as `image_data.json` says (the JPEG's own size wins when an image is loaded)
- `objects`: `bbox (n, 4)` corners (x1, y1, x2, y2) in pixels, not clipped to the image, and `category (n,)`
- `relations (r, 3)`: rows (subject, object, predicate), the first two index the row's own objects; duplicates are kept
- `predicates (r,)`: the last column of `relations` once more, as `ClassLabel`

Classes are 0-based. `predicates` exists for its feature type: names kept in the features survive `map`, `select`,
`concatenate_datasets`, `save_to_disk`, Parquet and the Hub, which the dataset's description does not. Read names with
`object_names` and `predicate_names`; everything that consumes relations reads `relations`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetInfo, Features, Image, List, NamedSplit, Value

from .class_names import is_class_name
from .missing_split import MissingSplitError
from .table_cache import cached_dataset


# Images whose files were corrupt when the HDF5 file was made: listed in image_data.json, without a row in the HDF5 file.
CORRUPTED_IMAGE_IDS = (1592, 1722, 4616, 4617)

# Next to the boxes, whose name tells their scale.
_ARRAYS = ("labels", "relationships", "predicates", "split") + tuple(
    f"img_to_{end}_{kind}" for end in ("first", "last") for kind in ("box", "rel")
)
# No compression packs an array better than this; damaged lengths claim more.
_MAX_EXPANSION = 4096
# Far beyond any row, class or pixel, and safe to calculate with.
_MAX_INTEGER = 2**31 - 1

Split = Literal["train", "val", "validation", "test"]
TRAIN_FLAG, VALIDATION_FLAG, TEST_FLAG = 0, 1, 2


def load_visual_genome(
    root: str | os.PathLike,
    split: Split,
    *,
    images: str = "VG_100K",
    annotations: str = "VG-SGG-with-attri.h5",
    categories: str = "VG-SGG-dicts-with-attri.json",
    image_data: str = "image_data.json",
    num_validation_images: int | None = 5000,
    keep_empty: bool = False,
    filter_non_overlap: bool = False,
    box_scale: int = 1024,
    cache_dir: str | os.PathLike | None = None,
) -> Dataset:
    """Read one split of Visual Genome; the module's docstring describes its rows.

    The rows of large files are kept on disk, so that the next call and other processes memory-map them; they are read anew
    when the content of a file or an argument changes.

    Args:
        root: Folder that holds the files.
        split: "train", "val" (or "validation") or "test".
        images: Folder of the JPEGs, below `root`.
        annotations: HDF5 file of boxes and relations, below `root`.
        categories: JSON file of the vocabularies, below `root`.
        image_data: JSON file of image ids and sizes, below `root`.
        num_validation_images: The first so many images of the training flag, counted after images without boxes (and
            relations) were dropped, are the validation split. None: the images flagged 1 in the file are.
        keep_empty: Keep images that have boxes but no relation. Images without boxes are always dropped.
        filter_non_overlap: In the training split, drop relations between boxes that do not overlap, and images that
            lose all relations by it.
        box_scale: Length of the long image side in the frame of the stored boxes; picks the array `boxes_<box_scale>`.
        cache_dir: Where the rows of large files are kept; default a folder in the cache of `datasets`.

    Returns:
        The split in file order. `object_names` and `predicate_names` read the vocabularies from it.

    Raises:
        FileNotFoundError: A file, the image folder, or an image of the split is missing.
        ValueError: A file is not what it should be (the message names file, field and row), or the split is empty.
    """
    root = Path(root)
    flag = _split_flag(split)
    files = _Files(*(root / name for name in (annotations, categories, image_data, images)))
    options = {
        "flag": flag,
        "num_validation_images": num_validation_images,
        "keep_empty": keep_empty,
        "filter_non_overlap": filter_non_overlap,
        "box_scale": box_scale,
    }
    dataset = cached_dataset(
        [files.annotations, files.categories, files.image_data],
        options | {"images": os.path.abspath(files.images)},
        partial(_read_split, files, split, **options),
        NamedSplit("validation" if split == "val" else split),
        None if cache_dir is None else Path(cache_dir),
    )
    _check_images(files.images, dataset.data.column("image_id").to_numpy())
    return dataset


def _read_split(
    files: _Files,
    split: str,
    *,
    flag: int,
    num_validation_images: int | None,
    keep_empty: bool,
    filter_non_overlap: bool,
    box_scale: int,
) -> Dataset:
    vocabulary = _read_vocabulary(files.categories)
    graphs = _read_graphs(files.annotations, box_scale)
    sizes = _read_image_sizes(files.image_data, files.annotations, len(graphs.split))
    _check_classes(graphs, vocabulary)

    rows = _rows_of_split(graphs, flag, num_validation_images, keep_empty)
    scene_graphs = _select(graphs, rows)
    if filter_non_overlap and flag == TRAIN_FLAG:
        scene_graphs = _drop_non_overlapping(scene_graphs, keep_empty)
    if not len(scene_graphs.rows):
        raise MissingSplitError(_empty_split_message(graphs, split, num_validation_images))
    sizes = sizes[scene_graphs.rows]
    return _build_dataset(scene_graphs, sizes, _image_paths(files.images, sizes[:, 0]), vocabulary, box_scale, split)


def load_synthetic_genome(
    root: str | os.PathLike,
    split: Split,
    *,
    images: str = "synthetic_images",
    annotations: str = "synthetic-SGG-with-attri.h5",
    categories: str = "synthetic-SGG-dicts-with-attri.json",
    image_data: str = "synthetic_image_data.json",
    num_validation_images: int | None = None,
    **kwargs: Any,
) -> Dataset:
    """Read one split of a synthetic set in the file formats of Visual Genome.

    The same as `load_visual_genome` with other file names; and the images flagged 1 are the validation split unless
    `num_validation_images` asks for the first training images instead. See there for the arguments and errors.
    """
    return load_visual_genome(
        root,
        split,
        images=images,
        annotations=annotations,
        categories=categories,
        image_data=image_data,
        num_validation_images=num_validation_images,
        **kwargs,
    )


def scene_graph_features(object_names: Sequence[str], predicate_names: Sequence[str]) -> Features:
    """Features of a scene graph dataset over the given vocabularies (the module's docstring describes a row)."""
    return Features(
        {
            "image": Image(),
            "image_id": Value("int64"),
            "width": Value("int32"),
            "height": Value("int32"),
            "objects": {
                "bbox": List(List(Value("float32"), length=4)),
                "category": List(ClassLabel(names=list(object_names))),
            },
            "relations": List(List(Value("int32"), length=3)),
            "predicates": List(ClassLabel(names=list(predicate_names))),
        }
    )


def object_names(dataset: Dataset) -> list[str]:
    """Object class names of a scene graph dataset, in index order.

    Raises:
        ValueError: The features hold no such names.
    """
    objects = dataset.features.get("objects")
    return _class_names(objects.get("category") if isinstance(objects, dict) else None, "objects.category")


def predicate_names(dataset: Dataset) -> list[str]:
    """Predicate names of a scene graph dataset, in index order.

    Raises:
        ValueError: The features hold no such names.
    """
    return _class_names(dataset.features.get("predicates"), "predicates")


def _class_names(feature: Any, field: str) -> list[str]:
    label = getattr(feature, "feature", None)
    if not isinstance(label, ClassLabel):
        raise ValueError(
            f"expected the dataset's field '{field}' to be List(ClassLabel(names=...)), got {feature!r}; "
            "build the dataset with the features of speaq_hf.data.scene_graph_features(objects, predicates)"
        )
    return list(label.names)


# Files ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Files:
    """Where a set lies."""

    annotations: Path
    categories: Path
    image_data: Path
    images: Path  # folder


@dataclass(frozen=True)
class _Vocabulary:
    """Names in index order and the file they came from."""

    file: Path
    objects: list[str]
    predicates: list[str]


@dataclass(frozen=True)
class _Span:
    """Which rows of a flat array belong to each image: `first[i]`, …, `first[i] + count[i] - 1`."""

    first: np.ndarray
    count: np.ndarray

    def flat_rows(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the given images, image after image, and each row's position in `images`."""
        owner = np.repeat(np.arange(len(images)), self.count[images])
        starts = np.cumsum(self.count[images]) - self.count[images]
        return np.arange(len(owner)) - starts[owner] + self.first[images][owner], owner


@dataclass(frozen=True)
class _Graphs:
    """The HDF5 file: flat arrays of boxes and relations, and the rows that belong to each image."""

    file: Path
    split: np.ndarray  # (images,)
    box_span: _Span
    relation_span: _Span
    boxes_cxcywh: np.ndarray  # (boxes, 4)
    labels: np.ndarray  # (boxes,) 1-based
    relationships: np.ndarray  # (relations, 2) rows of boxes
    predicates: np.ndarray  # (relations,) 1-based


def _read_vocabulary(file: Path) -> _Vocabulary:
    content = _read_json(file)
    return _Vocabulary(file, *(_names_in_order(file, content, key) for key in ("label_to_idx", "predicate_to_idx")))


def _names_in_order(file: Path, content: Any, key: str) -> list[str]:
    index_of = content.get(key) if isinstance(content, dict) else None
    if not isinstance(index_of, dict) or not index_of:
        raise ValueError(f"{file}: expected an object '{key}' of names and 1-based indices, found {type(index_of)}")
    nameless = [name for name in index_of if not is_class_name(name)]
    if nameless:
        raise ValueError(
            f"{file}: '{key}' must use names that are texts of Unicode and not empty, found {nameless[:5]}"
        )
    indices = list(index_of.values())
    if any(type(index) is not int for index in indices) or sorted(indices) != list(range(1, len(indices) + 1)):
        raise ValueError(f"{file}: '{key}' must use every index 1..{len(indices)} once, found {str(indices)[:80]}")
    return sorted(index_of, key=index_of.get)


def _read_json(file: Path) -> Any:
    _require_file(file)
    try:
        with open(file, encoding="utf-8") as handle:
            return json.load(handle)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: not a JSON file ({error}); download or generate it again") from error


def _require_file(file: Path) -> None:
    if not file.is_file():
        present = sorted(os.listdir(file.parent))[:10] if file.parent.is_dir() else "no such folder"
        raise FileNotFoundError(
            f"{file} does not exist ({file.parent} holds: {present}); check the root and file name"
        )


def _read_image_sizes(file: Path, annotations: Path, num_rows: int) -> np.ndarray:
    """Rows (image id, width, height) (images, 3), matching the rows of the HDF5 file."""
    entries = _read_json(file)
    if not isinstance(entries, list):
        raise ValueError(f"{file}: expected a list with an entry for each image, found {type(entries)}")
    sizes = np.array([_image_size(file, row, entry) for row, entry in enumerate(entries)], np.int64).reshape(-1, 3)
    if len(sizes) != num_rows:
        sizes = sizes[~np.isin(sizes[:, 0], CORRUPTED_IMAGE_IDS)]
    if len(sizes) != num_rows:
        raise ValueError(
            f"{file} lists {len(entries)} images ({len(sizes)} without the corrupted ids {CORRUPTED_IMAGE_IDS}) but "
            f"'split' in {annotations} has {num_rows} rows; the two files must come from the same data set"
        )
    order = np.argsort(sizes[:, 0], kind="stable")
    repeated = order[1:][np.diff(sizes[order, 0]) == 0]
    if len(repeated):
        raise ValueError(f"{file}: image_id {sizes[repeated[0], 0]} occurs more than once; every image needs its own")
    return sizes


def _image_size(file: Path, row: int, entry: Any) -> tuple[int, int, int]:
    try:
        values = [entry[name] for name in ("image_id", "width", "height")]
        image_id, width, height = (int(value) for value in values)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(_image_size_message(file, row, entry)) from error
    if [image_id, width, height] != values or not 0 <= image_id < 2**63:
        raise ValueError(_image_size_message(file, row, entry))
    if not (1 <= width <= _MAX_INTEGER and 1 <= height <= _MAX_INTEGER):
        raise ValueError(
            f"{file}, row {row}: width and height must be in 1..{_MAX_INTEGER} pixels, got {width} x {height}"
        )
    return image_id, width, height


def _image_size_message(file: Path, row: int, entry: Any) -> str:
    return f"{file}, row {row}: expected integers 'image_id', 'width', 'height', got {str(entry)[:200]}"


def _read_graphs(file: Path, box_scale: int) -> _Graphs:
    arrays = _read_arrays(file, [f"boxes_{box_scale}", *_ARRAYS])
    boxes = _integers(arrays, file, f"boxes_{box_scale}", 4)
    labels = _integers(arrays, file, "labels", 1, rows=len(boxes))[:, 0]
    relationships = _integers(arrays, file, "relationships", 2)
    predicates = _integers(arrays, file, "predicates", 1, rows=len(relationships))[:, 0]
    split = _integers(arrays, file, "split", 1)[:, 0]
    box_span = _read_span(arrays, file, "box", len(split), len(boxes))
    relation_span = _read_span(arrays, file, "rel", len(split), len(relationships))
    inverted = np.flatnonzero((boxes[:, 2:] < 0).any(axis=1))
    if len(inverted):
        row = inverted[0]
        raise ValueError(
            f"{file}, row {row} of 'boxes_{box_scale}': expected (cx, cy, width, height), got {boxes[row].tolist()} with "
            "a negative side"
        )
    return _Graphs(file, split, box_span, relation_span, boxes, labels, relationships, predicates)


def _read_arrays(file: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of the HDF5 file as they are."""
    _require_file(file)
    try:
        with h5py.File(file, "r") as handle:
            present = [str(name) for name in handle]
            datasets = {name: handle[name] for name in names if isinstance(handle.get(name), h5py.Dataset)}
            _check_lengths(file, datasets)
            arrays = {name: np.asarray(dataset[()]) for name, dataset in datasets.items()}
    # The HDF5 library answers damage with errors of many kinds.
    except Exception as error:
        raise ValueError(f"{file}: not an HDF5 file, or damaged ({error}); download or generate it again") from error
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"{file}: no array '{missing[0]}', the file holds {sorted(present)}; is this a VG-SGG file?")
    return arrays


def _check_lengths(file: Path, datasets: Mapping[str, h5py.Dataset]) -> None:
    """A damaged length must not fill the memory."""
    limit = _MAX_EXPANSION * file.stat().st_size
    for name, dataset in datasets.items():
        if dataset.nbytes > limit:
            raise OSError(f"'{name}' of shape {dataset.shape} cannot be in so small a file")


def _integers(
    arrays: Mapping[str, np.ndarray], file: Path, name: str, columns: int, rows: int | None = None
) -> np.ndarray:
    """The integer array `name` as (rows, columns) int64; a flat array counts as one column."""
    array = arrays[name]
    if array.ndim == 1:
        array = array[:, None]
    if array.shape[1:] != (columns,) or array.dtype.kind not in "iu" or rows not in (None, len(array)):
        expected = f"({'rows' if rows is None else rows}, {columns})"
        raise ValueError(f"{file}: expected '{name}' to be integers {expected}, got {array.dtype} {array.shape}")
    if array.size and max(int(array.max()), -int(array.min())) > _MAX_INTEGER:
        row = np.flatnonzero(((array > _MAX_INTEGER) | (array < -_MAX_INTEGER)).any(axis=1))[0]
        raise ValueError(f"{file}, row {row} of '{name}': {array[row].tolist()} is beyond ±{_MAX_INTEGER}")
    return array.astype(np.int64, copy=False)


def _read_span(arrays: Mapping[str, np.ndarray], file: Path, kind: str, num_images: int, num_rows: int) -> _Span:
    first_name, last_name = f"img_to_first_{kind}", f"img_to_last_{kind}"
    first = _integers(arrays, file, first_name, 1, num_images)[:, 0]
    last = _integers(arrays, file, last_name, 1, num_images)[:, 0]
    empty = (first == -1) & (last == -1)
    bad = np.flatnonzero(~empty & ((first < 0) | (last < first) | (last >= num_rows)))
    if len(bad):
        row = bad[0]
        raise ValueError(
            f"{file}, row {row}: '{first_name}' = {first[row]} and '{last_name}' = {last[row]} must be -1 and -1, or a "
            f"range within 0..{num_rows - 1}"
        )
    return _Span(first, np.where(empty, 0, last - first + 1))


def _check_classes(graphs: _Graphs, vocabulary: _Vocabulary) -> None:
    for field, values, names in (
        ("labels", graphs.labels, vocabulary.objects),
        ("predicates", graphs.predicates, vocabulary.predicates),
    ):
        bad = np.flatnonzero((values < 1) | (values > len(names)))
        if len(bad):
            raise ValueError(
                f"{graphs.file}, row {bad[0]} of '{field}': class {values[bad[0]]} is not in 1..{len(names)}, the "
                f"vocabulary of {vocabulary.file}; the two files must come from the same data set"
            )


def _image_paths(folder: Path, image_ids: np.ndarray) -> list[str]:
    """Absolute paths of the JPEGs."""
    prefix = os.path.join(os.path.abspath(folder), "")
    return [f"{prefix}{image_id}.jpg" for image_id in image_ids.tolist()]


def _check_images(folder: Path, image_ids: np.ndarray) -> None:
    """One listing of the folder finds missing images before any work is done."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the image folder {folder} does not exist; put the JPEGs there or pass images=<folder>"
        )
    present = set(os.listdir(folder))
    missing = [name for name in (f"{image_id}.jpg" for image_id in image_ids.tolist()) if name not in present]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {len(missing)} of the split's {len(image_ids)} images, first {missing[:3]}; unpack all image "
            "archives of the data set into this one folder"
        )


# Splits ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _SceneGraphs:
    """The images of one split: flat boxes and relations, ordered by image, each with the position of its image."""

    rows: np.ndarray  # (n,) rows of the HDF5 file
    boxes_cxcywh: np.ndarray  # (b, 4)
    labels: np.ndarray  # (b,) 0-based
    box_owner: np.ndarray  # (b,) position of the box's image in `rows`
    relations: np.ndarray  # (r, 3) subject, object (within the image), predicate (0-based)
    relation_owner: np.ndarray  # (r,)

    @property
    def box_start(self) -> np.ndarray:
        """First flat box of every image (n,)."""
        return np.searchsorted(self.box_owner, np.arange(len(self.rows)))


def _split_flag(split: str) -> int:
    flags = {"train": TRAIN_FLAG, "val": VALIDATION_FLAG, "validation": VALIDATION_FLAG, "test": TEST_FLAG}
    if not isinstance(split, str) or split not in flags:
        raise ValueError(f"split must be one of {list(flags)}, got {split!r}")
    return flags[split]


def _rows_of_split(graphs: _Graphs, flag: int, num_validation: int | None, keep_empty: bool) -> np.ndarray:
    """Rows of the HDF5 file that belong to the split, in file order."""
    usable = graphs.box_span.count > 0
    if not keep_empty:
        usable &= graphs.relation_span.count > 0
    if num_validation is None or flag == TEST_FLAG:
        return np.flatnonzero(usable & (graphs.split == flag))
    if num_validation < 0:
        raise ValueError(f"num_validation_images must be None or at least 0, got {num_validation}")
    training = np.flatnonzero(usable & (graphs.split == TRAIN_FLAG))
    return training[num_validation:] if flag == TRAIN_FLAG else training[:num_validation]


def _empty_split_message(graphs: _Graphs, split: str, num_validation: int | None) -> str:
    flags, counts = np.unique(graphs.split, return_counts=True)
    return (
        f"{graphs.file}: no image with annotations is left in split '{split}' (images per flag of 'split': "
        f"{dict(zip(flags.tolist(), counts.tolist(), strict=True))}, num_validation_images = {num_validation}); "
        "choose num_validation_images smaller than the number of training images, or None to use the images flagged 1"
    )


def _select(graphs: _Graphs, rows: np.ndarray) -> _SceneGraphs:
    box_rows, box_owner = graphs.box_span.flat_rows(rows)
    relation_rows, relation_owner = graphs.relation_span.flat_rows(rows)
    image = rows[relation_owner]
    pairs = graphs.relationships[relation_rows] - graphs.box_span.first[image][:, None]
    outside = np.flatnonzero(((pairs < 0) | (pairs >= graphs.box_span.count[image][:, None])).any(axis=1))
    if len(outside):
        row, owner = relation_rows[outside[0]], image[outside[0]]
        first, count = graphs.box_span.first[owner], graphs.box_span.count[owner]
        raise ValueError(
            f"{graphs.file}, row {row} of 'relationships': {graphs.relationships[row].tolist()} must lie within the boxes "
            f"{first}..{first + count - 1} of its image (row {owner} of 'split'); the file is inconsistent"
        )
    relations = np.column_stack([pairs, graphs.predicates[relation_rows] - 1])
    return _SceneGraphs(
        rows, graphs.boxes_cxcywh[box_rows], graphs.labels[box_rows] - 1, box_owner, relations, relation_owner
    )


def _drop_non_overlapping(graphs: _SceneGraphs, keep_empty: bool) -> _SceneGraphs:
    """Without the relations of non-overlapping boxes and without the images that lost all their relations."""
    boxes = _corners(graphs.boxes_cxcywh)
    start = graphs.box_start[graphs.relation_owner]
    subject, object_ = boxes[start + graphs.relations[:, 0]], boxes[start + graphs.relations[:, 1]]
    overlap = np.minimum(subject[:, 2:], object_[:, 2:]) - np.maximum(subject[:, :2], object_[:, :2])
    keep = (overlap > 0).all(axis=1)

    had = np.bincount(graphs.relation_owner, minlength=len(graphs.rows)) > 0
    has = np.bincount(graphs.relation_owner[keep], minlength=len(graphs.rows)) > 0
    kept_image = has | (~had & keep_empty)
    position = np.cumsum(kept_image) - 1
    box_kept = kept_image[graphs.box_owner]
    return _SceneGraphs(
        graphs.rows[kept_image],
        graphs.boxes_cxcywh[box_kept],
        graphs.labels[box_kept],
        position[graphs.box_owner[box_kept]],
        graphs.relations[keep],
        position[graphs.relation_owner[keep]],
    )


def _corners(boxes_cxcywh: np.ndarray) -> np.ndarray:
    """Corners in the integers of the file: x1 = trunc(cx - w / 2) towards zero, x2 = x1 + w, as the published reader."""
    top_left = np.trunc(boxes_cxcywh[:, :2] - boxes_cxcywh[:, 2:] / 2).astype(np.int64)
    return np.concatenate([top_left, top_left + boxes_cxcywh[:, 2:]], axis=1)


# Arrow ----------------------------------------------------------------------------------------------------------------


def _build_dataset(
    graphs: _SceneGraphs, sizes: np.ndarray, paths: list[str], vocabulary: _Vocabulary, box_scale: int, split: str
) -> Dataset:
    features = scene_graph_features(vocabulary.objects, vocabulary.predicates)
    long_side = sizes[:, 1:].max(axis=1)[graphs.box_owner, None]
    boxes = _corners(graphs.boxes_cxcywh) / box_scale * long_side
    box_offsets = _offsets(graphs.box_owner, len(graphs.rows))
    relation_offsets = _offsets(graphs.relation_owner, len(graphs.rows))
    columns = {
        "image": pa.StructArray.from_arrays([pa.nulls(len(paths), pa.binary()), pa.array(paths)], ["bytes", "path"]),
        "image_id": pa.array(sizes[:, 0]),
        "width": pa.array(sizes[:, 1].astype(np.int32)),
        "height": pa.array(sizes[:, 2].astype(np.int32)),
        "objects": pa.StructArray.from_arrays(
            [
                pa.ListArray.from_arrays(box_offsets, _fixed_rows(boxes.astype(np.float32))),
                pa.ListArray.from_arrays(box_offsets, pa.array(graphs.labels)),
            ],
            ["bbox", "category"],
        ),
        "relations": pa.ListArray.from_arrays(relation_offsets, _fixed_rows(graphs.relations.astype(np.int32))),
        "predicates": pa.ListArray.from_arrays(relation_offsets, pa.array(graphs.relations[:, 2])),
    }
    table = pa.table(columns).cast(features.arrow_schema)
    name = "validation" if split == "val" else split
    return Dataset(table, info=DatasetInfo(features=features), split=NamedSplit(name))


def _offsets(owner: np.ndarray, num_images: int) -> pa.Array:
    """Arrow list offsets (num_images + 1,) of flat rows that are ordered by `owner`."""
    return pa.array(np.searchsorted(owner, np.arange(num_images + 1)).astype(np.int32))


def _fixed_rows(array: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])
