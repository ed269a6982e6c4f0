# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A scene graph in the formats of other programs, and in words."""

from __future__ import annotations

import json
from typing import Any, Literal

import torch
from torch import Tensor

from .scene_graph_fields_speaq import shortest_decimals
from .scene_graph_text_speaq import describe, numbered_names, one_line


class SceneGraphExport:
    """The methods of `SceneGraph` that write it down."""

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    relations: Tensor
    relation_scores: Tensor
    image_size: tuple[int, int]
    id2label: dict[int, str]
    id2predicate: dict[int, str]

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
            fields[name] = shortest_decimals(getattr(self, name))
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
        columns = zip(boxes.tolist(), self.labels.tolist(), shortest_decimals(self.scores), strict=True)
        return {
            "image_id": image_id,
            "annotations": [
                {"bbox": box, "category_id": label, "area": box[2] * box[3], "iscrowd": 0, "score": score}
                for box, label, score in columns
            ],
            "relations": self.relations.tolist(),
            "relation_scores": shortest_decimals(self.relation_scores),
        }

    def to_networkx(self) -> Any:
        """The graph for networkx, whose algorithms and file formats then apply.

        Returns:
            A `networkx.MultiDiGraph` of numbers, texts and lists only, ready for JSON: nodes are row numbers of `boxes` with
            `label`, `score` and `box` [x1, y1, x2, y2] in pixels; edges run from subject to object, with `predicate`,
            `score` and `rank`, 0 the best, which is their key, too. The graph has `width` and `height` in pixels.

        Raises:
            ImportError: networkx is not installed.
        """
        try:
            import networkx
        except ImportError as error:
            raise ImportError(f"SceneGraph.to_networkx needs `pip install networkx` ({error}).") from error
        height, width = self.image_size
        result = networkx.MultiDiGraph(width=width, height=height)
        objects = zip(self.labels.tolist(), shortest_decimals(self.scores), self.boxes.tolist(), strict=True)
        for node, (label, score, box) in enumerate(objects):
            result.add_node(node, label=self.id2label[label], score=score, box=box)
        relations = zip(self.relations.tolist(), shortest_decimals(self.relation_scores), strict=True)
        for rank, ((subject, object_, predicate), score) in enumerate(relations):
            # The key keeps apart what one pair has in common, also twice the same predicate.
            result.add_edge(subject, object_, key=rank, predicate=self.id2predicate[predicate], score=score, rank=rank)
        return result

    def to_dot(self, scores: bool = True) -> str:
        """The graph in the DOT language of Graphviz: `dot -Tsvg`.

        Args:
            scores: Write the relation scores behind the predicates.

        Returns:
            The text of a file. Objects of a class that occurs more than once are numbered.
        """
        lines = ["digraph scene_graph {", '  node [shape=box, style="rounded"];']
        lines += [f"  o{i} [label={_quoted(name)}];" for i, name in enumerate(numbered_names(self))]
        for (subject, object_, predicate), score in zip(self.relations.tolist(), self.relation_scores, strict=True):
            label = _quoted(one_line(self.id2predicate[predicate]) + f" {score:.2f}" * scores)
            lines.append(f"  o{subject} -> o{object_} [label={label}];")
        return "\n".join([*lines, "}", ""])

    def to_text(
        self,
        style: Literal["sentences", "compact", "json"] = "sentences",
        *,
        boxes: bool = False,
        scores: bool = False,
        keep_isolated: bool = False,
    ) -> str:
        """The graph in words, the same for equal graphs, relations best first.

        Predicates stay as they are: "man riding horse" and not "A man rides a horse". `top` and `filter` say how much to tell.

        Args:
            style: "sentences": clauses for people; objects of a class that occurs more than once are numbered.
                "compact": few tokens, for language models; objects have numbers, which the relations refer to.
                "json": the same as one line of JSON, for programs, and for names that hold semicolons.
            boxes: Give boxes as whole pixels [x1,y1,x2,y2]: in sentences where an object is first mentioned, otherwise with
                the objects; then the text tells the size (width x height) of the image, too.
            scores: Give scores with two decimals: in sentences those of relations, otherwise of objects, too.
            keep_isolated: Also mention objects without relation.

        Returns:
            The text, without a line break at its end.

        Raises:
            ValueError: The style is unknown.

        Example:
            >>> from speaq_hf import SceneGraph
            >>> graph = SceneGraph.from_annotation(
            ...     boxes=[[10, 0, 40, 60], [0, 30, 70, 90], [80, 20, 99, 80]],
            ...     labels=[0, 1, 0],
            ...     relations=[[0, 1, 0], [2, 1, 1]],
            ...     image_size=(90, 100),
            ...     id2label={0: "man", 1: "horse"},
            ...     id2predicate={0: "riding", 1: "behind"},
            ... )
            >>> print(graph.to_text())
            man 1 riding horse; man 2 behind horse.
            >>> print(graph.to_text("compact", boxes=True))
            image: 100x90
            objects: 0 man [10,0,40,60]; 1 horse [0,30,70,90]; 2 man [80,20,99,80]
            relations: 0 riding 1; 2 behind 1
        """
        return describe(self if keep_isolated else self.filter(), style, boxes, scores)


def _quoted(text: str) -> str:
    """A string of the DOT language that Graphviz shows as `text`."""
    # Graphviz reads HTML entities and, after a backslash, commands such as \N (name of the node) in every label.
    text = text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(character if character.isprintable() else " " for character in text) + '"'
