# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Objects of a synthetic scene and the scene itself: plain data with geometry."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from .drawing import Bounds, Figure, Point, Pose
from .shapes import Outline, draw_object, outline


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
        string: Other end of the string it hangs from, or of the rope it is fastened to.
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

    @property
    def figure(self) -> Figure:
        """The drawing, in its own coordinates."""
        return draw_object(self.label, self.appearance, self.pose, self.mirror)

    @property
    def outline(self) -> Outline:
        """Extent and joints of the drawing."""
        return outline(self.label, self.pose, self.mirror)

    @cached_property
    def box(self) -> Bounds:
        """(left, top, right, bottom) in the picture."""
        left, top, right, bottom = self.outline.bounds
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
        x, y = self.outline.joints.get(name, (0.0, 0.0))
        return self.origin[0] + x * self.scale[0], self.origin[1] + y * self.scale[1]

    @property
    def tie(self) -> Point:
        """Where its own end of the string is, in the picture."""
        return self.joint("tie" if self.support == GROUND else "top")

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
        setting: Key of `World.settings`.
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
