# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Which relations a generated set shows, and how often: the long tail of predicates and triplets held out of training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .affordances import Triplet
from .everyday_world import EVERYDAY
from .scenes import SceneComplexity, compose_scene
from .worlds import World


MAX_EXPONENT = 3.0
CALIBRATION_ROUNDS = 6
CALIBRATION_SCENES = 250
DAMPING = 0.8  # of a round's correction


@dataclass(frozen=True)
class TripletDistribution:
    """Frequencies of the relations of a set.

    Attributes:
        predicate_zipf: Exponent s of the predicates' frequencies, proportional to rank^-s with the ranks of `World.ranking`, in
            [0, 3]: 0 aims at equal frequencies, larger values at a rarer tail. What holds in a scene by chance and
            what its settings offer keep the frequencies from following exactly. None: as the world has it.
        held_out_share: Share of the triplets not usual for their pair that only test images show, in [0, 1]; see
            `World.held_out`. A smaller share holds out a part of what a larger one does.
    """

    predicate_zipf: float | None = None
    held_out_share: float = 0.12

    def __post_init__(self) -> None:
        if self.predicate_zipf is not None and not 0 <= self.predicate_zipf <= MAX_EXPONENT:
            raise ValueError(f"Expected predicate_zipf in [0, {MAX_EXPONENT}] or None, got {self.predicate_zipf}.")
        if not 0 <= self.held_out_share <= 1:
            raise ValueError(f"Expected held_out_share in [0, 1], got {self.held_out_share}.")

    def held_out(self, world: World = EVERYDAY) -> frozenset[Triplet]:
        """Triplets (subject class, predicate, object class) of a world that only test images show."""
        return world.held_out(self.held_out_share)

    def predicate_weights(self, complexity: SceneComplexity, world: World = EVERYDAY) -> dict[str, float]:
        """How much more often than usual composition has to try each predicate.

        Found by composing scenes and correcting the weights until the frequencies fit; takes seconds. The result
        hangs on the arguments alone.

        Returns:
            Weights of all predicates for `scenes.compose_scene`; those of the world if `predicate_zipf` is None.
        """
        if self.predicate_zipf is None:
            return dict(world.predicate_weights)
        return calibrated_weights(world, complexity, self.held_out(world), self.predicate_zipf)


def calibrated_weights(
    world: World,
    complexity: SceneComplexity,
    forbidden: frozenset[Triplet],
    exponent: float,
    rounds: int = CALIBRATION_ROUNDS,
    scenes: int = CALIBRATION_SCENES,
) -> dict[str, float]:
    """Weights with which the frequencies of a world's predicates come near to rank^-exponent.

    Args:
        world: The world.
        complexity: Of the scenes.
        forbidden: Triplets that may not occur.
        exponent: 0 aims at equal frequencies.
        rounds: How often the weights are corrected.
        scenes: Scenes composed for each correction.

    Returns:
        A weight for every predicate of `world.ranking`.
    """
    ranking = world.ranking
    shares = np.arange(1, len(ranking) + 1) ** -exponent
    shares /= shares.sum()
    weights = np.ones(len(ranking))
    for turn in range(rounds):
        tried = dict(zip(ranking, weights.tolist(), strict=True))
        counts = _predicate_counts([[turn, index] for index in range(scenes)], world, complexity, forbidden, tried)
        found = counts / counts.sum()
        weights *= (shares / found) ** DAMPING
        weights /= (found * weights).sum()
    return dict(zip(ranking, weights.tolist(), strict=True))


def _predicate_counts(
    seeds: list[list[int]],
    world: World,
    complexity: SceneComplexity,
    forbidden: frozenset[Triplet],
    weights: Mapping[str, float],
) -> np.ndarray:
    """Frequencies (P,) of the world's ranking in the scenes of some seeds, plus one half: none is 0."""
    counts = Counter()
    for seed in seeds:
        scene = compose_scene(np.random.default_rng(seed), 1.0, 1.0, complexity, forbidden, weights, world)
        counts.update(predicate for *_, predicate in scene.relations)
    return np.array([counts[name] + 0.5 for name in world.ranking])
