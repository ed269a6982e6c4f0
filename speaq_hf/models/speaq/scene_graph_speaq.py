# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The scene graph of one image: objects, and relations between them, as plain CPU tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .scene_graph_export_speaq import SceneGraphExport
from .scene_graph_fields_speaq import (
    OBJECT_FIELDS,
    RELATION_FIELDS,
    as_image_size,
    as_tensor,
    check_indices,
    check_keys,
    int_keys,
)
from .scene_graph_merge_speaq import merge_graphs
from .scene_graph_selection_speaq import as_mask, has_class, in_region


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
class SceneGraph(SceneGraphExport):
    """Objects of one image and the relations between them.

    Everything array-like is accepted, checked, and kept as a CPU tensor. `len(graph)` is the number of relations,
    iterating gives them in words, and graphs are equal when all of their fields are.

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

    Example:
        >>> graph = SceneGraph.from_annotation(
        ...     boxes=[[10, 0, 40, 60], [0, 30, 70, 90], [15, 0, 30, 10], [80, 20, 99, 80]],
        ...     labels=[0, 1, 2, 0],
        ...     relations=[[0, 1, 0], [0, 2, 1]],
        ...     image_size=(90, 100),
        ...     id2label={0: "man", 1: "horse", 2: "hat"},
        ...     id2predicate={0: "riding", 1: "wearing"},
        ... )
        >>> graph
        SceneGraph(4 objects, 2 relations, image 90x100: man riding horse (1.00), man wearing hat (1.00))
        >>> [triplet.object for triplet in graph]
        ['horse', 'hat']
        >>> graph.filter(predicates=["wearing"]).to_text()
        'man wearing hat.'
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
        self.id2label, self.id2predicate = int_keys(self.id2label), int_keys(self.id2predicate)
        self.image_size = as_image_size(self.image_size)
        if sorted(self.id2predicate) != list(range(len(self.id2predicate))):
            raise ValueError("SceneGraph: the keys of `id2predicate` must be 0, 1, ..., P-1 without gaps.")
        self._check_fields(OBJECT_FIELDS, count_of="boxes")
        self._check_fields(RELATION_FIELDS, count_of="relations")
        check_keys("labels", self.labels, self.id2label, "id2label")
        check_keys("relations[:, 2]", self.relations[:, 2], self.id2predicate, "id2predicate")
        check_indices("relations[:, :2]", self.relations[:, :2], len(self.boxes))

    def _check_fields(self, fields: Mapping[str, tuple[torch.dtype, int | str | None]], count_of: str) -> None:
        for name, (dtype, last_dim) in fields.items():
            if last_dim == "P+1":
                last_dim = len(self.id2predicate) + 1
            tensor = as_tensor(name, getattr(self, name), dtype, () if last_dim is None else (last_dim,))
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
        id2predicate = int_keys(id2predicate)
        relations = as_tensor("relations", relations, torch.int64, (3,))
        check_keys("relations[:, 2]", relations[:, 2], id2predicate, "id2predicate")
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

    def __iter__(self) -> Iterator[Triplet]:
        """The relations in words, see `triplets`."""
        return iter(self.triplets())

    def __eq__(self, other: object) -> bool:
        """Whether every field of the two is equal, to the last bit."""
        if not isinstance(other, SceneGraph):
            return NotImplemented
        names = (*OBJECT_FIELDS, *RELATION_FIELDS)
        same_frame = (self.image_size, self.id2label, self.id2predicate) == (
            other.image_size,
            other.id2label,
            other.id2predicate,
        )
        return same_frame and all(torch.equal(getattr(self, name), getattr(other, name)) for name in names)

    __hash__ = None  # the fields can be changed

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
        return self._select(objects, torch.arange(len(self)) < min(k, len(self)), keep_isolated)

    def filter(
        self,
        *,
        min_score: float = 0.0,
        min_object_score: float = 0.0,
        labels: Iterable[str | int] | None = None,
        subjects: Iterable[str | int] | None = None,
        objects: Iterable[str | int] | None = None,
        involving: Iterable[str | int] | None = None,
        predicates: Iterable[str | int] | None = None,
        region: Sequence[float] | None = None,
        region_rule: Literal["center", "inside", "overlap"] = "center",
        keep_isolated: bool = False,
    ) -> SceneGraph:
        """Keeps the objects and relations that meet every given condition.

        A relation needs both its objects: it goes with either of them. An object that takes part in no kept relation
        goes too, unless `keep_isolated`. The order is kept and `relations` is re-numbered.

        Args:
            min_score: Lowest relation score kept, in [0, 1].
            min_object_score: Lowest object score kept, in [0, 1].
            labels: Object classes to keep, names or ids; `None` keeps all. Both ends of a relation need one of them.
            subjects: Classes that the subject of a kept relation may have, likewise.
            objects: Classes that its object may have.
            involving: Classes of which its subject or its object must have one.
            predicates: Predicates to keep, names or ids; `None` keeps all.
            region: Rectangle (x1, y1, x2, y2) in pixels of the image that kept objects lie in.
            region_rule: Of a kept object must lie in the region: its box's "center", all of its box ("inside"), or any
                part of it ("overlap").
            keep_isolated: Keep objects that meet the conditions on objects (`min_object_score`, `labels`, `region`) but
                have no relation.

        Returns:
            A new graph.

        Raises:
            ValueError: A class or predicate is unknown to this graph, or the region has no area.
            TypeError: Where classes or predicates belong there is a single one.
        """
        kept = self.scores >= min_object_score
        if labels is not None:
            kept &= has_class(self.labels, labels, self.id2label, "labels")
        if region is not None:
            kept &= in_region(self.boxes, region, region_rule)
        relations = self.relation_scores >= min_score
        if predicates is not None:
            relations &= has_class(self.relations[:, 2], predicates, self.id2predicate, "predicates")
        return self._select(kept, relations & self._has_ends(subjects, objects, involving), keep_isolated)

    def _has_ends(self, subjects: Any, objects: Any, involving: Any) -> Tensor:
        """Which relations `(k,)` have ends of the classes, see `filter`."""
        ends = self.labels[self.relations[:, :2]]  # (k, 2)
        result = torch.ones(len(self), dtype=torch.bool)
        if subjects is not None:
            result &= has_class(ends[:, 0], subjects, self.id2label, "subjects")
        if objects is not None:
            result &= has_class(ends[:, 1], objects, self.id2label, "objects")
        if involving is not None:
            result &= has_class(ends, involving, self.id2label, "involving").any(dim=1)
        return result

    def select(self, *, objects: Any = None, relations: Any = None, keep_isolated: bool = False) -> SceneGraph:
        """Keeps the objects and relations of two masks: what `filter` cannot say.

        Args:
            objects: `(n,)` booleans; `None` keeps all.
            relations: `(k,)` booleans; `None` keeps all. A relation goes with either of its objects.
            keep_isolated: Keep objects that take part in no kept relation.

        Returns:
            A new graph, in the same order.

        Raises:
            ValueError: A mask has another shape, or holds no booleans.

        Example:
            >>> graph = SceneGraph.from_annotation(
            ...     [[0, 0, 9, 9], [2, 2, 8, 8]], [0, 1], [[0, 1, 0]], (9, 9), {0: "man", 1: "hat"}, {0: "wearing"}
            ... )
            >>> graph.select(objects=graph.boxes[:, 0] < 1, keep_isolated=True)
            SceneGraph(1 objects, 0 relations, image 9x9)
        """
        objects, relations = as_mask("objects", objects, len(self.boxes)), as_mask("relations", relations, len(self))
        return self._select(objects, relations, keep_isolated)

    def _select(self, objects: Tensor, relations: Tensor, keep_isolated: bool) -> SceneGraph:
        """Sub-graph of the objects `(n,)` and relations `(k,)` whose mask is true."""
        relations = relations & objects[self.relations[:, :2]].all(dim=1)
        if not keep_isolated:
            in_relation = torch.zeros_like(objects)
            in_relation[self.relations[relations, :2].flatten()] = True
            objects = objects & in_relation
        new_index = objects.cumsum(0) - 1  # valid where `objects` is true
        kept = {name: getattr(self, name)[objects] for name in OBJECT_FIELDS}
        kept |= {name: getattr(self, name)[relations] for name in RELATION_FIELDS}
        kept["relations"] = torch.cat([new_index[kept["relations"][:, :2]], kept["relations"][:, 2:]], dim=1)
        return SceneGraph(**kept, image_size=self.image_size, id2label=self.id2label, id2predicate=self.id2predicate)

    def merge(self, other: SceneGraph, iou_threshold: float = 0.5) -> SceneGraph:
        """The union of two graphs of one image, for example of two models, of the image and its mirror image, or of tiles.

        An object of `other` is the object of this graph with which it shares the class and overlaps by at least
        `iou_threshold`, one to one, larger overlaps first. Of the two, box and score are those of the higher score. The
        objects of this graph keep their row numbers; what else `other` has comes behind them. Every relation is there
        once, with its highest score and the probabilities that belong to it, best first. Of equal scores, this graph's
        count.

        Classes and predicates are the same when their names are. This graph's ids stay; names that only `other` has get
        new ids behind them, and probability 0 in the relations of this graph.

        The result does not depend on which of the two is asked, except for the order of rows, the ids, equal scores and
        `query_indices`, which are -1 for relations of `other`: they come from another pass of a model.

        Args:
            other: Graph of an image of the same size. Bring a tile's boxes to their place first:
                `dataclasses.replace(tile, boxes=tile.boxes + torch.tensor([x, y, x, y]), image_size=graph.image_size)`.
            iou_threshold: Lowest overlap of two boxes of one object, in (0, 1].

        Returns:
            A new graph.

        Raises:
            ValueError: The images differ in size, or the threshold is out of range.

        Example:
            >>> image = {"image_size": (90, 100), "id2label": {0: "man", 1: "dog"}}
            >>> boxes = [[0, 0, 20, 60], [40, 30, 70, 60]]
            >>> walking = SceneGraph.from_annotation(boxes, [0, 1], [[0, 1, 0]], id2predicate={0: "walking"}, **image)
            >>> seeing = SceneGraph.from_annotation(boxes, [0, 1], [[1, 0, 0]], id2predicate={0: "looking at"}, **image)
            >>> walking.merge(seeing).to_text()
            'man walking dog; dog looking at man.'
        """
        return merge_graphs(self, other, iou_threshold)

    def compare(self, reference: SceneGraph, iou_threshold: float = 0.5) -> Any:
        """Says which relations of an annotated graph this one has, and why it misses the others.

        Args:
            reference: The annotation, see `from_annotation`. Its classes and predicates are compared by name.
            iou_threshold: Lowest overlap of two boxes that agree, in [0, 1].

        Returns:
            A `speaq_hf.metrics.ReferenceComparison` with `found`, `missed`, `confirmed`, `unconfirmed`, `recall` and
            `precision`; printed, it says everything in words.

        Raises:
            ImportError: speaq_hf is not installed.
            ValueError: The images differ in size, or the threshold is out of range.
        """
        try:
            from speaq_hf.metrics.reference_comparison import compare_with_reference
        except ImportError as error:
            raise ImportError(f"SceneGraph.compare needs `pip install speaq_hf` ({error}).") from error
        return compare_with_reference(self, reference, iou_threshold)

    def to_dict(self) -> dict[str, Any]:
        """The fields as lists, numbers and strings, ready for JSON; `from_dict` restores them exactly."""
        fields = {name: getattr(self, name).tolist() for name in (*OBJECT_FIELDS, *RELATION_FIELDS)}
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

    def plot(self, image: Any = None, **kwargs: Any) -> Any:
        """Draws the image with its boxes beside the graph, see `speaq_hf.visualization.plot_scene_graph`.

        Args:
            image: The image the graph belongs to: path, address, bytes of a file, PIL image (turned upright by its EXIF tag)
                or `(H, W, 3)` array; `None` draws the boxes on an empty canvas.
            **kwargs: Options of `plot_scene_graph`.

        Returns:
            A `matplotlib.figure.Figure`; `graph.plot("photo.jpg").savefig("graph.png")` writes it.

        Raises:
            ImportError: speaq_hf, matplotlib or networkx is not installed.
            ValueError: The image has another size than the graph's, or cannot be read.
        """
        try:
            from speaq_hf.visualization import plot_scene_graph
        except ImportError as error:
            raise ImportError(f"SceneGraph.plot needs `pip install speaq_hf[viz]` ({error}).") from error
        return plot_scene_graph(self, image, **kwargs)

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
