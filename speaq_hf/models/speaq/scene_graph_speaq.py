# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The scene graph of one image: objects, and relations between them, as plain CPU tensors."""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


# Name -> (dtype, size of the last dimension; None = one value per row, "P+1" = predicates and background).
_OBJECT_FIELDS = {"boxes": (torch.float32, 4), "labels": (torch.int64, None), "scores": (torch.float32, None)}
_RELATION_FIELDS = {
    "relations": (torch.int64, 3),
    "relation_scores": (torch.float32, None),
    "predicate_probabilities": (torch.float32, "P+1"),
    "query_indices": (torch.int64, None),
}


class Triplet(NamedTuple):
    """One relation in words: `man riding horse`, with the scores and boxes behind it.

    Boxes are (x1, y1, x2, y2) in pixels. `score` is the score of the whole triplet.
    """

    subject: str
    predicate: str
    object: str
    score: float
    subject_score: float
    object_score: float
    subject_box: tuple[float, float, float, float]
    object_box: tuple[float, float, float, float]

    def __str__(self) -> str:
        return f"{self.subject} {self.predicate} {self.object} ({self.score:.2f})"


@dataclass(eq=False, repr=False)
class SceneGraph:
    """Objects of one image and the relations between them.

    Everything array-like is accepted, checked, and kept as a CPU tensor.

    Args:
        boxes: `(n, 4)` corners (x1, y1, x2, y2) in pixels of the original image.
        labels: `(n,)` object classes, keys of `id2label`.
        scores: `(n,)` object probabilities in [0, 1].
        relations: `(k, 3)` rows (subject, object, predicate), best first: two row numbers of `boxes` and a key of
            `id2predicate`.
        relation_scores: `(k,)` subject x predicate x object probability of the query behind the relation.
        predicate_probabilities: `(k, P+1)` softmax over all predicates; the last column is "no relation".
        query_indices: `(k,)` the relation query each relation came from; -1 where there is none (annotations).
        image_size: (height, width) in pixels, each at least 1.
        id2label: Object class names.
        id2predicate: Predicate names.

    Raises:
        ValueError: A shape is wrong, a number not finite, the lengths disagree, or an index or class does not exist.
        TypeError: An integer field holds floats.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    relations: Tensor
    relation_scores: Tensor
    predicate_probabilities: Tensor
    query_indices: Tensor
    image_size: tuple[int, int]
    id2label: dict[int, str]
    id2predicate: dict[int, str]

    def __post_init__(self) -> None:
        self.id2label, self.id2predicate = _int_keys(self.id2label), _int_keys(self.id2predicate)
        self.image_size = _as_image_size(self.image_size)
        if sorted(self.id2predicate) != list(range(len(self.id2predicate))):
            raise ValueError("SceneGraph: the keys of `id2predicate` must be 0, 1, ..., P-1 without gaps.")
        self._check_fields(_OBJECT_FIELDS, count_of="boxes")
        self._check_fields(_RELATION_FIELDS, count_of="relations")
        _check_keys("labels", self.labels, self.id2label, "id2label")
        _check_keys("relations[:, 2]", self.relations[:, 2], self.id2predicate, "id2predicate")
        _check_indices("relations[:, :2]", self.relations[:, :2], len(self.boxes))

    def _check_fields(self, fields: Mapping[str, tuple[torch.dtype, int | str | None]], count_of: str) -> None:
        for name, (dtype, last_dim) in fields.items():
            if last_dim == "P+1":
                last_dim = len(self.id2predicate) + 1
            tensor = _as_tensor(name, getattr(self, name), dtype, () if last_dim is None else (last_dim,))
            setattr(self, name, tensor)
            count = len(getattr(self, count_of))
            if len(tensor) != count:
                raise ValueError(f"SceneGraph: `{name}` has {len(tensor)} rows but `{count_of}` has {count}.")

    @classmethod
    def from_annotation(
        cls,
        boxes: Any,
        labels: Any,
        relations: Any,
        image_size: Sequence[int],
        id2label: Mapping[int, str],
        id2predicate: Mapping[int, str],
    ) -> SceneGraph:
        """Makes the true graph of an annotated image: every score is 1.

        Args:
            boxes: `(n, 4)` (x1, y1, x2, y2) in pixels.
            labels: `(n,)` object classes.
            relations: `(k, 3)` rows (subject, object, predicate).
            image_size: (height, width) in pixels.
            id2label: Object class names.
            id2predicate: Predicate names.

        Returns:
            A graph that can be drawn, compared and evaluated like a predicted one.
        """
        id2predicate = _int_keys(id2predicate)
        relations = _as_tensor("relations", relations, torch.int64, (3,))
        _check_keys("relations[:, 2]", relations[:, 2], id2predicate, "id2predicate")
        return cls(
            boxes=boxes,
            labels=labels,
            scores=torch.ones(len(labels)),
            relations=relations,
            relation_scores=torch.ones(len(relations)),
            predicate_probabilities=torch.eye(len(id2predicate) + 1)[relations[:, 2]],
            query_indices=torch.full((len(relations),), -1),
            image_size=image_size,
            id2label=id2label,
            id2predicate=id2predicate,
        )

    def __len__(self) -> int:
        """Number of relations."""
        return len(self.relations)

    def __repr__(self) -> str:
        height, width = self.image_size
        head = f"{len(self.boxes)} objects, {len(self)} relations, image {height}x{width}"
        shown = ", ".join(map(str, self.top(3).triplets()))
        return f"SceneGraph({head}{': ' if shown else ''}{shown}{', ...' if len(self) > 3 else ''})"

    def triplets(self) -> list[Triplet]:
        """The relations in words, in the order of `relations`."""
        names = [self.id2label[label] for label in self.labels.tolist()]
        boxes, scores = [tuple(box) for box in self.boxes.tolist()], self.scores.tolist()
        return [
            Triplet(names[s], self.id2predicate[p], names[o], score, scores[s], scores[o], boxes[s], boxes[o])
            for (s, o, p), score in zip(self.relations.tolist(), self.relation_scores.tolist(), strict=True)
        ]

    def top(self, k: int, keep_isolated: bool = False) -> SceneGraph:
        """The first `k` relations and their objects.

        Args:
            k: Number of relations to keep, at least 0. A graph with fewer keeps all.
            keep_isolated: Keep objects that take part in no kept relation.

        Returns:
            A new graph.

        Raises:
            ValueError: `k` is negative.
        """
        if k < 0:
            raise ValueError(f"SceneGraph.top: k must be at least 0, got {k}.")
        objects = torch.ones(len(self.boxes), dtype=torch.bool)
        return self._select(objects, torch.arange(len(self)) < k, keep_isolated)

    def filter(
        self,
        *,
        min_score: float = 0.0,
        min_object_score: float = 0.0,
        labels: Iterable[str | int] | None = None,
        predicates: Iterable[str | int] | None = None,
        keep_isolated: bool = False,
    ) -> SceneGraph:
        """Keeps the objects and relations that meet every given condition.

        A relation needs both its objects: it goes with either of them. An object that takes part in no kept relation
        goes too, unless `keep_isolated`. The order is kept and `relations` is re-numbered.

        Args:
            min_score: Lowest relation score kept, in [0, 1].
            min_object_score: Lowest object score kept, in [0, 1].
            labels: Object classes to keep, names or ids; `None` keeps all.
            predicates: Predicates to keep, names or ids; `None` keeps all.
            keep_isolated: Keep objects that meet the conditions but have no relation.

        Returns:
            A new graph.

        Raises:
            ValueError: A class or predicate is unknown to this graph.
            TypeError: `labels` or `predicates` is a single class.
        """
        objects = self.scores >= min_object_score
        relations = self.relation_scores >= min_score
        if labels is not None:
            objects &= torch.isin(self.labels, _class_ids(labels, self.id2label, "labels"))
        if predicates is not None:
            relations &= torch.isin(self.relations[:, 2], _class_ids(predicates, self.id2predicate, "predicates"))
        return self._select(objects, relations, keep_isolated)

    def _select(self, objects: Tensor, relations: Tensor, keep_isolated: bool) -> SceneGraph:
        """Sub-graph of the objects `(n,)` and relations `(k,)` whose mask is true."""
        relations = relations & objects[self.relations[:, :2]].all(dim=1)
        if not keep_isolated:
            in_relation = torch.zeros_like(objects)
            in_relation[self.relations[relations, :2].flatten()] = True
            objects = objects & in_relation
        new_index = objects.cumsum(0) - 1  # valid where `objects` is true
        kept = {name: getattr(self, name)[objects] for name in _OBJECT_FIELDS}
        kept |= {name: getattr(self, name)[relations] for name in _RELATION_FIELDS}
        kept["relations"] = torch.cat([new_index[kept["relations"][:, :2]], kept["relations"][:, 2:]], dim=1)
        return SceneGraph(**kept, image_size=self.image_size, id2label=self.id2label, id2predicate=self.id2predicate)

    def to_dict(self) -> dict[str, Any]:
        """The fields as lists, numbers and strings, ready for JSON; `from_dict` restores them exactly."""
        fields = {name: getattr(self, name).tolist() for name in (*_OBJECT_FIELDS, *_RELATION_FIELDS)}
        return fields | {
            "image_size": list(self.image_size),
            "id2label": {str(key): name for key, name in self.id2label.items()},
            "id2predicate": {str(key): name for key, name in self.id2predicate.items()},
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> SceneGraph:
        """Restores a graph from `to_dict`, also after a trip through JSON.

        Args:
            fields: One entry per field; other keys are an error.

        Returns:
            The graph.

        Raises:
            ValueError: A field is missing, unknown or malformed.
        """
        expected = set(cls.__dataclass_fields__)
        if set(fields) != expected:
            missing, unknown = sorted(expected - set(fields)), sorted(set(fields) - expected)
            raise ValueError(f"SceneGraph.from_dict: missing fields {missing}, unknown fields {unknown}.")
        return cls(**fields)

    def to_jsonl(self, image_id: int | str, predicate_probabilities: bool = True) -> str:
        """One line of a prediction file as `speaq evaluate` reads it; `speaq_hf.predictions.jsonl` describes it.

        The vocabularies are not in it: `speaq_hf.predictions.PredictionWriter` writes whole files.

        Args:
            image_id: Of the image, as the ground truth has it.
            predicate_probabilities: Write them, too. They are nine tenths of the line; without them, only the relations
                themselves compete when recall is measured without graph constraint.

        Returns:
            JSON without a line break, from which every field comes back exactly.
        """
        fields = self.to_dict()
        del fields["id2label"], fields["id2predicate"]
        for name in ("scores", "relation_scores", "predicate_probabilities"):
            fields[name] = _shortest_decimals(getattr(self, name))
        if not predicate_probabilities:
            del fields["predicate_probabilities"]
        return json.dumps({"image_id": image_id, **fields}, allow_nan=False)

    def to_sgbench(self, image_id: int | str, max_unconstrained: int = 100) -> dict[str, Any]:
        """The image's entry in a prediction file of SGBench (Lorenz et al., 2024), which knows no scores.

        Args:
            image_id: Of the image, as SGBench's ground truth has it.
            max_unconstrained: Largest number of `ng_triplets`, the best combinations of a pair and a predicate.

        Returns:
            `id`, `annotation` (dicts with `category` and `bbox` (x1, y1, x2, y2)), `triplets` and `ng_triplets`.

        Raises:
            ImportError: speaq_hf is not installed.
        """
        try:
            from speaq_hf.metrics.candidates import best_unconstrained
        except ImportError as error:
            raise ImportError(f"SceneGraph.to_sgbench needs `pip install speaq_hf` ({error}).") from error
        objects = zip(self.labels.tolist(), self.boxes.tolist(), strict=True)
        return {
            "id": image_id,
            "annotation": [{"category": label, "bbox": box} for label, box in objects],
            "triplets": self.relations.tolist(),
            "ng_triplets": best_unconstrained(self, max_unconstrained).tolist(),
        }

    def to_coco(self, image_id: int = 0) -> dict[str, Any]:
        """The graph as the processor takes annotations: COCO detection plus relations, here with scores.

        Args:
            image_id: Of the image.

        Returns:
            `image_id`, `annotations` (dicts with `bbox` [x, y, width, height] in pixels, `category_id`, `area`, `iscrowd`,
            `score`), `relations` (rows subject, object, predicate) and `relation_scores`.
        """
        boxes = self.boxes.double()
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1)
        columns = zip(boxes.tolist(), self.labels.tolist(), _shortest_decimals(self.scores), strict=True)
        return {
            "image_id": image_id,
            "annotations": [
                {"bbox": box, "category_id": label, "area": box[2] * box[3], "iscrowd": 0, "score": score}
                for box, label, score in columns
            ],
            "relations": self.relations.tolist(),
            "relation_scores": _shortest_decimals(self.relation_scores),
        }

    def plot(self, image: Any = None, **kwargs: Any) -> Any:
        """Draws the image with its boxes beside the graph, see `speaq_hf.visualization.plot_scene_graph`.

        Args:
            image: The image the graph belongs to: path, URL, PIL image (turned upright by its EXIF tag) or `(H, W, 3)`
                array; `None` draws the boxes on an empty canvas.
            **kwargs: Options of `plot_scene_graph`.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ImportError: speaq_hf, matplotlib or networkx is not installed.
            ValueError: The image has another size than the graph's, or cannot be found.
        """
        try:
            from speaq_hf.visualization import plot_scene_graph
        except ImportError as error:
            raise ImportError(f"SceneGraph.plot needs `pip install speaq_hf[viz]` ({error}).") from error
        return plot_scene_graph(self, _open_image(image), **kwargs)

    def to_html(self, image: Any = None, **kwargs: Any) -> str:
        """A page to point at: image with boxes, graph, table and sliders; see `speaq_hf.interactive_graph`.

        Args:
            image: The image the graph belongs to: path, URL, bytes of a file, PIL image or array; `None` draws the boxes
                on an empty canvas.
            **kwargs: Options of `render_interactive_graph`.

        Returns:
            HTML that needs no other file and no network.

        Raises:
            ImportError: speaq_hf or jinja2 is not installed.
            ValueError: The image has another size than the graph's, or cannot be read.
        """
        try:
            from speaq_hf.interactive_graph import render_interactive_graph
        except ImportError as error:
            raise ImportError(f"SceneGraph.to_html needs `pip install speaq_hf[viz]` ({error}).") from error
        return render_interactive_graph(self, image, **kwargs)

    def _repr_html_(self) -> str | None:
        """The page without the image, as notebooks show it; `None`, for which they print `repr`, without the package."""
        try:
            from speaq_hf.interactive_graph import framed_page
        except ImportError:
            return None
        return framed_page(self.to_html())


def _int_keys(names: Mapping[int | str, str]) -> dict[int, str]:
    """Undoes JSON, which turns integer keys into strings."""
    return {int(key): name for key, name in names.items()}


def _shortest_decimals(values: Tensor) -> list:
    """float32 numbers as lists of those with the fewest digits that become the same float32."""
    return values.numpy().astype(str).astype(float).tolist()


def _open_image(image: Any) -> Any:
    """Opens a path or URL and turns it, or a PIL image, upright; anything else stays as it is."""
    from transformers.image_utils import is_pil_image, load_image

    image = os.fspath(image) if isinstance(image, os.PathLike) else image
    return load_image(image) if isinstance(image, str) or is_pil_image(image) else image


def _as_image_size(image_size: Sequence[int]) -> tuple[int, int]:
    try:
        size = tuple(operator.index(side) for side in image_size)
    except TypeError as error:
        raise TypeError(
            f"SceneGraph: `image_size` must be two integers (height, width), got {image_size!r}."
        ) from error
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"SceneGraph: `image_size` must be (height, width), each at least 1 pixel, got {size}.")
    return size


def _as_tensor(name: str, value: Any, dtype: torch.dtype, tail: tuple[int, ...]) -> Tensor:
    tensor = torch.as_tensor(value).detach().cpu()
    if tensor.numel() == 0:  # an empty list knows neither its shape nor its dtype
        return torch.zeros((0, *tail), dtype=dtype)
    if tensor.dim() != 1 + len(tail) or tuple(tensor.shape[1:]) != tail:
        expected = ", ".join(["n", *map(str, tail)]) + ("" if tail else ",")
        raise ValueError(f"SceneGraph: `{name}` must have shape ({expected}), got {tuple(tensor.shape)}.")
    if tensor.is_floating_point() and not dtype.is_floating_point:
        raise TypeError(f"SceneGraph: `{name}` must hold integers, got {tensor.dtype}.")
    tensor = tensor.to(dtype)
    if dtype.is_floating_point and not tensor.isfinite().all():
        row = (~tensor.isfinite()).reshape(len(tensor), -1).any(dim=1).nonzero()[0].item()
        raise ValueError(f"SceneGraph: `{name}` must be finite, got {tensor[row].tolist()} in row {row}.")
    return tensor


def _check_indices(name: str, indices: Tensor, count: int) -> None:
    outside = ((indices < 0) | (indices >= count)).any(dim=-1).nonzero().flatten().tolist()
    if outside:
        row = outside[0]
        raise ValueError(f"SceneGraph: `{name}` row {row} is {indices[row].tolist()}, but there are {count} objects.")


def _check_keys(name: str, values: Tensor, names: Mapping[int, str], names_field: str) -> None:
    for row, value in enumerate(values.tolist()):
        if value not in names:
            raise ValueError(f"SceneGraph: `{name}` row {row} is {value}, which is not in `{names_field}`.")


def _class_ids(classes: Iterable[str | int], names: Mapping[int, str], argument: str) -> Tensor:
    """Ids `(c,)` of classes given by name or id. A name may belong to several ids."""
    if isinstance(classes, str):
        raise ValueError(f"SceneGraph.filter: `{argument}` must be a collection, got the string {classes!r}.")
    if not isinstance(classes, Iterable):
        raise TypeError(f"SceneGraph.filter: `{argument}` must be a collection, got {classes!r}.")
    classes = classes.tolist() if hasattr(classes, "tolist") else list(classes)  # arrays, and what can be read once
    unknown = [c for c in classes if c not in names and c not in names.values()]
    if unknown:
        raise ValueError(f"SceneGraph.filter: `{argument}` {unknown} are none of {sorted(set(names.values()))}.")
    return torch.tensor([key for key, name in names.items() if key in classes or name in classes], dtype=torch.int64)
