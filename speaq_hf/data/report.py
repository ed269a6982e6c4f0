# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The report on one data set, or on two side by side: numbers, differences, samples, and all that is wrong."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from PIL import Image, ImageOps

from ..scene_graph import SceneGraph
from .defects import DefectLog
from .formats.arrow import raw_splits
from .formats.genome import FILES as GENOME_FILES
from .formats.raw_split import RawSplit
from .genome_inspection import inspect_genome
from .graph_inspection import SetInspection, inspect_splits
from .image_inspection import ImageFile
from .raw_genome import find_genome_files
from .scene_graph_files import read_raw_splits, recognise_format
from .set_comparison import ClassComparison, compare_classes
from .set_summary import SetSummary, summarize_set


Source = str | os.PathLike | Dataset | Mapping[str, Dataset]


@dataclass(frozen=True)
class SampleGraph:
    """A picture of a set and its annotation."""

    name: str
    image: Image.Image
    graph: SceneGraph


@dataclass(frozen=True)
class ReportedSet:
    """One data set of a report.

    Args:
        name: How the report calls it.
        defects: What is wrong with it.
        summary: Its numbers, defective rows left out; None if its annotations cannot be made sense of.
        samples: A few of its pictures.
    """

    name: str
    defects: DefectLog
    summary: SetSummary | None
    samples: list[SampleGraph]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the samples, ready for JSON."""
        defects = {
            "errors": self.defects.num_errors,
            "warnings": self.defects.num_warnings,
            "kinds": [kind | {"listed": [asdict(d) for d in kind["listed"]]} for kind in self.defects.by_kind()],
        }
        return {
            "name": self.name,
            "defects": defects,
            "summary": None if self.summary is None else self.summary.to_dict(),
        }


@dataclass(frozen=True)
class DataReport:
    """What `report_data` found.

    Args:
        sets: One or two sets.
        objects: How the object classes of two sets differ; None for one set, or without a summary of both.
        predicates: The same of the predicates.
    """

    sets: list[ReportedSet]
    objects: ClassComparison | None
    predicates: ClassComparison | None

    @property
    def num_errors(self) -> int:
        """Number of defects of all sets that are errors."""
        return sum(reported.defects.num_errors for reported in self.sets)

    def to_dict(self) -> dict[str, Any]:
        """The report without its pictures, ready for JSON."""
        comparison = None
        if self.objects is not None and self.predicates is not None:
            comparison = {"objects": self.objects.to_dict(), "predicates": self.predicates.to_dict()}
        return {"sets": [reported.to_dict() for reported in self.sets], "comparison": comparison}


def report_data(
    *sources: Source,
    format: str | None = None,
    images: str | None = None,
    decode_images: bool = True,
    num_samples: int = 6,
    max_listed: int = 20,
    num_threads: int | None = None,
    progress: bool = False,
) -> DataReport:
    """Inspects, counts and compares data sets.

    Args:
        sources: One or two sets: a folder with Visual Genome's files (under their own or the synthetic names), anything
            else that `load_scene_graphs` reads, a scene graph dataset, or a mapping of split names to such datasets.
        format: Of the folders, as `load_scene_graphs` takes it; None: recognised, Visual Genome's files before others.
        images: Folder of the image files below a folder; default as the readers take it.
        decode_images: Read every image file to find unreadable ones, wrong sizes and duplicates.
        num_samples: Pictures per set.
        max_listed: How many defects of one kind are worded; all are counted.
        num_threads: Threads that decode; default some more than cores.
        progress: Show a progress bar while decoding.

    Returns:
        The report.

    Raises:
        ValueError: There are not one or two sources, or a number is out of range.
        FileNotFoundError: A folder holds none of the files that make up a set.
        ValueError: The format of a folder cannot be recognised, or has no option `images`.
    """
    if len(sources) not in (1, 2):
        raise ValueError(f"expected one or two data sets, got {len(sources)}")
    if num_samples < 0:
        raise ValueError(f"num_samples must be at least 0, got {num_samples}")
    options = {"decode_images": decode_images, "num_threads": num_threads, "progress": progress}
    formats = [_format(source, format) for source in sources]
    sets = []
    for name, source, found in zip(_names(sources), sources, formats, strict=True):
        log = DefectLog(max_listed)
        if found in GENOME_FILES:
            inspected = _inspect_genome(source, found, images, log, options)
        else:
            inspected = inspect_splits(_raw_splits(name, source, found, images, log), log, **options)
        sets.append(_reported_set(name, inspected, log, num_samples))
    summaries = [reported.summary for reported in sets]
    if len(sets) < 2 or None in summaries:
        return DataReport(sets, None, None)
    first, second = summaries
    return DataReport(
        sets,
        compare_classes(first.objects, second.objects),
        compare_classes(first.predicates, second.predicates),
    )


def _format(source: Source, format: str | None) -> str | None:
    """The format of a folder, file or repository; None for datasets."""
    if isinstance(source, (Dataset, Mapping)):
        return None
    if format is not None:
        return format
    try:
        names = find_genome_files(source)  # also where files are missing, which is to be reported
        return next(name for name, files in GENOME_FILES.items() if files == names)
    except FileNotFoundError as error:
        try:
            return recognise_format(str(source))
        except (FileNotFoundError, ValueError) as reason:
            if Path(source).is_dir() and "several formats" not in str(reason):
                raise error from None
            raise


def _inspect_genome(
    source: str | os.PathLike, format: str, images: str | None, log: DefectLog, options: Mapping[str, Any]
) -> SetInspection:
    files = GENOME_FILES[format] if images is None else replace(GENOME_FILES[format], images=images)
    found = inspect_genome(source, files, log=log, **options)
    image_files = [None if path is None else ImageFile(str(path), path.read_bytes) for path in found.image_paths]
    ids = [] if found.table is None else found.table.image_ids.tolist()
    return SetInspection(found.table, image_files, [f"{image_id}.jpg" for image_id in ids])


def _raw_splits(name: str, source: Source, format: str | None, images: str | None, log: DefectLog) -> list[RawSplit]:
    if isinstance(source, Dataset):
        source = {str(source.split or "all"): source}
    if isinstance(source, Mapping):
        return raw_splits(source, name, log)
    return read_raw_splits(source, format, log, {} if images is None else {"images": images})


def report_json(report: DataReport) -> str:
    """The report as JSON, without its pictures."""
    return json.dumps(report.to_dict(), indent=2, ensure_ascii=False) + "\n"


def _names(sources: tuple[Source, ...]) -> list[str]:
    """Short names that differ: the folders' last parts, or whole paths, or with a number."""
    paths = [Path(s).resolve() if isinstance(s, (str, os.PathLike)) else None for s in sources]
    short = [f"set {i}" if path is None else path.name for i, path in enumerate(paths, start=1)]
    names = short if len(set(short)) == len(short) else [str(path) for path in paths]
    return names if len(set(names)) == len(names) else [f"{name} ({i})" for i, name in enumerate(names, start=1)]


def _reported_set(name: str, found: SetInspection, log: DefectLog, num_samples: int) -> ReportedSet:
    if found.table is None:
        return ReportedSet(name, log, None, [])
    return ReportedSet(name, log, summarize_set(found.table), _draw_samples(found, num_samples))


def _draw_samples(found: SetInspection, num_samples: int) -> list[SampleGraph]:
    """Images with relations at even distances, each if need be replaced by the next that can be opened."""
    candidates = np.flatnonzero(found.table.relations_per_image).tolist()
    samples = []
    for part in np.array_split(candidates, num_samples) if num_samples else []:
        opened = ((image, _opened(found.image_files[image])) for image in part.tolist()[:10])
        sample = next((_sample(found, position, picture) for position, picture in opened if picture is not None), None)
        samples += [sample] if sample is not None else []
    return samples


def _sample(found: SetInspection, position: int, picture: Image.Image) -> SampleGraph:
    table = found.table
    boxes, labels, relations = table.graph(position)
    graph = SceneGraph.from_annotation(
        boxes.copy(),
        labels,
        relations,
        (picture.height, picture.width),
        dict(enumerate(table.object_names)),
        dict(enumerate(table.predicate_names)),
    )
    split = table.split_names[table.image_split[position]]
    return SampleGraph(f"{found.image_names[position]} ({split})", picture, graph)


def _opened(file: ImageFile | None) -> Image.Image | None:
    if file is None:
        return None
    try:
        with Image.open(io.BytesIO(file.read())) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except Exception:  # decoders raise whatever they stumble over; without decoding, no file was tried before
        return None
