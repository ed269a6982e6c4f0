# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Which relations a generated set shows, and how often: the long tail of predicates and triplets held out of training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .affordances import Triplet, held_out_triplets
from .scenes import SceneComplexity, compose_scene


MAX_EXPONENT = 3.0
# Generated predicates, the most frequent first where nothing is asked for: these are the ranks of the tail.
RANKING = (
    "near", "in front of", "behind", "on", "above", "wearing", "walking on", "standing on", "riding", "holding",
    "sitting on", "carrying", "under", "in", "laying on", "hanging from", "parked on",
)  # fmt: skip
CALIBRATION_ROUNDS = 6
CALIBRATION_SCENES = 250
DAMPING = 0.8  # of a round's correction


@dataclass(frozen=True)
class TripletDistribution:
    """Frequencies of the relations of a set.

    Attributes:
        predicate_zipf: Exponent s of the predicates' frequencies, proportional to rank^-s with the ranks of `RANKING`, in
            [0, 3]: 0 aims at equal frequencies, larger values at a rarer tail. What holds in a scene by chance and
            what its settings offer keep the frequencies from following exactly. None: as the table of affordances has it.
        held_out_share: Share of the triplets not usual for their pair that only test images show, in [0, 1]; see
            `affordances.held_out_triplets`. A smaller share holds out a part of what a larger one does.
    """

    predicate_zipf: float | None = None
    held_out_share: float = 0.12

    def __post_init__(self) -> None:
        if self.predicate_zipf is not None and not 0 <= self.predicate_zipf <= MAX_EXPONENT:
            raise ValueError(f"Expected predicate_zipf in [0, {MAX_EXPONENT}] or None, got {self.predicate_zipf}.")
        if not 0 <= self.held_out_share <= 1:
            raise ValueError(f"Expected held_out_share in [0, 1], got {self.held_out_share}.")

    @property
    def held_out(self) -> frozenset[Triplet]:
        """Triplets (subject class, predicate, object class) that only test images show."""
        return held_out_triplets(self.held_out_share)

    def predicate_weights(self, complexity: SceneComplexity) -> dict[str, float]:
        """How much more often than usual composition has to try each predicate.

        Found by composing scenes and correcting the weights until the frequencies fit; takes seconds. The result
        hangs on the arguments alone.

        Returns:
            Weights of all predicates for `scenes.compose_scene`; empty if `predicate_zipf` is None.
        """
        if self.predicate_zipf is None:
            return {}
        shares = np.arange(1, len(RANKING) + 1) ** -self.predicate_zipf
        shares /= shares.sum()
        weights = np.ones(len(RANKING))
        for turn in range(CALIBRATION_ROUNDS):
            tried = dict(zip(RANKING, weights.tolist(), strict=True))
            counts = _predicate_counts(turn, complexity, self.held_out, tried)
            found = counts / counts.sum()
            weights *= (shares / found) ** DAMPING
            weights /= (found * weights).sum()
        return dict(zip(RANKING, weights.tolist(), strict=True))


def _predicate_counts(
    turn: int, complexity: SceneComplexity, forbidden: frozenset[Triplet], weights: Mapping[str, float]
) -> np.ndarray:
    """Frequencies (P,) of `RANKING` in some scenes, plus one half: none is 0."""
    counts = Counter()
    for index in range(CALIBRATION_SCENES):
        rng = np.random.default_rng([turn, index])
        scene = compose_scene(rng, 1.0, 1.0, complexity, forbidden=forbidden, predicate_weights=weights)
        counts.update(predicate for *_, predicate in scene.relations)
    return np.array([counts[name] + 0.5 for name in RANKING])
