# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Scene graph data sets in the files that people have, read into one row format and written from it.

| format | files |
| --- | --- |
| `visual_genome`, `synthetic_genome` | Visual Genome's HDF5 layout under its own names, or those of generated sets |
| `coco` | COCO detection JSON with relations, also of RelTR, EGTR and OpenPSG |
| `imagefolder` | images with a `metadata.jsonl` |
| `arrow` | a folder of `Dataset.save_to_disk` or `DatasetDict.save_to_disk` |
| `parquet` | Parquet files, as `push_to_hub` makes them |
| `hub` | a repository of the Hub (read only) |

The modules in `speaq_hf.data.formats` describe each in full, `speaq_hf.data.visual_genome` describes the rows.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from datasets import Dataset, DatasetDict

from .defects import DefectLog, Place
from .formats import arrow, coco, genome, image_folder
from .formats.folder_writing import check_apart, new_folder
from .formats.graph_arrays import GraphArrays, Vocabulary
from .formats.image_files import row_in_words
from .formats.json_fields import class_names, split_name
from .formats.raw_split import RawSplit
from .formats.tolerance import Tolerance
from .missing_split import MissingSplitError


_GENOME_OPTIONS = frozenset(
    ("images", "annotations", "categories", "image_data", "num_validation_images", "keep_empty", "filter_non_overlap",
     "box_scale")
)  # fmt: skip

_VALIDATION_REMEDY = (
    '. Mark images for validation with "split": "val" in the lines of metadata.jsonl or in the images of a COCO file, or '
    "have training set some images aside with --data.num_validation_images N"
)


@dataclass(frozen=True)
class _Format:
    """How a format is recognised in a folder and by the suffix of a file, read, read with its defects, and written."""

    found_in: Callable[[Path], bool]
    read: Callable[..., dict[str, Dataset]]
    read_raw: Callable[..., list[RawSplit]] | None = None
    write: Callable[[dict[str, Dataset], Path], None] | None = None
    suffixes: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()


def _genome_found_in(naming: str, folder: Path) -> bool:
    return (folder / genome.FILES[naming].annotations).is_file()


_FORMATS = {
    "visual_genome": _Format(
        partial(_genome_found_in, "visual_genome"),
        partial(genome.read, naming="visual_genome"),
        None,
        genome.write,
        (".h5", ".hdf5"),
        _GENOME_OPTIONS,
    ),
    "synthetic_genome": _Format(
        partial(_genome_found_in, "synthetic_genome"),
        partial(genome.read, naming="synthetic_genome"),
        options=_GENOME_OPTIONS,
    ),
    "coco": _Format(coco.found_in, coco.read, coco.read_raw, coco.write, (".json",), frozenset(("images",))),
    "imagefolder": _Format(
        image_folder.found_in, image_folder.read, image_folder.read_raw, image_folder.write, (".jsonl",)
    ),
    "arrow": _Format(arrow.saved_in, arrow.read_saved, arrow.read_raw_saved, arrow.write_saved),
    "parquet": _Format(
        arrow.parquet_in, arrow.read_parquet, arrow.read_raw_parquet, arrow.write_parquet, (".parquet",)
    ),
}
WRITTEN_FORMATS = tuple(name for name, form in _FORMATS.items() if form.write)
_REPOSITORY = re.compile(r"\w[\w.-]*/[\w.-]+")


def load_scene_graphs(
    path: str | os.PathLike, split: str | None = None, *, format: str | None = None, **options: Any
) -> Dataset:
    """Reads one split of a scene graph data set in any known format.

    Args:
        path: Folder or file, or the name of a Hub repository, for example "owner/name".
        split: For example "train", "val" (or "validation"), "test". None: the only one there is.
        format: One of the module's table, where a folder holds several; None: recognised.
        **options: Of the format. `visual_genome` and `synthetic_genome`: those of `load_visual_genome`; `coco`: `images`, the
            folder of the images.

    Returns:
        Rows and features as `load_visual_genome` describes them.

    Raises:
        FileNotFoundError: There is no such file, folder or repository, or an image is missing.
        PermissionError: The Hub refuses the user's token.
        ConnectionError: The Hub cannot be reached.
        MissingSplitError: There is no such split, or not one image in it; a ValueError.
        ValueError: The format cannot be recognised, or a file is not what it should be; the message names file, row and field.
            Or the format has no such option.
    """
    name = None if split is None else split_name(split)
    datasets = _read(path, name, format, options)
    if name in datasets:
        return datasets[name]
    if name is None and len(datasets) == 1:
        return next(iter(datasets.values()))
    there = sorted(datasets if name is None else _read(path, None, format, options))
    wanted = "name one of its splits" if name is None else f"there is no split '{name}'"
    remedy = _VALIDATION_REMEDY if name == "validation" and "train" in there else ""
    raise MissingSplitError(f"{path}: {wanted}; it has {there}{remedy}")


def load_scene_graph_splits(path: str | os.PathLike, *, format: str | None = None, **options: Any) -> DatasetDict:
    """Reads all splits of a scene graph data set; arguments and errors are those of `load_scene_graphs`.

    Returns:
        The splits by name, all with the same vocabulary.
    """
    datasets = _read(path, None, format, options)
    _check_one_vocabulary(datasets, str(path))
    return DatasetDict(datasets)


def save_scene_graphs(
    datasets: Dataset | Mapping[str, Dataset], path: str | os.PathLike, format: str, *, overwrite: bool = False
) -> None:
    """Writes scene graphs with their images to a new folder, which `load_scene_graphs` reads again.

    Splits, ids, sizes, boxes (float32), classes, relations with their order and repetitions, and the vocabulary come back
    unchanged; `formats.genome.write` says what the integers of `visual_genome` cost, `formats.coco.write` names the one
    box that is not exact. Images that are JPEG or PNG files are copied byte for byte, others stored as PNG (`visual_genome`:
    JPEG only; `arrow` and `parquet`: any file unchanged), under their names (`visual_genome`: under their ids). The file formats store the columns of scene graphs only, `arrow` and
    `parquet` all columns.

    Args:
        datasets: Splits by name, or one dataset, whose split is "train" if it does not say.
        path: Folder to write; it appears when everything is written.
        format: One of `WRITTEN_FORMATS`.
        overwrite: Replace a folder that this function wrote and that holds nothing else.

    Raises:
        FileExistsError: The folder is there and not empty, or may not be overwritten: it holds other files, or those that
            the datasets read.
        FileNotFoundError: An image file is missing.
        ValueError: The rows are no scene graphs, a split is empty, or vocabularies differ.
    """
    if format not in WRITTEN_FORMATS:
        raise ValueError(f"format must be one of {', '.join(WRITTEN_FORMATS)}, got {format!r}")
    if isinstance(datasets, Dataset):
        datasets = {str(datasets.split or "train"): datasets}
    datasets = {split_name(name): dataset.with_format(None) for name, dataset in datasets.items()}
    _check_one_vocabulary(datasets, "datasets")
    for split, dataset in datasets.items():
        _check(dataset, split)
        check_apart(Path(path), _folders_in_use(dataset, Path(path)))
    with new_folder(Path(path), overwrite) as folder:
        _FORMATS[format].write(datasets, folder)


def convert_scene_graphs(
    source: str | os.PathLike,
    target: str | os.PathLike,
    format: str,
    *,
    source_format: str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> dict[str, int]:
    """Reads a set with all its splits and writes it in another format.

    Args:
        source: As for `load_scene_graphs`.
        target: Folder to write; neither the source nor within it, and not a folder that contains it.
        format: One of `WRITTEN_FORMATS`.
        source_format: Of the source, where it holds several.
        overwrite: As for `save_scene_graphs`.
        **options: Of the source's format.

    Returns:
        Images per split.

    Raises:
        FileExistsError: The target is there and may not be replaced, or it is not apart from the source.
        FileNotFoundError: The source is not there.
        ValueError: See `load_scene_graphs` and `save_scene_graphs`.
    """
    place = Path(source).expanduser()
    if place.exists():
        check_apart(Path(target), [place])
    splits = load_scene_graph_splits(source, format=source_format, **options)
    save_scene_graphs(splits, target, format, overwrite=overwrite)
    return {split: len(dataset) for split, dataset in splits.items()}


def recognise_format(path: str | os.PathLike) -> str:
    """The format of a folder, file or Hub repository, as `load_scene_graphs` takes it.

    Raises:
        FileNotFoundError: It is not there and no name of a repository; what lies in an existing folder is taken for a path.
        ValueError: No format fits, or several.
    """
    place = Path(path).expanduser()
    if not place.exists():
        if _REPOSITORY.fullmatch(os.fspath(path)) and not place.parent.is_dir():
            return "hub"
        raise FileNotFoundError(_missing_message(place))
    if place.is_dir():
        found = [name for name, form in _FORMATS.items() if form.found_in(place)]
        found = found or (["coco"] if coco.boxes_found_in(place) else [])
    else:
        found = [name for name, form in _FORMATS.items() if place.suffix in form.suffixes]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"{place} holds files of several formats, {' and '.join(found)}; set the format to one of them"
        )
    content = f"holds {sorted(os.listdir(place))[:10]}" if place.is_dir() else "is a file"
    raise ValueError(
        f"{place} {content}, which is no scene graph data set; the formats are {', '.join(_FORMATS)}, see the documentation "
        "of speaq_hf.data.scene_graph_files"
    )


def _missing_message(place: Path) -> str:
    names = [path.name for path in place.parent.iterdir()] if place.parent.is_dir() else []
    similar = difflib.get_close_matches(place.name, names, n=1)
    hint = f"; similar: {place.parent / similar[0]}" if similar else ""
    if _REPOSITORY.fullmatch(str(place)) and place.parent.is_dir():
        hint += "; for a Hub repository of this name set the format to hub"
    return f"there is no file or folder {place}{hint}"


def read_raw_splits(
    path: str | os.PathLike, format: str, log: DefectLog, options: Mapping[str, Any]
) -> list[RawSplit]:
    """Reads a set as far as it can be read and notes what cannot; the splits are not checked yet.

    Args:
        path: As for `load_scene_graphs`.
        format: Any but those of Visual Genome's files.
        log: Takes the defects.
        options: Of the format.

    Raises:
        FileNotFoundError: There is no such file, folder or repository.
        PermissionError, ConnectionError: As for `load_scene_graphs`.
        ValueError: There is no such format or option.
    """
    place = _checked_place(path, format, options)
    if place is None:
        return arrow.raw_splits(arrow.load_hub(os.fspath(path)), os.fspath(path), log)
    with Tolerance(log).of("unreadable_file", Place(str(place), str(place))):
        return _FORMATS[format].read_raw(place, log, **options)
    return []


def _read(
    path: str | os.PathLike, split: str | None, format: str | None, options: dict[str, Any]
) -> dict[str, Dataset]:
    format = recognise_format(path) if format is None else format
    place = _checked_place(path, format, options)
    if place is None:
        return arrow.read_hub(os.fspath(path), split)
    return _FORMATS[format].read(place, split, **options)


def _checked_place(path: str | os.PathLike, format: str, options: Mapping[str, Any]) -> Path | None:
    """The file or folder, None for a repository; an error if the format or an option is unknown or nothing is there."""
    if format != "hub" and format not in _FORMATS:
        raise ValueError(f"format must be one of {', '.join([*_FORMATS, 'hub'])}, got {format!r}")
    known = frozenset() if format == "hub" else _FORMATS[format].options
    unknown = sorted(options.keys() - known)
    if unknown:
        raise ValueError(f"the format {format} has no option {', '.join(unknown)}; its options are {sorted(known)}")
    if format == "hub":
        return None
    place = Path(os.path.abspath(Path(path).expanduser()))
    if not place.exists():
        raise FileNotFoundError(_missing_message(place))
    return place


def _check_one_vocabulary(datasets: Mapping[str, Dataset], where: str) -> None:
    if not datasets:
        raise ValueError(f"{where}: there is no split")
    (first, vocabulary), *others = [(split, Vocabulary.of(dataset)) for split, dataset in datasets.items()]
    for split, other in others:
        for kind in ("objects", "predicates"):
            names, expected = getattr(other, kind), getattr(vocabulary, kind)
            if names != expected:
                only = sorted(set(names) ^ set(expected))
                raise ValueError(
                    f"{where}: splits '{first}' and '{split}' have different {kind} ({len(expected)} and {len(names)} names, "
                    f"{f'only in one of them: {only[:5]}' if only else 'in another order'}); give both one vocabulary"
                )


def _folders_in_use(dataset: Dataset, target: Path) -> list[Path]:
    """Folders in or below `target` with image files and tables of a dataset: replacing the target would delete them."""
    tables = [file["filename"] for file in dataset.cache_files]
    images = pc.unique(pc.struct_field(dataset.data.column("image"), "path")).to_pylist()
    folders = {Path(os.path.dirname(name)) for name in [*tables, *images] if name and os.path.isabs(name)}
    target = target.resolve()
    return [folder for folder in folders if target in (resolved := folder.resolve(), *resolved.parents)]


def _check(dataset: Dataset, split: str) -> None:
    if not len(dataset):
        raise ValueError(f"split '{split}' has no images")
    vocabulary = Vocabulary.of(dataset)
    for kind, names in vars(vocabulary).items():
        class_names(names, f"split '{split}', {kind}", least=int(kind == "objects"))
    try:
        GraphArrays.from_dataset(dataset).check(vocabulary, lambda row: row_in_words(dataset, row))
    except ValueError as error:
        raise ValueError(f"split '{split}', {error}") from error
