# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Everything an evaluation tells, from one pass over the predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .image_batch import ImageBatch, read_images
from .protocols import EvaluationProtocol, resolve_protocol
from .scene_graph_recall import SceneGraphRecall


class ImageTally(Protocol):
    """What looks at images, one batch after the other, and can be shared out over processes."""

    def add_images(self, images: ImageBatch) -> None:
        """Adds images."""

    def merge(self, other: Any) -> Any:
        """Adds the images of another tally with the same settings."""

    def compute(self) -> dict[str, Any]:
        """What the images told."""


@dataclass(frozen=True)
class RecallSettings:
    """What `SceneGraphRecall` needs beside the protocol, see there."""

    num_predicates: int
    ks: Sequence[int] = (20, 50, 100)
    mode: str = "sgdet"
    iou_threshold: float = 0.5
    zero_shot_triplets: Any = None
    predicate_counts: Any = None
    num_replicates: int = 0


class SceneGraphEvaluator:
    """Recall under several protocols side by side, and whatever else looks at the images.

    Every image is read and checked once. Like `SceneGraphRecall` it can be pickled and merged.

    Args:
        settings: What all protocols share.
        protocols: One or several, names in `PROTOCOLS` or protocols of your own, each name once.
        tallies: More to do with the images, by the name of its part of the results.

    Raises:
        ValueError: A protocol is unknown or named twice, or a setting is out of range.
    """

    def __init__(
        self,
        settings: RecallSettings,
        protocols: str | EvaluationProtocol | Sequence[str | EvaluationProtocol] = ("speaq", "strict"),
        tallies: Mapping[str, ImageTally] | None = None,
    ) -> None:
        if isinstance(protocols, (str, EvaluationProtocol)):
            protocols = [protocols]
        resolved = [resolve_protocol(protocol) for protocol in protocols]
        names = [protocol.name for protocol in resolved]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"protocols must be at least one, each name once, got {names}.")
        options = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
        self.settings = settings
        self.recalls = {protocol.name: SceneGraphRecall(**options, protocol=protocol) for protocol in resolved}
        self.tallies = dict(tallies or {})
        self._num_added = 0

    def add_batch(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Adds a batch of images, see `SceneGraphRecall.add_batch`."""
        settings = self.settings
        self.add_images(read_images(predictions, references, settings.num_predicates, settings.mode, self._num_added))

    def add_images(self, images: ImageBatch) -> None:
        """Adds images that `read_images` has read in the same mode. If a tally refuses one of them, no recall has seen any."""
        # Recall takes whatever has been read; tallies may not.
        for part in (*self.tallies.values(), *self.recalls.values()):
            part.add_images(images)
        self._num_added += len(images)

    def merge(self, other: SceneGraphEvaluator) -> SceneGraphEvaluator:
        """Adds the images of another evaluator with the same settings.

        Returns:
            This evaluator.

        Raises:
            ValueError: The settings differ.
        """
        if self.recalls.keys() != other.recalls.keys() or self.tallies.keys() != other.tallies.keys():
            raise ValueError("Cannot merge: the protocols or tallies differ.")
        for name, recall in self.recalls.items():  # before any of them has changed
            if recall.settings != other.recalls[name].settings:
                raise ValueError(f"Cannot merge: the settings of the protocol {name!r} differ.")
        for name, recall in self.recalls.items():
            recall.merge(other.recalls[name])
        for name, tally in self.tallies.items():
            tally.merge(other.tallies[name])
        self._num_added += other._num_added
        return self

    def compute(self, confidence: float = 0.95) -> dict[str, Any]:
        """The results, ready for JSON but for numbers that are nan.

        Args:
            confidence: Of the intervals, in (0, 1).

        Returns:
            `mode`, `iou_threshold`, `ks`, `confidence`, `num_images_added`, `protocols` (by name: `fingerprint`, `rules`,
            `metrics` as `SceneGraphRecall.compute` gives them, and `intervals` if there are replicates) and the result
            of each tally under its name.
        """
        first = next(iter(self.recalls.values()))
        shared = {"mode": first.mode, "iou_threshold": first.iou_threshold, "ks": list(first.ks)}
        shared |= {"confidence": confidence, "num_images_added": self._num_added}
        protocols = {name: _protocol_results(recall, confidence) for name, recall in self.recalls.items()}
        return shared | {"protocols": protocols} | {name: tally.compute() for name, tally in self.tallies.items()}


def _protocol_results(recall: SceneGraphRecall, confidence: float) -> dict[str, Any]:
    results = {"fingerprint": recall.protocol.fingerprint, "rules": recall.protocol.rules, "metrics": recall.compute()}
    return results | ({"intervals": recall.intervals(confidence)} if recall.num_replicates else {})
