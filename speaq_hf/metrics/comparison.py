# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Whether one model is better than another on the same images, or only luckier with them."""

from __future__ import annotations

from dataclasses import dataclass

from .bootstrap import interval
from .scene_graph_recall import SceneGraphRecall


@dataclass(frozen=True)
class Difference:
    """By how much a number of model a exceeds that of model b.

    Args:
        value: On the images.
        low: Lower end of its bootstrap interval over images.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves 0 out; never where it is nan, or None in values from a JSON file."""
        if self.low is None or self.high is None:
            return False
        return self.low > 0 or self.high < 0


def compare_recall(a: SceneGraphRecall, b: SceneGraphRecall, confidence: float = 0.95) -> dict[str, Difference]:
    """Compares two models image by image: both are judged on the same bootstrap replicates, so that images that are hard
    for both do not widen the intervals.

    Args:
        a: Recall of the first model.
        b: Recall of the second one, on the same images in any order and with the same settings.
        confidence: Share of the replicates inside the intervals, in (0, 1).

    Returns:
        a - b for every number that `SceneGraphRecall.compute` gives for a K, by name.

    Raises:
        ValueError: The images or the settings differ, or there are no replicates.
    """
    for name, value in a.settings.items():
        if value != b.settings[name]:
            raise ValueError(f"Cannot compare: `{name}` differs.")
    if not a.num_replicates:
        raise ValueError("compare_recall needs replicates: make the metrics with num_replicates=1000.")
    if a.images_checksum != b.images_checksum:
        raise ValueError("Cannot compare: not the same images.")
    theirs = b.replicates()
    differences = {name: values - theirs[name] for name, values in a.replicates().items()}
    return {name: Difference(float(d[0]), *interval(d[1:], confidence)) for name, d in differences.items()}
