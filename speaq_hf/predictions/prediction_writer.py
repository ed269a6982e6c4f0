# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Writing predicted scene graphs to a file."""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from ..complete_files import CompleteFileWriter
from ..scene_graph import SceneGraph
from . import jsonl, sgbench


class PredictionWriter(CompleteFileWriter):
    """A file of predictions that appears when all are written, complete or not at all. Without any image it is an empty file
    of the format, which `read_predictions` refuses.

        with PredictionWriter("predictions.jsonl") as writer:
            for image_id, graph in ...:
                writer.write(image_id, graph)

    Args:
        path: The file; missing folders are made, a file that is there is replaced in the end.
        format: "jsonl" (every field of the graphs), "sgbench" (no scores) or "coco" (no `predicate_probabilities`). Only
            "coco" keeps what it writes in memory.
        predicate_probabilities: Write them, too, where the format can; see `SceneGraph.to_jsonl`.

    Raises:
        ValueError: The format is unknown.
    """

    def __init__(self, path: str | os.PathLike, format: str = "jsonl", predicate_probabilities: bool = True) -> None:
        layouts = {
            "jsonl": lambda file: _Lines(file, predicate_probabilities),
            "sgbench": _SGBench,
            "coco": _Coco,
        }
        if format not in layouts:
            raise ValueError(f"format must be one of {', '.join(layouts)}, got {format!r}")
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.unfinished")
        self._file = open(self._temporary, "w", encoding="utf-8")
        self._layout = layouts[format](self._file)
        self._image_ids: set[str] = set()
        self._vocabulary: tuple[dict[int, str], dict[int, str]] | None = None

    def write(self, image_id: int | str, graph: SceneGraph) -> None:
        """Adds the graph of an image.

        Args:
            image_id: As the ground truth has it.
            graph: Its graph; all graphs of a file have the same classes.

        Raises:
            TypeError: The id is neither an integer nor a text.
            ValueError: The image is there already, or the classes differ from those of the graphs before.
        """
        if not isinstance(image_id, str):
            image_id = operator.index(image_id)  # JSON knows no integers of numpy, of which columns of ids are made
        if str(image_id) in self._image_ids:
            raise ValueError(f"{self.path}: image {image_id!r} is written already")
        if self._vocabulary is None:
            self._vocabulary = graph.id2label, graph.id2predicate
            self._layout.begin(*self._vocabulary)
        elif self._vocabulary != (graph.id2label, graph.id2predicate):
            raise ValueError(f"{self.path}, image {image_id!r}: its classes are not those of the images before")
        self._layout.add(image_id, graph)
        self._image_ids.add(str(image_id))

    def close(self) -> None:
        """Finishes the file and gives it its name."""
        self._layout.end()
        self._file.close()
        os.replace(self._temporary, self.path)

    def discard(self) -> None:
        """Removes what was written."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


class _Lines:
    def __init__(self, file: TextIO, predicate_probabilities: bool) -> None:
        self._file, self._probabilities = file, predicate_probabilities

    def begin(self, id2label: Mapping[int, str], id2predicate: Mapping[int, str]) -> None:
        self._file.write(jsonl.vocabulary_line(id2label, id2predicate) + "\n")

    def add(self, image_id: int | str, graph: SceneGraph) -> None:
        self._file.write(graph.to_jsonl(image_id, self._probabilities) + "\n")

    def end(self) -> None:
        pass


class _SGBench:
    def __init__(self, file: TextIO) -> None:
        self._file, self._separator = file, "\n"
        file.write(f'{{"version": {sgbench.VERSION}, "images": [')

    def begin(self, id2label: Mapping[int, str], id2predicate: Mapping[int, str]) -> None:
        pass  # the format names no classes

    def add(self, image_id: int | str, graph: SceneGraph) -> None:
        self._file.write(self._separator + json.dumps(graph.to_sgbench(image_id)))
        self._separator = ",\n"

    def end(self) -> None:
        self._file.write("\n]}\n")


class _Coco:
    def __init__(self, file: TextIO) -> None:
        self._file = file
        sections = ("categories", "rel_categories", "images", "annotations", "rel_annotations")
        self._content: dict[str, list[dict[str, Any]]] = {section: [] for section in sections}

    def begin(self, id2label: Mapping[int, str], id2predicate: Mapping[int, str]) -> None:
        classes = {"categories": id2label, "rel_categories": id2predicate}
        self._content |= {
            key: [{"id": number, "name": name} for number, name in names.items()] for key, names in classes.items()
        }

    def add(self, image_id: int | str, graph: SceneGraph) -> None:
        """Keeps an image's entries until the end: each section of the file holds those of all images."""
        height, width = graph.image_size
        self._content["images"].append({"id": image_id, "width": width, "height": height})
        entry, objects = graph.to_coco(image_id), self._content["annotations"]
        first = len(objects) + 1
        objects += _numbered(entry["annotations"], first, image_id)
        relations = [
            {"subject_id": first + subject, "object_id": first + object_, "predicate_id": predicate, "score": score}
            for (subject, object_, predicate), score in zip(entry["relations"], entry["relation_scores"], strict=True)
        ]
        self._content["rel_annotations"] += _numbered(relations, len(self._content["rel_annotations"]) + 1, image_id)

    def end(self) -> None:
        json.dump(self._content, self._file)


def _numbered(entries: list[dict[str, Any]], first: int, image_id: int | str) -> Iterator[dict[str, Any]]:
    for number, entry in enumerate(entries, start=first):
        yield {"id": number, "image_id": image_id, **entry}
