# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Composition of synthetic scenes: objects are put together one by one, relations follow from where they end up.

A placement is proposed from the table of affordances; `scene_rules` then reads all relations off the geometry, and a
placement that is ambiguous, or brings a relation the table does not know, is dropped and another one tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .affordances import SPATIAL_PREDICATES, Triplet
from .drawing import Bounds, Point, Pose
from .everyday_world import EVERYDAY
from .scene_objects import AIR, GROUND, HELD_UP, Scene, SceneObject
from .scene_preferences import Preferences, preferences
from .scene_rules import (
    ABOVE_GAP,
    CLEAR_GAP,
    MIN_BASE_GAP,
    NEAR_GAP,
    POSTURES,
    AmbiguousGeometry,
    derive_relations,
    interval_overlap,
)
from .shapes import OBJECT_CLASSES
from .shapes_living import PEOPLE
from .worlds import World


CHANCE_RELATIONS = 0.25  # share of placements kept that bring more relations than the intended one
IN_FRONT_OF_ALL = 9.0  # depth
TILTED = ("kite", "plane")
MAX_ATTEMPTS = 40
PLACEMENTS = 4  # tries for one chosen pair and predicate


@dataclass(frozen=True)
class SceneComplexity:
    """How crowded scenes are.

    Attributes:
        min_objects: Fewest objects of a scene with relations.
        max_objects: Most objects.
        min_relations: Fewest relations of a scene with relations.
        max_relations: Most relations.
        empty_share: Share of images without any relation, in [0, 1].
        usual_boost: How much more often than the table of affordances says the usual predicate of a pair is tried, at
            least 0. Larger values make the predicate easier to guess from the two classes.
        min_zoom: Smallest magnification of a scene's objects; 1 is life size in the table of shapes.
        max_zoom: Largest magnification. Much above 1 few objects fit into a picture.
        crowding: How much rarer each further object makes a scene, in (0, 1]: with 1 every number of objects is aimed at
            equally often.
    """

    min_objects: int = 3
    max_objects: int = 8
    min_relations: int = 2
    max_relations: int = 8
    empty_share: float = 0.03
    usual_boost: float = 2.5
    min_zoom: float = 0.85
    max_zoom: float = 1.08
    crowding: float = 1.0

    def __post_init__(self) -> None:
        if not 2 <= self.min_objects <= 5 or not self.min_objects <= self.max_objects <= 12:
            raise ValueError(
                "Expected min_objects in 2..5 and max_objects in min_objects..12 (more do not fit into a picture), got "
                f"min_objects={self.min_objects}, max_objects={self.max_objects}."
            )
        # A scene of n objects is sure to exist with n - 1 relations.
        if not 1 <= self.min_relations < self.max_objects or self.max_relations < max(
            self.min_objects, self.min_relations
        ):
            raise ValueError(
                "Expected 1 <= min_relations < max_objects and max_relations >= min_relations and min_objects, got "
                f"min_relations={self.min_relations}, max_relations={self.max_relations}."
            )
        if not 0 <= self.empty_share <= 1:
            raise ValueError(f"Expected empty_share in [0, 1], got {self.empty_share}.")
        if not 0 <= self.usual_boost < float("inf"):
            raise ValueError(f"Expected usual_boost to be finite and at least 0, got {self.usual_boost}.")
        if not 0.3 <= self.min_zoom <= self.max_zoom <= 2:
            raise ValueError(
                f"Expected 0.3 <= min_zoom <= max_zoom <= 2, got min_zoom={self.min_zoom}, max_zoom={self.max_zoom}."
            )
        if not 0 < self.crowding <= 1:
            raise ValueError(f"Expected 0 < crowding <= 1, got {self.crowding}.")

    def number_of_objects(self, rng: np.random.Generator) -> int:
        """How many objects a scene shall have."""
        if self.crowding == 1:
            return int(rng.integers(self.min_objects, self.max_objects + 1))
        return _weighted(rng, {n: self.crowding**n for n in range(self.min_objects, self.max_objects + 1)})


@dataclass(frozen=True)
class Contact:
    """How two objects are joined.

    Attributes:
        own: Joint of the object that is added.
        partner: Joint of the object that is already there ("surface" = anywhere on its surface).
        adds_subject: Whether the added object is the subject.
        body: Pose of the subject, if the predicate demands one.
        arms: Arms of the subject, if the predicate demands them.
        partner_body: Pose of the object that is already there, if the predicate demands one.
        depth: Added to the partner's depth.
    """

    own: str
    partner: str
    adds_subject: bool = True
    body: str | None = None
    arms: str | None = None
    partner_body: str | None = None
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
    "eating": Contact("middle", "mouth", adds_subject=False, arms="eat"),
    "mounted on": Contact("middle", "wall", body="mount"),
    "growing on": Contact("middle", "crown", body="grow"),
    "on back of": Contact("base", "surface"),
    "with": Contact("tie", "hand", adds_subject=False, arms="hold"),
    "attached to": Contact("tie", "tie"),
    "against": Contact("base", "base", body="lean"),
}
GRAZING = Contact("base", "muzzle", adds_subject=False, partner_body="graze")
SPATIAL = (*SPATIAL_PREDICATES, "looking at")
ROPED = ("with", "attached to")
ROPE_GAP = (0.06, 0.12)
CROWN_SPREAD = 0.12  # of the figure's size, how far from the joint `crown` things grow
REPEATABLE = ("on", "in", "growing on", "on back of")  # of one partner
LAID_FLAT = {"surfboard": ("on", "in", "carrying")}


def contact_of(predicate: str, subject: str) -> Contact:
    """How a subject of this class is joined by a predicate: people eat from the hand, animals from the ground."""
    return GRAZING if predicate == "eating" and subject not in PEOPLE else CONTACTS[predicate]


def _weighted(rng: np.random.Generator, weights: dict):
    """A key drawn with probability proportional to its weight."""
    remaining = rng.random() * sum(weights.values())
    for key, weight in weights.items():
        remaining -= weight
        if remaining < 0:
            return key
    return key


def _beside(known: tuple[float, float], span: tuple[float, float], overlap: float, on_right: bool) -> float:
    """Shift that puts a span to the right or left of another one, overlapping it."""
    return known[1] - overlap - span[0] if on_right else known[0] + overlap - span[1]


class SceneComposer:
    """Builds one scene, an object at a time; a placement that breaks a rule is dropped and another one tried."""

    def __init__(
        self,
        rng: np.random.Generator,
        scene: Scene,
        complexity: SceneComplexity,
        preferences: Preferences,
        world: World,
        related: bool = True,
    ):
        self.rng, self.scene, self.preferences, self.world = rng, scene, preferences, world
        self.max_relations = complexity.max_relations if related else 0
        self.zoom = rng.uniform(complexity.min_zoom, complexity.max_zoom)
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
        return replace(street, scale=(self.scene.width / 5, depth), mirror=False, depth=0.0)

    def _new(self, label: str, pose: Pose, origin: Point = (0.0, 0.0), **place: Any) -> SceneObject:
        # One call for all random numbers: calls are what costs time here.
        size_draw, width_draw, tilt, build, mirror, appearance = self.rng.random(6).tolist()
        pose = Pose(pose.body, pose.arms, int(5 * build) / 4, 6.0 * (int(5 * tilt) - 2) if label in TILTED else 0.0)
        size = OBJECT_CLASSES[label].size * self.zoom * (0.93 + 0.14 * size_draw)
        scale = (size * (0.94 + 0.12 * width_draw), size)
        return SceneObject(label, int(2**31 * appearance), pose, mirror < 0.5, origin, scale,
                           **{"depth": origin[1], **place})  # fmt: skip

    def _ground_y(self) -> float:
        top, bottom = (0.84, 0.965) if self.scene.setting != "street" else (0.85, 0.95)
        return self.scene.height - 1 + self.rng.uniform(top, bottom)

    def _free_pose(self, label: str) -> Pose:
        """A pose for something that stands by itself."""
        on_street = self.world.affordances.get((label, "street"))
        if label in self.world.resting:
            bodies = {"stand": 3.0, "sit": 2.0, "lie": 1.0, "walk": 2.0}
        elif label in self.world.walking:
            bodies = {"stand": 3.0, "walk": 1.2}
        else:
            return Pose()
        if self.scene.setting == "street":
            bodies = {
                body: on_street.predicates.get(predicate, 0) * self.preferences.weight(predicate)
                for body, predicate in POSTURES.items()
            }
        return Pose(_weighted(self.rng, bodies))

    def add_group(self) -> bool:
        """Puts something on the ground, clear of what is there."""
        label = _weighted(self.rng, self.preferences.starters[self.scene.setting])
        x = self.rng.uniform(0.08, self.scene.width - 0.08)
        thing = self._new(label, self._free_pose(label), (x, self._ground_y()))
        left, _, right, _ = thing.box
        spans = [known.box for known in self.objects if known.label != "street"]
        if any(interval_overlap((left, right), (span[0], span[2])) > -CLEAR_GAP for span in spans):
            return False
        return self._accept([*self.objects, thing])

    def add_partner(self) -> bool:
        """Joins a new object to one that is there, or puts it beside, behind, in front of or above it."""
        index = self._choose_partner()
        known = self.objects[index]
        pairs = self.preferences.partners[self.scene.setting, known.label]
        if not pairs:
            return False
        pair = _weighted(self.rng, pairs)
        predicate = _weighted(self.rng, self.preferences.predicates[pair])
        if (pair[0], predicate, pair[1]) in self.preferences.forbidden:
            return False
        label, adds_subject = (pair[0], True) if pair[1] == known.label else (pair[1], False)
        return any(self._place(label, index, predicate, adds_subject) for _ in range(PLACEMENTS))

    def _place(self, label: str, index: int, predicate: str, adds_subject: bool) -> bool:
        known = self.objects[index]
        if predicate == "above":
            return adds_subject and self._add_above(label, known)
        if predicate in SPATIAL:
            return known.support == GROUND and self._add_beside(label, known, predicate, adds_subject)
        contact = contact_of(predicate, label if adds_subject else known.label)
        fits = contact.adds_subject == adds_subject or predicate == "attached to"
        return fits and self._add_joined(label, index, predicate, contact, adds_subject)

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
        flyer = self._new(label, Pose(body), support=AIR, depth=IN_FRONT_OF_ALL)
        box = flyer.box
        flyer = replace(flyer, origin=(x - (box[0] + box[2]) / 2, y - box[3]))
        if label == "lamp":
            flyer = replace(flyer, string=(flyer.joint("top")[0], 0.0))
        return self._accept([*self.objects, flyer])

    def _add_beside(self, label: str, known: SceneObject, predicate: str, adds_subject: bool) -> bool:
        new = self._new(label, self._free_pose(label), (0.0, known.origin[1]))
        if predicate in ("near", "looking at"):
            overlap = -self.rng.uniform(0.003, NEAR_GAP - 0.003)
            base = known.origin[1] + self.rng.uniform(-0.02, 0.02)
            on_right = self.rng.random() < 0.5
            on_right, new = self._with_gaze(new, known, predicate, adds_subject, on_right)
            known_span, span = (known.box[0], known.box[2]), (new.box[0], new.box[2])
        else:
            nearer = (predicate == "in front of") == adds_subject
            base = known.origin[1] + (1 if nearer else -1) * self.rng.uniform(MIN_BASE_GAP + 0.01, 0.07)
            known_span, span = known.core, new.core
            overlap = self.rng.uniform(0.35, 0.9) * min(known_span[1] - known_span[0], span[1] - span[0])
            on_right = self.rng.random() < 0.5
        x = _beside(known_span, span, overlap, on_right)
        return self._accept([*self.objects, replace(new, origin=(x, base), depth=base)])

    def _with_gaze(
        self, new: SceneObject, known: SceneObject, predicate: str, adds_subject: bool, on_right: bool
    ) -> tuple[bool, SceneObject]:
        """The side to put a new object on, and the object, so that the subject looks at the object or away from it."""
        pair = (new.label, known.label) if adds_subject else (known.label, new.label)
        if not self.world.tells_gaze(pair):
            return on_right, new
        if adds_subject:
            return on_right, replace(new, mirror=on_right == (predicate == "looking at"))
        return known.mirror != (predicate == "looking at"), new

    def _add_joined(self, label: str, index: int, predicate: str, contact: Contact, adds_subject: bool) -> bool:
        known = self.objects[index]
        if self._is_taken(index, predicate):
            return False
        if contact.arms:
            known = replace(known, pose=replace(known.pose, arms=contact.arms))
        if contact.partner_body:
            known = replace(known, pose=replace(known.pose, body=contact.partner_body))
        body = self._body_for(label, predicate, contact)
        new = self._new(label, Pose(body), support=HELD_UP, depth=known.depth + contact.depth, partner=index,
                        contact=predicate, is_subject=adds_subject)  # fmt: skip
        placed = (
            self._stood_beside(new, known) if predicate in (*ROPED, "against") else self._joined(new, known, contact)
        )
        if placed is None:
            return False
        objects = [*self.objects, placed]
        objects[index] = known
        return self._accept(objects)

    def _body_for(self, label: str, predicate: str, contact: Contact) -> str:
        if contact.body and contact.adds_subject:
            return contact.body
        if predicate in LAID_FLAT.get(label, ()):
            return "lie"
        if label in self.world.resting and predicate == "in":
            return "sit"  # upright, so that it fits between the sides
        if label in self.world.resting and predicate == "under" and self.rng.random() < 0.5:
            return "lie"
        return "stand"

    def _joined(self, new: SceneObject, known: SceneObject, contact: Contact) -> SceneObject | None:
        """The new object at its place, or `None` if it does not fit."""
        predicate = new.contact
        if contact.partner == "surface":
            point = self._surface_point(known)
        else:
            point = known.joint(contact.partner) if contact.partner in known.outline.joints else None
        if point is None:
            return None
        if predicate == "hanging from":
            tie, point = point, (point[0], point[1] + self.rng.uniform(0.02, 0.05))
            return replace(new.joined_at("top", point), string=tie)
        if predicate == "growing on":
            spread = CROWN_SPREAD * known.scale[1]
            point = point[0] + self.rng.uniform(-spread, spread), point[1] + self.rng.uniform(-spread, spread)
        placed = new.joined_at(contact.own if contact.own in new.outline.joints else "base", point)
        height, clearance = placed.box[3] - placed.box[1], known.box[3] - known.box[1]
        return None if predicate == "under" and height > 0.8 * clearance else placed

    def _stood_beside(self, new: SceneObject, known: SceneObject) -> SceneObject | None:
        """The new object on the ground beside its partner: leaning against it, or tied to it with a rope."""
        leans = new.contact == "against"
        fixed = "hand" if new.contact == "with" else "tie"
        if not leans and not (fixed in known.outline.joints and "tie" in new.outline.joints):
            return None
        away = 0.0 if leans else known.joint(fixed)[0] - 0.5 * (known.box[0] + known.box[2])
        on_right = self.rng.random() < 0.5 if abs(away) < 0.01 else away > 0
        gap = self.rng.uniform(-0.01, 0.0) if leans else self.rng.uniform(*ROPE_GAP)
        base = known.origin[1] + self.rng.uniform(0.0, 0.02)
        # What leans falls towards its partner; what is tied turns the side to it where the rope is.
        tied_behind = not leans and (new.joint("tie")[0] < new.origin[0]) != new.mirror
        new = replace(new, mirror=on_right != tied_behind, depth=max(base, known.depth + 0.002))
        new = replace(new, origin=(_beside(known.core, new.core, -gap, on_right), base))
        return new if leans else replace(new, support=GROUND, string=known.joint(fixed))

    def _surface_point(self, known: SceneObject) -> Point | None:
        if "surface_left" not in known.outline.joints:
            return None
        left, right = sorted((known.joint("surface_left"), known.joint("surface_right")))
        return self.rng.uniform(left[0], right[0]), left[1]

    def _is_taken(self, index: int, predicate: str) -> bool:
        """Whether the place that a predicate needs is occupied, or the partner's own pose rules it out."""
        known = self.objects[index]
        contacts = {thing.contact for thing in self.objects if thing.partner == index}
        by_hand = known.label in PEOPLE and not contact_of(predicate, known.label).adds_subject
        if by_hand:
            busy = predicate != "wearing" and (known.pose.arms != "down" or known.pose.body in ("ride", "walk"))
            return (
                busy
                or known.pose.body == "lie"
                or predicate in contacts
                or {"wearing", "carrying"} <= {predicate, *contacts}
                or (predicate == "with" and known.support != GROUND)
            )
        upright = known.support == GROUND and (predicate != "eating" or not contacts)
        return not upright or (predicate in contacts and predicate not in REPEATABLE)

    def _accept(self, objects: list[SceneObject]) -> bool:
        """Takes the objects as the scene's, if they lie inside the picture and break no rule."""
        if not all(self._is_inside(thing.box) for thing in objects):
            return False
        try:
            relations = derive_relations(objects, self.world)
        except AmbiguousGeometry:
            return False
        if not self._are_allowed(objects, relations):
            return False
        new = [name for *_, name in relations[len(self.scene.relations) :]]
        intended = 2 if self.scene.setting == "street" else 1
        if len(new) > intended and self.rng.random() > CHANCE_RELATIONS * self.preferences.chance(new):
            return False
        self.scene.objects, self.scene.relations = objects, relations
        return True

    def _is_inside(self, box: Bounds) -> bool:
        return box[0] >= 0 and box[1] >= 0 and box[2] <= self.scene.width + 1e-9 and box[3] <= self.scene.height

    def _are_allowed(self, objects: list[SceneObject], relations: list[tuple[int, int, str]]) -> bool:
        for subject, object_, predicate in relations:
            pair = objects[subject].label, objects[object_].label
            affordance = self.world.affordances.get(pair)
            if affordance is None or predicate not in affordance.predicates:
                return False
            if (pair[0], predicate, pair[1]) in self.preferences.forbidden:
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
    forbidden: frozenset[Triplet] = frozenset(),
    predicate_weights: Mapping[str, float] | None = None,
    world: World = EVERYDAY,
) -> Scene:
    """Draws one scene.

    Args:
        rng: Source of every choice.
        width: Picture width in units of the shorter side (at least 1).
        height: Picture height, same unit (at least 1).
        complexity: How crowded it is; default `SceneComplexity()`.
        forbidden: Triplets that may not occur, see `World.held_out`.
        predicate_weights: How much more often than usual the named predicates are tried; default 1 for all.
        world: What there is.

    Returns:
        The scene; with probability `complexity.empty_share` one without relations.
    """
    complexity = complexity or SceneComplexity()
    tables = preferences(world, complexity.usual_boost, forbidden, tuple((predicate_weights or {}).items()))
    if rng.random() < complexity.empty_share:
        settings = {name: share for name, share in world.setting_shares.items() if name != "street"}
        scene = Scene(width, height, _weighted(rng, settings))
        _compose_unrelated(SceneComposer(rng, scene, complexity, tables, world, related=False))
        return scene
    while True:
        scene = Scene(width, height, _weighted(rng, tables.settings))
        wanted = complexity.number_of_objects(rng)
        _compose_related(SceneComposer(rng, scene, complexity, tables, world), wanted)
        _without_isolated(rng, scene, keep=0.15)
        enough = len(scene.objects) >= complexity.min_objects and len(scene.relations) >= complexity.min_relations
        if enough:
            return scene
