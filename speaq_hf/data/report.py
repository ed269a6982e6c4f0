# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The report on one data set, or on two side by side: numbers, differences, samples, and all that is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from PIL import Image, ImageOps

from ..scene_graph import SceneGraph
from .defects import DefectLog
from .genome_inspection import inspect_genome
from .raw_genome import GenomeFiles, find_genome_files
from .scene_graph_files import load_scene_graph_splits, recognise_format
from .scene_graph_table import SceneGraphTable
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
        defects: What is wrong with its files; None: not looked for (only files are inspected, not datasets in memory).
        summary: Its numbers, defective rows left out; None if its annotations cannot be made sense of.
        samples: A few of its pictures.
    """

    name: str
    defects: DefectLog | None
    summary: SetSummary | None
    samples: list[SampleGraph]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the samples, ready for JSON."""
        defects = (
            None
            if self.defects is None
            else {
                "errors": self.defects.num_errors,
                "warnings": self.defects.num_warnings,
                "kinds": [kind | {"listed": [asdict(d) for d in kind["listed"]]} for kind in self.defects.by_kind()],
            }
        )
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
        return sum(reported.defects.num_errors for reported in self.sets if reported.defects is not None)

    def to_dict(self) -> dict[str, Any]:
        """The report without its pictures, ready for JSON."""
        comparison = None
        if self.objects is not None and self.predicates is not None:
            comparison = {"objects": self.objects.to_dict(), "predicates": self.predicates.to_dict()}
        return {"sets": [reported.to_dict() for reported in self.sets], "comparison": comparison}


def report_data(
    *sources: Source,
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
            Defects are looked for in Visual Genome's files; the readers of other formats refuse them.
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
        ValueError: A set in another format has a defect.
    """
    if len(sources) not in (1, 2):
        raise ValueError(f"expected one or two data sets, got {len(sources)}")
    if num_samples < 0:
        raise ValueError(f"num_samples must be at least 0, got {num_samples}")
    options = {"decode_images": decode_images, "max_listed": max_listed, "num_threads": num_threads}
    opened = [_open(source) for source in sources]
    sets = []
    for name, source, content in zip(_names(sources), sources, opened, strict=True):
        if isinstance(content, GenomeFiles):
            files = content if images is None else replace(content, images=images)
            found = inspect_genome(source, files, progress=progress, **options)
            sets.append(_reported_set(name, found.table, found.defects, _file_opener(found.image_paths), num_samples))
        else:
            table = SceneGraphTable.from_datasets(content)
            sets.append(_reported_set(name, table, None, _row_opener(content), num_samples))
    summaries = [reported.summary for reported in sets]
    if len(sets) < 2 or None in summaries:
        return DataReport(sets, None, None)
    first, second = summaries
    return DataReport(
        sets,
        compare_classes(first.objects, second.objects),
        compare_classes(first.predicates, second.predicates),
    )


def _open(source: Source) -> GenomeFiles | Mapping[str, Dataset]:
    """The names of Visual Genome's files in a folder, to be inspected one by one; or the splits of any other set."""
    if isinstance(source, Mapping):
        return source
    if isinstance(source, Dataset):
        return {str(source.split or "all"): source}
    try:
        return find_genome_files(source)
    except FileNotFoundError as error:
        try:
            format = recognise_format(str(source))
        except (FileNotFoundError, ValueError):
            raise error from None
        return load_scene_graph_splits(source, format=format)


def report_json(report: DataReport) -> str:
    """The report as JSON, without its pictures."""
    return json.dumps(report.to_dict(), indent=2, ensure_ascii=False) + "\n"


def _names(sources: tuple[Source, ...]) -> list[str]:
    """Short names that differ: the folders' last parts, or whole paths, or with a number."""
    paths = [Path(s).resolve() if isinstance(s, (str, os.PathLike)) else None for s in sources]
    short = [f"set {i}" if path is None else path.name for i, path in enumerate(paths, start=1)]
    names = short if len(set(short)) == len(short) else [str(path) for path in paths]
    return names if len(set(names)) == len(names) else [f"{name} ({i})" for i, name in enumerate(names, start=1)]


def _reported_set(
    name: str,
    table: SceneGraphTable | None,
    defects: DefectLog | None,
    open_image: Callable[[int], Image.Image | None],
    num_samples: int,
) -> ReportedSet:
    if table is None:
        return ReportedSet(name, defects, None, [])
    return ReportedSet(name, defects, summarize_set(table), _draw_samples(table, open_image, num_samples))


def _draw_samples(
    table: SceneGraphTable, open_image: Callable[[int], Image.Image | None], num_samples: int
) -> list[SampleGraph]:
    """Images with relations at even distances, each if need be replaced by the next that can be opened."""
    candidates = np.flatnonzero(table.relations_per_image).tolist()
    samples = []
    for part in np.array_split(candidates, num_samples) if num_samples else []:
        opened = ((image, open_image(image)) for image in part.tolist()[:10])
        sample = next((_sample(table, position, picture) for position, picture in opened if picture is not None), None)
        samples += [sample] if sample is not None else []
    return samples


def _sample(table: SceneGraphTable, position: int, picture: Image.Image) -> SampleGraph:
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
    return SampleGraph(f"image {table.image_ids[position]} ({split})", picture, graph)


def _file_opener(paths: list[Path | None]) -> Callable[[int], Image.Image | None]:
    def open_image(position: int) -> Image.Image | None:
        if paths[position] is None:
            return None
        try:
            with Image.open(paths[position]) as image:
                return ImageOps.exif_transpose(image).convert("RGB")
        except Exception:  # decoders raise whatever they stumble over; without decoding, no file was tried before
            return None

    return open_image


def _row_opener(splits: Mapping[str, Dataset]) -> Callable[[int], Image.Image | None]:
    first_rows = np.cumsum([0, *(len(split) for split in splits.values())])
    parts = list(splits.values())

    def open_image(position: int) -> Image.Image | None:
        part = int(np.searchsorted(first_rows, position, side="right")) - 1
        if "image" not in parts[part].column_names:
            return None
        row = parts[part].select_columns(["image"]).with_format(None)[position - int(first_rows[part])]
        return None if row["image"] is None else row["image"].convert("RGB")

    return open_image
