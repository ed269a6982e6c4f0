# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The object classes of the synthetic scenes: how each is drawn and how large it is.

Conventions of every drawing function: the origin is the middle of the base, y grows downwards (so the figure lies at
y < 0), the figure faces right. Joints name the points where others touch it: `seat` (of a sitter), `hand`, `hands`
(both raised), `mouth`, `head`, `saddle`, `grip` (where it is held), `top` (where it hangs from a string), `branch` (where a
string is tied), `tie` (where a rope is fastened), `muzzle` (the ground before a grazing animal), `middle`, `wall` (what is
mounted on it), `crown` (what grows on it), `inside`, `below`, and `surface_left`/`surface_right`, the ends of the surface that carries others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from . import shapes_scene_world as more_things
from . import shapes_things as things
from .drawing import Bounds, Figure, Point, Pose
from .shapes_living import ANIMALS, PEOPLE, draw_bird, draw_person, draw_quadruped


@dataclass(frozen=True)
class ObjectClass:
    """One class that scenes can contain.

    Attributes:
        draw: Drawing function, called with a generator for the appearance and a pose.
        size: Picture units (fractions of the shorter picture side) per unit of the figure's own coordinates.
        has_poses: Whether it is alive: its pose is then annotated as an attribute.
    """

    draw: Callable[[np.random.Generator, Pose], Figure]
    size: float
    has_poses: bool = False


SIZES = {
    "man": 0.47, "woman": 0.44, "boy": 0.34, "girl": 0.34, "dog": 0.27, "cat": 0.26, "horse": 0.44, "elephant": 0.48,
    "cow": 0.4, "sheep": 0.36, "giraffe": 0.42,
}  # fmt: skip

OBJECT_CLASSES: dict[str, ObjectClass] = {
    **{name: ObjectClass(partial(draw_person, kind=name), SIZES[name], has_poses=True) for name in PEOPLE},
    **{name: ObjectClass(partial(draw_quadruped, kind=name), SIZES[name], has_poses=True) for name in ANIMALS},
    "bird": ObjectClass(draw_bird, 0.19, has_poses=True),
    "hat": ObjectClass(things.draw_hat, 0.19),
    "cup": ObjectClass(things.draw_cup, 0.15),
    "bag": ObjectClass(things.draw_bag, 0.16),
    "box": ObjectClass(things.draw_box, 0.2),
    "lamp": ObjectClass(things.draw_lamp, 0.22),
    "umbrella": ObjectClass(things.draw_umbrella, 0.34),
    "flag": ObjectClass(things.draw_flag, 0.32),
    "kite": ObjectClass(things.draw_kite, 0.26),
    "plane": ObjectClass(things.draw_plane, 0.36),
    "table": ObjectClass(things.draw_table, 0.44),
    "chair": ObjectClass(things.draw_chair, 0.36),
    "bench": ObjectClass(things.draw_bench, 0.44),
    "bed": ObjectClass(things.draw_bed, 0.58),
    "bike": ObjectClass(things.draw_bike, 0.42),
    "car": ObjectClass(things.draw_car, 0.5),
    "boat": ObjectClass(things.draw_boat, 0.48),
    "tree": ObjectClass(things.draw_tree, 0.66),
    "house": ObjectClass(things.draw_house, 0.52),
    "street": ObjectClass(things.draw_street, 0.2),
    "truck": ObjectClass(more_things.draw_truck, 0.52),
    "bus": ObjectClass(more_things.draw_bus, 0.58),
    "clock": ObjectClass(more_things.draw_clock, 0.15),
    "pizza": ObjectClass(more_things.draw_pizza, 0.16),
    "orange": ObjectClass(more_things.draw_orange, 0.14),
    "surfboard": ObjectClass(more_things.draw_surfboard, 0.42),
    "sign": ObjectClass(more_things.draw_sign, 0.3),
    "plant": ObjectClass(more_things.draw_plant, 0.22),
}


@dataclass(frozen=True)
class Outline:
    """What composition needs to know of a figure: its extent and joints, in its own coordinates."""

    bounds: Bounds
    joints: dict[str, Point]


def draw_object(label: str, appearance: int, pose: Pose, mirror: bool = False) -> Figure:
    """Draws one object.

    Args:
        label: Key of `OBJECT_CLASSES`.
        appearance: Seed of the colours.
        pose: Outline.
        mirror: Whether the figure faces left.

    Returns:
        The figure in its own coordinates, origin in the middle of the base.
    """
    figure = OBJECT_CLASSES[label].draw(np.random.Generator(np.random.PCG64(appearance)), pose)
    return figure.mirrored() if mirror else figure


@cache
def outline(label: str, pose: Pose, mirror: bool) -> Outline:
    """The outline of every individual of a class in this pose."""
    figure = draw_object(label, 0, pose, mirror)
    return Outline(figure.bounds, figure.joints)
