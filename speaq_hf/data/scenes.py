# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Composition of synthetic scenes: objects are put together one by one, relations follow from where they end up.

Contact relations (riding, wearing, on, in, ...) hold between two objects that were joined: the joint fixes the
geometry. Spatial relations (near, behind, in front of, above) and those with the street are read off the finished
scene by the rules of `spatial_relation`, `object_below` and `street_relation`, for every pair. A placement whose
geometry would be ambiguous is dropped, so that the same geometry always carries the same predicate. No rule knows left from right:
training flips images.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache, cached_property

import numpy as np

from .affordances import AFFORDANCES, GROUPS, held_out_triplets, pair_affordance
from .drawing import Bounds, Figure, Point, Pose
from .shapes import OBJECT_CLASSES, draw_object


# Lengths are in units of the shorter picture side.
NEAR_GAP = 0.03  # side by side, at most this far apart: near
CLEAR_GAP = 0.065  # at least this far apart: unrelated; in between: ambiguous
MIN_OVERLAP = 0.3  # of the narrower one's width: in front of or behind
MIN_BASE_GAP = 0.025  # between the two bases of what stands in front and behind
MAX_HIDDEN = 0.65  # of the box that stands behind
MAX_UNRELATED_OVERLAP = 0.12  # of the smaller box
ABOVE_GAP = (0.02, 0.3)  # between what flies and what is below it
MAX_ATTEMPTS = 60

GROUND, HELD_UP, AIR = "ground", "held up", "air"


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene.

    Attributes:
        label: Class name.
        appearance: Seed of its looks.
        pose: Its pose.
        mirror: Whether it faces left.
        origin: Where its figure's origin lies in the picture.
        scale: Picture units per unit of the figure, (x, y).
        support: `GROUND`, `HELD_UP` (by the partner) or `AIR`.
        depth: Larger is nearer to the viewer and painted later.
        partner: Index of the object it was joined to.
        contact: Predicate of that joint.
        is_subject: Whether it is the subject of that predicate.
        string: Upper end of the string it hangs from.
    """

    label: str
    appearance: int
    pose: Pose
    mirror: bool
    origin: Point
    scale: Point
    support: str = GROUND
    depth: float = 0.0
    partner: int | None = None
    contact: str | None = None
    is_subject: bool = True
    string: Point | None = None

    @cached_property
    def figure(self) -> Figure:
        """The drawing, in its own coordinates."""
        return draw_object(self.label, self.appearance, self.pose, self.mirror)

    @cached_property
    def bounds(self) -> Bounds:
        """Extent of the figure in its own coordinates."""
        return self.figure.bounds

    @cached_property
    def box(self) -> Bounds:
        """(left, top, right, bottom) in the picture."""
        left, top, right, bottom = self.bounds
        (x, y), (scale_x, scale_y) = self.origin, self.scale
        return x + left * scale_x, y + top * scale_y, x + right * scale_x, y + bottom * scale_y

    @cached_property
    def core(self) -> tuple[float, float]:
        """Left and right of what blocks the view near the ground: of a tree the trunk, else the box."""
        if self.label != "tree":
            return self.box[0], self.box[2]
        return self.origin[0] - 0.08 * self.scale[0], self.origin[0] + 0.08 * self.scale[0]

    def joint(self, name: str) -> Point:
        """A joint of the figure, in the picture; the origin if the figure has none of that name."""
        x, y = self.figure.joints.get(name, (0.0, 0.0))
        return self.origin[0] + x * self.scale[0], self.origin[1] + y * self.scale[1]

    def joined_at(self, own: str, point: Point) -> SceneObject:
        """The object moved so that its joint `own` lies at `point`."""
        x, y = self.joint(own)
        return replace(self, origin=(self.origin[0] + point[0] - x, self.origin[1] + point[1] - y))


@dataclass
class Scene:
    """A finished scene.

    Attributes:
        width: Picture width in units of the shorter side.
        height: Picture height, same unit.
        setting: Key of `SETTINGS`.
        objects: What is in it.
        relations: Rows (subject index, object index, predicate name).
    """

    width: float
    height: float
    setting: str
    objects: list[SceneObject] = field(default_factory=list)
    relations: list[tuple[int, int, str]] = field(default_factory=list)

    def painting_order(self) -> list[int]:
        """Object indices, the farthest first."""
        return sorted(range(len(self.objects)), key=lambda index: self.objects[index].depth)


@dataclass(frozen=True)
class SceneComplexity:
    """How crowded scenes are.

    Attributes:
        min_objects: Fewest objects of a scene with relations.
        max_objects: Most objects.
        min_relations: Fewest relations of a scene with relations.
        max_relations: Most relations.
        empty_share: Share of images without any relation, in [0, 1].
    """

    min_objects: int = 3
    max_objects: int = 8
    min_relations: int = 2
    max_relations: int = 8
    empty_share: float = 0.03

    def __post_init__(self) -> None:
        if not 2 <= self.min_objects <= self.max_objects <= 12:
            raise ValueError(
                "Expected 2 <= min_objects <= max_objects <= 12 (more do not fit into a picture), "
                f"got min_objects={self.min_objects}, max_objects={self.max_objects}."
            )
        if not 1 <= self.min_relations <= self.max_relations:
            raise ValueError(
                f"Expected 1 <= min_relations <= max_relations, got min_relations={self.min_relations}, "
                f"max_relations={self.max_relations}."
            )
        if not 0 <= self.empty_share <= 1:
            raise ValueError(f"Expected empty_share in [0, 1], got {self.empty_share}.")


_LIVING = dict.fromkeys((*GROUPS["person"], *GROUPS["pet"]), 1.0)
_OUTDOORS = {**_LIVING, "horse": 2.0, "elephant": 1.6, "bike": 1.6, "car": 1.6, "tree": 1.2, "house": 0.8, "bench": 1.6,
             "box": 0.8, "table": 0.6, "chair": 0.4, "bag": 0.2, "hat": 0.2}  # fmt: skip

# What can stand on the ground of a setting, with the weight of starting a group with it.
SETTINGS: dict[str, dict[str, float]] = {
    "room": {**_LIVING, "table": 3.0, "chair": 2.0, "bed": 3.0, "box": 1.4, "lamp": 0.4, "bag": 0.2},
    "grass": _OUTDOORS,
    "snow": {**_OUTDOORS, "elephant": 0.0},
    "beach": {**_OUTDOORS, "boat": 5.0, "car": 0.4, "bike": 0.6},
    "street": {**_OUTDOORS, "bike": 3.0, "car": 2.5, "boat": 0.0, "house": 0.0, "table": 0.0, "chair": 0.0, "bench": 0.0,
               "tree": 0.0},
}  # fmt: skip
_SETTING_SHARES = {"room": 0.32, "grass": 0.24, "snow": 0.1, "beach": 0.16, "street": 0.18}
_CARRIED = ("hat", "cup", "bag", "box", "umbrella", "flag", "kite", "lamp", "bird", "plane")


@dataclass(frozen=True)
class Contact:
    """How two objects are joined.

    Attributes:
        own: Joint of the object that is added.
        partner: Joint of the object that is already there ("surface" = anywhere on its surface).
        adds_subject: Whether the added object is the subject.
        body: Pose of the subject, if the predicate demands one.
        arms: Arms of the subject, if the predicate demands them.
        depth: Added to the partner's depth.
    """

    own: str
    partner: str
    adds_subject: bool = True
    body: str | None = None
    arms: str | None = None
    depth: float = 0.002


CONTACTS: dict[str, Contact] = {
    "riding": Contact("seat", "saddle", body="ride"),
    "sitting on": Contact("seat", "surface", body="sit"),
    "standing on": Contact("base", "surface", body="stand"),
    "laying on": Contact("base", "surface", body="lie"),
    "on": Contact("base", "surface"),
    "in": Contact("base", "inside", depth=-0.001),
    "under": Contact("base", "below", depth=-0.002),
    "hanging from": Contact("top", "branch", body="hang"),
    "wearing": Contact("base", "head", adds_subject=False),
    "holding": Contact("grip", "hand", adds_subject=False, arms="hold"),
    "carrying": Contact("base", "hands", adds_subject=False, arms="carry"),
}
SPATIAL = ("near", "behind", "in front of")


# ---------------------------------------------------------------------------------------------------------------------
# Rules: relations from geometry
# ---------------------------------------------------------------------------------------------------------------------


class AmbiguousGeometry(Exception):
    """Two objects stand so that no rule clearly holds or fails."""


def _interval_overlap(first: tuple[float, float], second: tuple[float, float]) -> float:
    return min(first[1], second[1]) - max(first[0], second[0])


def _intersection(first: Bounds, second: Bounds) -> float:
    width = _interval_overlap((first[0], first[2]), (second[0], second[2]))
    height = _interval_overlap((first[1], first[3]), (second[1], second[3]))
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
    overlap = _interval_overlap((subject.box[0], subject.box[2]), (object_.box[0], object_.box[2]))
    if overlap <= -CLEAR_GAP:
        return None
    if -NEAR_GAP <= overlap <= 0:
        return "near"
    width = min(subject.core[1] - subject.core[0], object_.core[1] - object_.core[0])
    if _interval_overlap(subject.core, object_.core) < MIN_OVERLAP * width:
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
        from_side = _interval_overlap((middle, middle), (candidate.box[0], candidate.box[2]))
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
    if thing.label in ("car", "bike"):
        return "on" if ridden else "parked on"
    predicates = {"walk": "walking on", "sit": "sitting on", "lie": "laying on", "stand": "standing on"}
    living = (*GROUPS["person"], *GROUPS["pet"], *GROUPS["mount"], "bird")
    return predicates[thing.pose.body] if thing.label in living else "on"


def _ground_relation(objects: list[SceneObject], first: int, second: int) -> tuple[int, int, str] | None:
    labels = objects[first].label, objects[second].label
    order = pair_affordance(*labels)
    subject, object_ = (first, second) if order in (labels, None) else (second, first)
    predicate = spatial_relation(objects[subject], objects[object_])
    return None if predicate is None else (subject, object_, predicate)


def _pair_relation(objects: list[SceneObject], first: int, second: int) -> tuple[int, int, str] | None:
    one, other = objects[first], objects[second]
    if "street" in (one.label, other.label):
        thing, street = (second, first) if one.label == "street" else (first, second)
        if objects[thing].support != GROUND:
            return None
        ridden = any(rider.partner == thing and rider.contact == "riding" for rider in objects)
        predicate = street_relation(objects[thing], objects[street], ridden)
        return None if predicate is None else (thing, street, predicate)
    if one.support == other.support == GROUND:
        return _ground_relation(objects, first, second)
    if _intersection(one.box, other.box) > MAX_UNRELATED_OVERLAP * min(_area(one.box), _area(other.box)):
        raise AmbiguousGeometry("unrelated objects overlap")
    return None


def derive_relations(objects: list[SceneObject]) -> list[tuple[int, int, str]]:
    """All relations of a scene: those of joined objects, and every other that the rules find.

    Returns:
        Rows (subject index, object index, predicate).

    Raises:
        AmbiguousGeometry: If some pair fits no rule clearly.
    """
    relations = []
    for second, thing in enumerate(objects):
        for first in range(second):
            relation = None if thing.partner == first else _pair_relation(objects, first, second)
            relations += [] if relation is None else [relation]
        if thing.partner is not None:
            pair = (second, thing.partner) if thing.is_subject else (thing.partner, second)
            relations.append((*pair, thing.contact))
        if thing.support == AIR:
            below = object_below(objects, second)
            relations += [] if below is None else [(second, below, "above")]
    return relations


# ---------------------------------------------------------------------------------------------------------------------
# Composition
# ---------------------------------------------------------------------------------------------------------------------


def _weighted(rng: np.random.Generator, weights: dict):
    """A key drawn with probability proportional to its weight."""
    remaining = rng.random() * sum(weights.values())
    for key, weight in weights.items():
        remaining -= weight
        if remaining < 0:
            return key
    return key


@cache
def _partners(setting: str, label: str) -> dict[tuple[str, str], float]:
    """Pairs (subject, object) with `label` that can be put together in a setting, and their weights."""
    present = SETTINGS[setting]
    outdoors = ("kite", "plane", "flag")
    weights = {}
    for pair, affordance in AFFORDANCES.items():
        other = pair[1] if pair[0] == label else pair[0]
        possible = present.get(other, 0) > 0 or (other in _CARRIED and not (setting == "room" and other in outdoors))
        if label in pair and possible and affordance.weight > 0:
            weights[pair] = affordance.weight
    return weights


class SceneComposer:
    """Builds one scene, an object at a time; a placement that breaks a rule is dropped and another one tried."""

    def __init__(self, rng: np.random.Generator, scene: Scene, max_relations: int, forbidden: frozenset):
        self.rng, self.scene = rng, scene
        self.max_relations, self.forbidden = max_relations, forbidden
        self.zoom = rng.uniform(0.85, 1.08)
        if scene.setting == "street":
            self._accept([self._street()])

    @property
    def objects(self) -> list[SceneObject]:
        """What has been placed so far."""
        return self.scene.objects

    def _street(self) -> SceneObject:
        depth = self.rng.uniform(0.19, 0.24)
        bottom = self.scene.height - self.rng.uniform(0, 0.02)
        street = self._new("street", Pose(), (self.scene.width / 2, bottom))
        return replace(street, scale=(self.scene.width / 5, depth), mirror=False)

    def _new(self, label: str, pose: Pose, origin: Point = (0.0, 0.0)) -> SceneObject:
        size = OBJECT_CLASSES[label].size * self.zoom * self.rng.uniform(0.93, 1.07)
        scale = (size * self.rng.uniform(0.94, 1.06), size)
        return SceneObject(label, int(self.rng.integers(2**31)), pose, bool(self.rng.random() < 0.5), origin, scale,
                           depth=origin[1])  # fmt: skip

    def _ground_y(self) -> float:
        top, bottom = (0.84, 0.965) if self.scene.setting != "street" else (0.85, 0.95)
        return self.scene.height - 1 + self.rng.uniform(top, bottom)

    def _free_pose(self, label: str) -> Pose:
        """A pose for something that stands by itself."""
        on_street = AFFORDANCES.get((label, "street"))
        if label in GROUPS["pet"]:
            bodies = {"stand": 3.0, "sit": 2.0, "lie": 1.0, "walk": 2.0}
        elif label in GROUPS["person"] or label in GROUPS["mount"]:
            bodies = {"stand": 3.0, "walk": 1.2}
        else:
            return Pose()
        if self.scene.setting == "street":
            words = {"walking on": "walk", "standing on": "stand", "sitting on": "sit", "laying on": "lie"}
            bodies = {words[predicate]: weight for predicate, weight in on_street.predicates.items()}
        return Pose(_weighted(self.rng, bodies))

    def add_group(self) -> bool:
        """Puts something on the ground, anywhere."""
        label = _weighted(self.rng, SETTINGS[self.scene.setting])
        x = self.rng.uniform(0.08, self.scene.width - 0.08)
        return self._accept([*self.objects, self._new(label, self._free_pose(label), (x, self._ground_y()))])

    def add_partner(self) -> bool:
        """Joins a new object to one that is there, or puts it beside, behind, in front of or above it."""
        index = self._choose_partner()
        known = self.objects[index]
        pairs = _partners(self.scene.setting, known.label)
        if not pairs:
            return False
        pair = _weighted(self.rng, pairs)
        predicate = _weighted(self.rng, AFFORDANCES[pair].predicates)
        label, adds_subject = (pair[0], True) if pair[1] == known.label else (pair[1], False)
        if (*pair[:1], predicate, pair[1]) in self.forbidden:
            return False
        if predicate == "above":
            return adds_subject and self._add_above(label, known)
        if predicate in SPATIAL:
            return known.support == GROUND and self._add_beside(label, known, predicate, adds_subject)
        contact = CONTACTS[predicate]
        return contact.adds_subject == adds_subject and self._add_joined(label, index, predicate, contact)

    def _choose_partner(self) -> int:
        related = {index for row in self.scene.relations for index in row[:2]}
        weights = {
            index: 1.0 if index in related else 4.0
            for index, known in enumerate(self.objects)
            if known.label != "street" or len(self.objects) == 1
        }
        return _weighted(self.rng, weights)

    def _add_above(self, label: str, below: SceneObject) -> bool:
        left, top, right, _ = below.box
        x = self.rng.uniform(left + 0.25 * (right - left), right - 0.25 * (right - left))
        y = top - self.rng.uniform(ABOVE_GAP[0] + 0.01, 0.14)
        body = {"bird": "fly", "lamp": "hang"}.get(label, "stand")
        flyer = self._new(label, Pose(body, tilt=float(self.rng.uniform(-15, 15))))
        flyer = replace(flyer, support=AIR, depth=9.0)
        box = flyer.box
        flyer = replace(flyer, origin=(x - (box[0] + box[2]) / 2, y - box[3]))
        if label == "lamp":
            flyer = replace(flyer, string=(flyer.joint("top")[0], 0.0))
        return self._accept([*self.objects, flyer])

    def _add_beside(self, label: str, known: SceneObject, predicate: str, adds_subject: bool) -> bool:
        new = self._new(label, self._free_pose(label), (0.0, known.origin[1]))
        if predicate == "near":
            overlap = -self.rng.uniform(0.003, NEAR_GAP - 0.003)
            base = known.origin[1] + self.rng.uniform(-0.02, 0.02)
            known_span, span = (known.box[0], known.box[2]), (new.box[0], new.box[2])
        else:
            nearer = (predicate == "in front of") == adds_subject
            base = known.origin[1] + (1 if nearer else -1) * self.rng.uniform(MIN_BASE_GAP + 0.01, 0.07)
            known_span, span = known.core, new.core
            overlap = self.rng.uniform(0.35, 0.9) * min(known_span[1] - known_span[0], span[1] - span[0])
        if self.rng.random() < 0.5:
            x = known_span[1] - overlap - span[0]
        else:
            x = known_span[0] + overlap - span[1]
        return self._accept([*self.objects, replace(new, origin=(x, base), depth=base)])

    def _add_joined(self, label: str, index: int, predicate: str, contact: Contact) -> bool:
        known = self.objects[index]
        if self._is_taken(index, predicate):
            return False
        if contact.arms:
            known = replace(known, pose=replace(known.pose, arms=contact.arms))
        body = self._body_for(label, predicate, contact)
        new = self._new(label, Pose(body, tilt=float(self.rng.uniform(-12, 12)) if label == "kite" else 0.0))
        new = replace(new, support=HELD_UP, depth=known.depth + contact.depth, partner=index, contact=predicate,
                      is_subject=contact.adds_subject)  # fmt: skip
        placed = self._joined(new, known, predicate, contact)
        if placed is None:
            return False
        objects = [*self.objects, placed]
        objects[index] = known
        return self._accept(objects)

    def _body_for(self, label: str, predicate: str, contact: Contact) -> str:
        if contact.body and contact.adds_subject:
            return contact.body
        if label in GROUPS["pet"]:
            return "lie" if predicate == "under" and self.rng.random() < 0.5 else "stand"
        return "stand"

    def _joined(self, new: SceneObject, known: SceneObject, predicate: str, contact: Contact) -> SceneObject | None:
        """The new object at its place, or `None` if it does not fit."""
        if contact.partner == "surface":
            point = self._surface_point(known)
        else:
            point = known.joint(contact.partner) if contact.partner in known.figure.joints else None
        if point is None:
            return None
        if predicate == "hanging from":
            tie, point = point, (point[0], point[1] + self.rng.uniform(0.02, 0.05))
            return replace(new.joined_at("top", point), string=tie)
        placed = new.joined_at(contact.own if contact.own in new.figure.joints else "base", point)
        height, clearance = placed.box[3] - placed.box[1], known.box[3] - known.box[1]
        return None if predicate == "under" and height > 0.8 * clearance else placed

    def _surface_point(self, known: SceneObject) -> Point | None:
        if "surface_left" not in known.figure.joints:
            return None
        left, right = sorted((known.joint("surface_left"), known.joint("surface_right")))
        return self.rng.uniform(left[0], right[0]), left[1]

    def _is_taken(self, index: int, predicate: str) -> bool:
        """Whether the place that a predicate needs is occupied, or the partner's own pose rules it out."""
        known = self.objects[index]
        contacts = {thing.contact for thing in self.objects if thing.partner == index}
        if predicate in ("wearing", "holding", "carrying"):
            busy = predicate != "wearing" and (known.pose.arms != "down" or known.pose.body in ("ride", "walk"))
            return (
                busy
                or known.pose.body == "lie"
                or predicate in contacts
                or {"wearing", "carrying"} <= {predicate, *contacts}
            )
        upright = known.support == GROUND
        return not upright or (predicate in contacts and predicate not in ("on", "in"))

    def _accept(self, objects: list[SceneObject]) -> bool:
        """Takes the objects as the scene's, if they lie inside the picture and break no rule."""
        try:
            relations = derive_relations(objects)
        except AmbiguousGeometry:
            return False
        if not all(self._is_inside(thing.box) for thing in objects) or not self._are_allowed(objects, relations):
            return False
        self.scene.objects, self.scene.relations = objects, relations
        return True

    def _is_inside(self, box: Bounds) -> bool:
        return box[0] >= 0 and box[1] >= 0 and box[2] <= self.scene.width + 1e-9 and box[3] <= self.scene.height

    def _are_allowed(self, objects: list[SceneObject], relations: list[tuple[int, int, str]]) -> bool:
        for subject, object_, predicate in relations:
            pair = objects[subject].label, objects[object_].label
            affordance = AFFORDANCES.get(pair)
            if affordance is None or predicate not in affordance.predicates:
                return False
            if (pair[0], predicate, pair[1]) in self.forbidden:
                return False
        return len(relations) <= self.max_relations


def _without_isolated(rng: np.random.Generator, scene: Scene, keep: float) -> None:
    """Drops most objects that take part in no relation: a model trained on triplets never sees them."""
    related = {index for row in scene.relations for index in row[:2]}
    kept = [index for index in range(len(scene.objects)) if index in related or rng.random() < keep]
    position = {old: new for new, old in enumerate(kept)}
    objects = [scene.objects[index] for index in kept]
    scene.objects = [
        thing if thing.partner is None else replace(thing, partner=position[thing.partner]) for thing in objects
    ]
    scene.relations = [(position[subject], position[object_], name) for subject, object_, name in scene.relations]


def _compose_related(composer: SceneComposer, wanted: int) -> None:
    for _ in range(MAX_ATTEMPTS):
        if len(composer.objects) >= wanted:
            return
        alone = not composer.objects or composer.rng.random() < 0.2
        (composer.add_group if alone else composer.add_partner)()


def _compose_unrelated(composer: SceneComposer) -> None:
    """One to three objects, well apart."""
    for _ in range(int(composer.rng.integers(1, 4)) * 4):
        composer.add_group()
    while not composer.objects:
        composer.add_group()


def compose_scene(
    rng: np.random.Generator,
    width: float = 1.0,
    height: float = 1.0,
    complexity: SceneComplexity | None = None,
    allow_held_out: bool = False,
) -> Scene:
    """Draws one scene.

    Args:
        rng: Source of every choice.
        width: Picture width in units of the shorter side (at least 1).
        height: Picture height, same unit (at least 1).
        complexity: How crowded it is; default `SceneComplexity()`.
        allow_held_out: Whether triplets of `held_out_triplets` may occur (test images only).

    Returns:
        The scene; with probability `complexity.empty_share` one without relations.
    """
    complexity = complexity or SceneComplexity()
    forbidden = frozenset() if allow_held_out else held_out_triplets()
    if rng.random() < complexity.empty_share:
        settings = {name: share for name, share in _SETTING_SHARES.items() if name != "street"}
        scene = Scene(width, height, _weighted(rng, settings))
        _compose_unrelated(SceneComposer(rng, scene, 0, forbidden))
        return scene
    while True:
        scene = Scene(width, height, _weighted(rng, _SETTING_SHARES))
        wanted = int(rng.integers(complexity.min_objects, complexity.max_objects + 1))
        _compose_related(SceneComposer(rng, scene, complexity.max_relations, forbidden), wanted)
        _without_isolated(rng, scene, keep=0.15)
        enough = len(scene.objects) >= complexity.min_objects and len(scene.relations) >= complexity.min_relations
        if enough:
            return scene
