# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What is in a scene graph data set, in numbers: sizes of the splits, class distributions, per-image histograms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .scene_graph_table import SceneGraphTable


# Shares of the image area, four bins per factor of ten; smaller and larger boxes count in the outer bins.
AREA_EDGES = 10.0 ** np.linspace(-5, 0, 21)
COVERED_SHARES = (0.5, 0.8, 0.95)
FEW_EXAMPLES = 10


@dataclass(frozen=True)
class SplitCounts:
    """Sizes of one split."""

    images: int
    boxes: int
    relations: int
    images_without_boxes: int
    images_without_relations: int


@dataclass(frozen=True)
class ClassCounts:
    """How often each class is annotated.

    Args:
        names: Class names, in index order.
        counts: (c,) annotations of each.
    """

    names: list[str]
    counts: np.ndarray

    @property
    def total(self) -> int:
        """Number of annotations."""
        return int(self.counts.sum())

    @property
    def shares(self) -> np.ndarray:
        """(c,) share of each class; zeros if nothing is annotated."""
        return self.counts / max(self.total, 1)

    def tail(self) -> dict[str, Any]:
        """Head and tail in numbers.

        Returns:
            `classes`; `used` (annotated at least once) and `rare` (used, but fewer than `FEW_EXAMPLES` times);
            `covering`: share -> how many of the most frequent classes hold at least that share; `most_frequent`
            (None: nothing annotated) and its `largest_share`; `imbalance`: most over least frequent used class;
            `effective_classes`: exp(entropy), the number of equally frequent classes that are as diverse.
        """
        ordered = np.sort(self.counts)[::-1]
        used = ordered[ordered > 0]
        cumulated = np.cumsum(used)
        shares = used / max(self.total, 1)
        covering = {share: int(np.searchsorted(cumulated, share * self.total)) + 1 for share in COVERED_SHARES}
        return {
            "classes": len(self.names),
            "used": len(used),
            "rare": int((used < FEW_EXAMPLES).sum()),
            "covering": covering if len(used) else dict.fromkeys(COVERED_SHARES, 0),
            "most_frequent": self.names[int(self.counts.argmax())] if len(used) else None,
            "largest_share": float(shares[0]) if len(used) else 0.0,
            "imbalance": float(used[0] / used[-1]) if len(used) else None,
            "effective_classes": float(np.exp(-(shares * np.log(shares)).sum())) if len(used) else 0.0,
        }

    def to_dict(self) -> dict[str, Any]:
        """Counts by name, most frequent first, and the tail; ready for JSON."""
        order = np.argsort(-self.counts, kind="stable").tolist()
        tail = self.tail()
        covering = {f"{share:g}": classes for share, classes in tail["covering"].items()}
        return {"counts": {self.names[i]: int(self.counts[i]) for i in order}, **tail, "covering": covering}


@dataclass(frozen=True)
class SetSummary:
    """Numbers of a whole set.

    Args:
        splits: Sizes by split name.
        total: Sizes of all splits together.
        objects: Boxes per object class.
        predicates: Relations per predicate.
        boxes_per_image: (k,) entry i: images with i boxes.
        relations_per_image: (k,) entry i: images with i relations.
        box_areas: (20,) boxes per share of the image area, bins of `AREA_EDGES`; images of unknown size do not count.
    """

    splits: dict[str, SplitCounts]
    total: SplitCounts
    objects: ClassCounts
    predicates: ClassCounts
    boxes_per_image: np.ndarray
    relations_per_image: np.ndarray
    box_areas: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Everything as dictionaries, lists and numbers, ready for JSON."""
        return {
            "splits": {name: asdict(counts) for name, counts in self.splits.items()},
            "total": asdict(self.total),
            "objects": self.objects.to_dict(),
            "predicates": self.predicates.to_dict(),
            "boxes_per_image": _histogram_dict(self.boxes_per_image),
            "relations_per_image": _histogram_dict(self.relations_per_image),
            "box_areas": {"edges": AREA_EDGES.tolist(), "counts": self.box_areas.tolist()},
        }


def summarize_set(table: SceneGraphTable) -> SetSummary:
    """Counts a set.

    Args:
        table: The set; an image, a box or a relation need not be there.

    Returns:
        Its numbers.
    """
    boxes, relations = table.boxes_per_image, table.relations_per_image
    return SetSummary(
        splits={
            name: _count_split(boxes[table.image_split == i], relations[table.image_split == i])
            for i, name in enumerate(table.split_names)
        },
        total=_count_split(boxes, relations),
        objects=_count_classes(table.object_names, table.labels),
        predicates=_count_classes(table.predicate_names, table.relations[:, 2]),
        boxes_per_image=np.bincount(boxes),
        relations_per_image=np.bincount(relations),
        box_areas=_area_histogram(table),
    )


def _count_split(boxes: np.ndarray, relations: np.ndarray) -> SplitCounts:
    return SplitCounts(
        len(boxes), int(boxes.sum()), int(relations.sum()), int((boxes == 0).sum()), int((relations == 0).sum())
    )


def _count_classes(names: list[str], classes: np.ndarray) -> ClassCounts:
    return ClassCounts(names, np.bincount(classes, minlength=len(names)))


def _area_histogram(table: SceneGraphTable) -> np.ndarray:
    sizes = table.image_sizes[table.box_image]
    known = (sizes > 0).all(axis=1)
    width, height = (table.boxes_xyxy[known, 2:] - table.boxes_xyxy[known, :2]).clip(0).T
    shares = width * height / sizes[known].astype(np.float64).prod(axis=1)
    # Up to the last edge: rounding may make a box that fills its image a little larger than it.
    counts, _ = np.histogram(shares.clip(AREA_EDGES[0], AREA_EDGES[-1]), AREA_EDGES)
    return counts


def histogram_quantile(histogram: np.ndarray, share: float) -> int:
    """The smallest value that at least `share` of the images do not exceed; 0 without images."""
    return int(np.searchsorted(np.cumsum(histogram), share * histogram.sum())) if histogram.sum() else 0


def histogram_mean(histogram: np.ndarray) -> float:
    """Mean of a histogram over 0, 1, 2, …; 0 without images."""
    return float((np.arange(len(histogram)) * histogram).sum() / max(histogram.sum(), 1))


def _histogram_dict(histogram: np.ndarray) -> dict[str, Any]:
    return {
        "mean": histogram_mean(histogram),
        "median": histogram_quantile(histogram, 0.5),
        "largest": max(len(histogram) - 1, 0),
        "images": {str(i): int(histogram[i]) for i in np.flatnonzero(histogram).tolist()},
    }
