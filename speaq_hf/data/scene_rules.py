# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The meaning of the predicates in synthetic scenes: rules that read relations off the geometry.

Beside something a subject is near it or, in worlds that know the difference, looking at it if it faces it. Relations
between objects that were joined (riding, wearing, on, in, ...) hold by the joint. Spatial relations (near,
behind, in front of, above) and those with the street hold for every pair that fits the rule. Geometry between two
rules is ambiguous and must not occur, so that the same geometry always carries the same predicate. No rule knows left
from right: training flips images. Lengths are in units of the shorter picture side.
"""

from __future__ import annotations

from .drawing import Bounds
from .everyday_world import EVERYDAY
from .scene_objects import AIR, GROUND, SceneObject
from .shapes import OBJECT_CLASSES
from .worlds import World


NEAR_GAP = 0.03  # side by side, at most this far apart: near
CLEAR_GAP = 0.065  # at least this far apart: unrelated; in between: ambiguous
MIN_OVERLAP = 0.3  # of the narrower one's width: in front of or behind
MIN_BASE_GAP = 0.025  # between the two bases of what stands in front and behind
MAX_HIDDEN = 0.65  # of the box that stands behind
MAX_UNRELATED_OVERLAP = 0.12  # of the smaller box
ABOVE_GAP = (0.02, 0.3)  # between what flies and what is below it

PARKED = ("car", "bike", "truck", "bus")
POSTURES = {"walk": "walking on", "sit": "sitting on", "lie": "laying on", "stand": "standing on"}  # else it stands


class AmbiguousGeometry(Exception):
    """Two objects stand so that no rule clearly holds or fails."""


def interval_overlap(first: tuple[float, float], second: tuple[float, float]) -> float:
    return min(first[1], second[1]) - max(first[0], second[0])


def _intersection(first: Bounds, second: Bounds) -> float:
    width = interval_overlap((first[0], first[2]), (second[0], second[2]))
    height = interval_overlap((first[1], first[3]), (second[1], second[3]))
    return max(width, 0.0) * max(height, 0.0)


def _area(box: Bounds) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def spatial_relation(subject: SceneObject, object_: SceneObject) -> str | None:
    """The predicate between two objects that stand on the ground, from their boxes and bases.

    Args:
        subject: The one the sentence starts with.
        object_: The other.

    Returns:
        "near", "behind", "in front of", or `None` if they are clearly apart.

    Raises:
        AmbiguousGeometry: If the gap, the overlap or the visible part is between two rules.
    """
    overlap = interval_overlap((subject.box[0], subject.box[2]), (object_.box[0], object_.box[2]))
    if overlap <= -CLEAR_GAP:
        return None
    if -NEAR_GAP <= overlap <= 0:
        return "near"
    width = min(subject.core[1] - subject.core[0], object_.core[1] - object_.core[0])
    if interval_overlap(subject.core, object_.core) < MIN_OVERLAP * width:
        raise AmbiguousGeometry("between near and overlapping")
    base_gap = subject.origin[1] - object_.origin[1]
    rear, front = (subject, object_) if base_gap < 0 else (object_, subject)
    covering = (front.core[0], front.box[1], front.core[1], front.box[3])
    if abs(base_gap) < MIN_BASE_GAP or _intersection(rear.box, covering) > MAX_HIDDEN * _area(rear.box):
        raise AmbiguousGeometry("neither clearly behind nor visible")
    return "behind" if base_gap < 0 else "in front of"


def object_below(objects: list[SceneObject], index: int) -> int | None:
    """Index of what an object in the air is above: the topmost thing straight below its middle.

    Raises:
        AmbiguousGeometry: If that is too far, too close or too near to its side, or if something else crowds it.
    """
    left, top, right, bottom = objects[index].box
    middle, margin = (left + right) / 2, 0.03
    crowded = (left - margin, top - margin, right + margin, bottom + ABOVE_GAP[0])
    best = None
    for other, candidate in enumerate(objects):
        if other == index or candidate.label == "street":
            continue
        if _intersection(crowded, candidate.box) > 0:
            raise AmbiguousGeometry("too close in the air")
        from_side = interval_overlap((middle, middle), (candidate.box[0], candidate.box[2]))
        inside = candidate.box[0] <= middle <= candidate.box[2]
        if candidate.support == AIR or (not inside and from_side < -margin):
            continue
        if best is None or candidate.box[1] < objects[best].box[1]:
            best = other
    if best is None:
        return None
    below = objects[best].box
    if not below[0] <= middle <= below[2] or below[1] - bottom > ABOVE_GAP[1]:
        raise AmbiguousGeometry("not clearly above")
    return best


def street_relation(thing: SceneObject, street: SceneObject, ridden: bool) -> str | None:
    """The predicate between something that stands on the ground and the street; `None` beside the street."""
    if thing.origin[1] < street.box[1]:
        return None
    if thing.label in PARKED:
        return "on" if ridden else "parked on"
    return POSTURES.get(thing.pose.body, "standing on") if OBJECT_CLASSES[thing.label].has_poses else "on"


def faces(subject: SceneObject, object_: SceneObject) -> bool:
    """Whether an object stands on the side that the subject's face is turned to, and its head is up."""
    is_right = object_.box[0] + object_.box[2] > subject.box[0] + subject.box[2]
    return is_right != subject.mirror and subject.pose.body != "graze"


def _ground_relation(objects: list[SceneObject], first: int, second: int, world: World) -> tuple[int, int, str] | None:
    labels = objects[first].label, objects[second].label
    order = world.spatial_pair(*labels)
    subject, object_ = (first, second) if order in (labels, None) else (second, first)
    predicate = spatial_relation(objects[subject], objects[object_])
    if predicate == "near" and world.tells_gaze(order) and faces(objects[subject], objects[object_]):
        predicate = "looking at"
    return None if predicate is None else (subject, object_, predicate)


def _pair_relation(objects: list[SceneObject], first: int, second: int, world: World) -> tuple[int, int, str] | None:
    one, other = objects[first], objects[second]
    if "street" in (one.label, other.label):
        thing, street = (second, first) if one.label == "street" else (first, second)
        if objects[thing].support != GROUND:
            return None
        ridden = any(rider.partner == thing and rider.contact == "riding" for rider in objects)
        predicate = street_relation(objects[thing], objects[street], ridden)
        return None if predicate is None else (thing, street, predicate)
    if one.support == other.support == GROUND:
        return _ground_relation(objects, first, second, world)
    if _intersection(one.box, other.box) > MAX_UNRELATED_OVERLAP * min(_area(one.box), _area(other.box)):
        raise AmbiguousGeometry("unrelated objects overlap")
    return None


def derive_relations(objects: list[SceneObject], world: World = EVERYDAY) -> list[tuple[int, int, str]]:
    """All relations of a scene: those of joined objects, and every other that the rules find.

    Args:
        objects: The objects, partners before those joined to them.
        world: What they are part of: it says which class is the subject, and whose gaze tells.

    Returns:
        Rows (subject index, object index, predicate).

    Raises:
        AmbiguousGeometry: If some pair fits no rule clearly.
    """
    relations = []
    for second, thing in enumerate(objects):
        for first in range(second):
            relation = None if thing.partner == first else _pair_relation(objects, first, second, world)
            relations += [] if relation is None else [relation]
        if thing.partner is not None:
            pair = (second, thing.partner) if thing.is_subject else (thing.partner, second)
            relations.append((*pair, thing.contact))
        if thing.support == AIR:
            below = object_below(objects, second)
            relations += [] if below is None else [(second, below, "above")]
    return relations
