# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What a kind of generated scenes is made of: its classes, how they meet, where, and how often."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property

from ..models.speaq.vg150 import VG150_OBJECTS, VG150_PREDICATES
from .affordances import SPATIAL_PREDICATES, Affordance, Triplet


@dataclass(frozen=True, eq=False)
class World:
    """Tables that composition reads; nothing of them depends on the seed or the size of a set.

    Attributes:
        name: The name sets record and `generate_synthetic_genome` takes.
        affordances: For each pair of classes (subject, object) how they meet.
        resting: Classes that also sit and lie where they stand by themselves.
        walking: Classes that also walk.
        settings: For each setting the classes that stand on its ground, with the weight of starting a group with them.
        setting_shares: Weight of each setting.
        carried: Classes that are brought to others in settings that do not list them.
        outdoors: Those of them that no room shows.
        ranking: Its predicates, the most frequent first: the ranks of `TripletDistribution.predicate_zipf`.
        predicate_weights: How much more often than the affordances say each predicate is tried where a set asks for no
            exponent; 1 for those it does not name.
    """

    name: str
    affordances: Mapping[tuple[str, str], Affordance]
    resting: tuple[str, ...]
    walking: tuple[str, ...]
    settings: Mapping[str, Mapping[str, float]]
    setting_shares: Mapping[str, float]
    carried: tuple[str, ...]
    outdoors: tuple[str, ...]
    ranking: tuple[str, ...]
    predicate_weights: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def objects(self) -> tuple[str, ...]:
        """Its object classes, in the order of VG150."""
        names = {name for pair in self.affordances for name in pair}
        return tuple(name for name in VG150_OBJECTS if name in names)

    @cached_property
    def predicates(self) -> tuple[str, ...]:
        """Its predicates, in the order of VG150."""
        names = {name for affordance in self.affordances.values() for name in affordance.predicates}
        return tuple(name for name in VG150_PREDICATES if name in names)

    def spatial_pair(self, first: str, second: str) -> tuple[str, str] | None:
        """The (subject, object) order in which two classes stand in spatial relations, `None` if they have none."""
        for pair in ((first, second), (second, first)):
            if pair in self.affordances and self.affordances[pair].predicates.keys() & SPATIAL_PREDICATES:
                return pair
        return None

    def tells_gaze(self, pair: tuple[str, str]) -> bool:
        """Whether the subject of a pair, standing beside the object, looks at it or away from it."""
        return pair in self.affordances and "looking at" in self.affordances[pair].predicates

    def held_out(self, share: float) -> frozenset[Triplet]:
        """Triplets that only test images contain, for zero-shot recall.

        A pair's usual predicate is never held out. The choice hangs on the names and the share alone, so that every set
        agrees; a smaller share chooses some of the triplets that a larger one does.

        Args:
            share: Share of the triplets that are not usual for their pair, in [0, 1].
        """
        return _held_out(self, share)


@cache
def _held_out(world: World, share: float) -> frozenset[Triplet]:
    held_out = set()
    for (subject, object_), affordance in world.affordances.items():
        for predicate in list(affordance.predicates)[1:]:
            if zlib.crc32(f"{subject} {predicate} {object_}".encode()) < share * 2**32:
                held_out.add((subject, predicate, object_))
    return frozenset(held_out)
