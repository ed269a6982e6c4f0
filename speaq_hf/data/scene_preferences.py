# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What the composition of synthetic scenes tries, and how often: classes, pairs and predicates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache

from .affordances import Triplet
from .worlds import World


class Preferences:
    """Tables of how often things are tried, all in relative weights.

    Args:
        world: The tables of what there is.
        usual_boost: See `SceneComplexity`.
        forbidden: Triplets that may not occur.
        weights: How much more often than usual the named predicates are tried; 1 for those it does not name.

    Attributes:
        settings: Weight of each setting.
        starters: For each setting, the weights of the classes to start a group with.
        predicates: For each pair (subject, object), the weights of its predicates.
        partners: For each (setting, class), the weights of the pairs of that class that can be put together there.
    """

    def __init__(self, world: World, usual_boost: float, forbidden: frozenset[Triplet], weights: Mapping[str, float]):
        self._world, self.forbidden, self._weights = world, forbidden, weights
        usual = {pair: _boosted(affordance.predicates, usual_boost) for pair, affordance in world.affordances.items()}
        self.predicates = {pair: self._weighed(predicates) for pair, predicates in usual.items()}
        factor = {pair: _ratio(self.predicates[pair], usual[pair]) for pair in usual}
        self.partners = {
            (setting, label): {
                pair: weight * factor[pair] for pair, weight in _partners(world, setting, label).items()
            }
            for setting in world.settings
            for label in world.objects
        }
        self.starters = {**world.settings, "street": self._street_starters()}
        # Only a street offers the predicates of what is on it.
        on_street = _ratio(self.starters["street"], world.settings["street"])
        self.settings = {**world.setting_shares, "street": world.setting_shares["street"] * on_street}

    def weight(self, predicate: str) -> float:
        """How much more often than usual a predicate is tried."""
        return self._weights.get(predicate, 1.0)

    def chance(self, predicates: Iterable[str]) -> float:
        """How much rarer than usual placements are kept that bring several relations, of these predicates."""
        return math.prod(min(1.0, self.weight(name)) for name in predicates)

    def _weighed(self, predicates: Mapping[str, float]) -> dict[str, float]:
        return {name: share * self.weight(name) for name, share in predicates.items()}

    def _street_starters(self) -> dict[str, float]:
        starters, affordances = self._world.settings["street"], self._world.affordances
        usual = {label: affordances[label, "street"].predicates for label, weight in starters.items() if weight}
        factor = {label: _ratio(self._weighed(predicates), predicates) for label, predicates in usual.items()}
        return {label: weight * factor.get(label, 1.0) for label, weight in starters.items()}


def _partners(world: World, setting: str, label: str) -> dict[tuple[str, str], float]:
    """Pairs (subject, object) with `label` that can be put together in a setting, and their usual weights."""
    present, weights = world.settings[setting], {}
    for pair, affordance in world.affordances.items():
        other = pair[1] if pair[0] == label else pair[0]
        brought = other in world.carried and not (setting == "room" and other in world.outdoors)
        if label in pair and (present.get(other, 0) > 0 or brought) and affordance.weight > 0:
            weights[pair] = affordance.weight
    return weights


def _boosted(predicates: Mapping[str, float], usual_boost: float) -> dict[str, float]:
    """Weights of a pair's predicates with that of the first, usual one multiplied."""
    usual = next(iter(predicates))
    return {**predicates, usual: predicates[usual] * usual_boost}


def _ratio(weights: Mapping[str, float], usual: Mapping[str, float]) -> float:
    total = sum(usual.values())
    return sum(weights.values()) / total if total else 1.0


@lru_cache(maxsize=8)
def preferences(
    world: World, usual_boost: float, forbidden: frozenset[Triplet], weights: tuple[tuple[str, float], ...]
) -> Preferences:
    """The tables of a set, made once; `weights` are (predicate, weight) pairs."""
    return Preferences(world, usual_boost, forbidden, dict(weights))
