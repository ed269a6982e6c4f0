# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What the composition of synthetic scenes tries, and how often: settings, classes, pairs and predicates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache

from .affordances import AFFORDANCES, GROUPS, Triplet
from .shapes import OBJECT_CLASSES


_LIVING = dict.fromkeys((*GROUPS["person"], *GROUPS["pet"]), 1.0)
_OUTDOORS = {**_LIVING, "horse": 2.0, "elephant": 1.6, "bike": 1.6, "car": 1.6, "tree": 2.2, "house": 0.8, "bench": 1.6,
             "box": 0.8, "table": 0.6, "chair": 0.4, "bag": 0.2, "hat": 0.2}  # fmt: skip

# What can stand on the ground of a setting, with the weight of starting a group with it.
SETTINGS: dict[str, dict[str, float]] = {
    "room": {**_LIVING, "table": 3.0, "chair": 2.0, "bed": 4.0, "box": 1.4, "lamp": 0.4, "bag": 0.2},
    "grass": _OUTDOORS,
    "snow": {**_OUTDOORS, "elephant": 0.0},
    "beach": {**_OUTDOORS, "boat": 7.0, "car": 0.4, "bike": 0.6},
    "street": {**_OUTDOORS, "bike": 3.0, "car": 2.5, "boat": 0.0, "house": 0.0, "table": 0.0, "chair": 0.0, "bench": 0.0,
               "tree": 0.0},
}  # fmt: skip
SETTING_SHARES = {"room": 0.32, "grass": 0.24, "snow": 0.1, "beach": 0.16, "street": 0.18}
_CARRIED = ("hat", "cup", "bag", "box", "umbrella", "flag", "kite", "lamp", "bird", "plane")


class Preferences:
    """Tables of how often things are tried, all in relative weights.

    Args:
        usual_boost: See `SceneComplexity`.
        forbidden: Triplets that may not occur.
        weights: How much more often than usual the named predicates are tried; 1 for those it does not name.

    Attributes:
        settings: Weight of each setting.
        starters: For each setting, the weights of the classes to start a group with.
        predicates: For each pair (subject, object), the weights of its predicates.
        partners: For each (setting, class), the weights of the pairs of that class that can be put together there.
    """

    def __init__(self, usual_boost: float, forbidden: frozenset[Triplet], weights: Mapping[str, float]):
        self.forbidden, self._weights = forbidden, weights
        usual = {pair: _boosted(affordance.predicates, usual_boost) for pair, affordance in AFFORDANCES.items()}
        self.predicates = {pair: self._weighed(predicates) for pair, predicates in usual.items()}
        factor = {pair: _ratio(self.predicates[pair], usual[pair]) for pair in AFFORDANCES}
        self.partners = {
            (setting, label): {pair: weight * factor[pair] for pair, weight in _partners(setting, label).items()}
            for setting in SETTINGS
            for label in OBJECT_CLASSES
        }
        self.starters = {**SETTINGS, "street": self._street_starters()}
        # Only a street offers the predicates of what is on it.
        on_street = _ratio(self.starters["street"], SETTINGS["street"])
        self.settings = {**SETTING_SHARES, "street": SETTING_SHARES["street"] * on_street}

    def weight(self, predicate: str) -> float:
        """How much more often than usual a predicate is tried."""
        return self._weights.get(predicate, 1.0)

    def chance(self, predicates: Iterable[str]) -> float:
        """How much rarer than usual placements are kept that bring several relations, of these predicates."""
        return math.prod(min(1.0, self.weight(name)) for name in predicates)

    def _weighed(self, predicates: Mapping[str, float]) -> dict[str, float]:
        return {name: share * self.weight(name) for name, share in predicates.items()}

    def _street_starters(self) -> dict[str, float]:
        usual = {
            label: AFFORDANCES[label, "street"].predicates for label, weight in SETTINGS["street"].items() if weight
        }
        factor = {label: _ratio(self._weighed(predicates), predicates) for label, predicates in usual.items()}
        return {label: weight * factor.get(label, 1.0) for label, weight in SETTINGS["street"].items()}


def _partners(setting: str, label: str) -> dict[tuple[str, str], float]:
    """Pairs (subject, object) with `label` that can be put together in a setting, and their usual weights."""
    present = SETTINGS[setting]
    outdoors = ("kite", "plane", "flag")
    weights = {}
    for pair, affordance in AFFORDANCES.items():
        other = pair[1] if pair[0] == label else pair[0]
        possible = present.get(other, 0) > 0 or (other in _CARRIED and not (setting == "room" and other in outdoors))
        if label in pair and possible and affordance.weight > 0:
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
    usual_boost: float, forbidden: frozenset[Triplet], weights: tuple[tuple[str, float], ...]
) -> Preferences:
    """The tables of a set, made once; `weights` are (predicate, weight) pairs."""
    return Preferences(usual_boost, forbidden, dict(weights))
