# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""People and animals: figures with a pose, following the conventions of `shapes`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .drawing import Colour, Figure, Point, Pose, hsv, shade, usual_colour


BLACK = (30, 30, 34)
SKIN_TONES = ((255, 219, 187), (240, 194, 152), (205, 148, 104), (150, 98, 64), (98, 62, 42))
HAIR_COLOURS = ((40, 28, 22), (92, 58, 32), (200, 150, 70), (150, 60, 30))


@dataclass(frozen=True)
class PersonBuild:
    """Proportions and dress of a kind of person; lengths in units of the standing height."""

    head: float  # radius
    hip: float  # height of the hip above the ground
    shoulder: float  # half the width of the shoulders
    dress: bool
    hair: str  # "short", "long" or "tails"
    beard: bool
    short_legs: bool  # bare below the knee
    hue: float  # usual hue of the upper garment, degrees


PEOPLE = {
    "man": PersonBuild(0.115, 0.44, 0.13, False, "short", True, False, 215),
    "woman": PersonBuild(0.115, 0.44, 0.1, True, "long", False, True, 345),
    "boy": PersonBuild(0.16, 0.36, 0.14, False, "short", False, True, 50),
    "girl": PersonBuild(0.16, 0.36, 0.11, True, "tails", False, True, 300),
}


@dataclass(frozen=True)
class PersonColours:
    """Colours of one person."""

    skin: Colour
    hair: Colour
    upper: Colour
    lower: Colour
    shoe: Colour


def _person_colours(rng: np.random.Generator, build: PersonBuild) -> PersonColours:
    return PersonColours(
        skin=SKIN_TONES[rng.integers(len(SKIN_TONES))],
        hair=HAIR_COLOURS[rng.integers(len(HAIR_COLOURS))],
        upper=usual_colour(rng, build.hue, 0.7, 0.8),
        lower=usual_colour(rng, 225, 0.5, 0.4),
        shoe=hsv(rng.uniform(0, 360), 0.4, rng.uniform(0.15, 0.4)),
    )


# Knee and foot of the far and the near leg relative to the hip, in units of the leg's length.
LEG_POSES: dict[str, tuple[tuple[Point, Point], tuple[Point, Point]]] = {
    "stand": (((-0.13, 0.5), (-0.15, 1.0)), ((0.13, 0.5), (0.15, 1.0))),
    "walk": (((-0.22, 0.5), (-0.62, 0.93)), ((0.34, 0.46), (0.52, 1.0))),
    "sit": (((0.6, 0.02), (0.66, 0.66)), ((0.64, 0.1), (0.72, 0.74))),
    "ride": (((0.36, 0.36), (0.24, 0.86)), ((0.44, 0.34), (0.3, 0.9))),
}


def _draw_legs(figure: Figure, build: PersonBuild, colours: PersonColours, body: str) -> None:
    width = 0.085 if build.dress else 0.105
    upper = colours.skin if build.dress else colours.lower
    lower = colours.skin if build.short_legs else colours.lower
    for factor, (knee, foot) in zip((0.8, 1.0), LEG_POSES[body], strict=True):
        side = -0.03 if factor < 1 else 0.03
        hip = (side, -build.hip - 0.02)
        knee, foot = ((side + x * build.hip, (y - 1) * build.hip) for x, y in (knee, foot))
        figure.limb(knee, foot, width * 0.85, shade(lower, factor))
        figure.limb(hip, knee, width, shade(upper, factor))
        figure.ellipse((foot[0] + 0.03, foot[1] - 0.025), (0.075, 0.03), shade(colours.shoe, factor))


def _draw_torso(figure: Figure, build: PersonBuild, colours: PersonColours, body: str) -> None:
    top, hem = -1 + 1.9 * build.head, -build.hip + 0.02
    if not build.dress:
        half = build.shoulder
        figure.polygon(
            [(-half, top + 0.03), (-half * 0.75, hem), (half * 0.75, hem), (half, top + 0.03)], colours.upper
        )
        figure.ellipse((0, top + 0.035), (half, 0.05), colours.upper)
        return
    half, front = build.shoulder, 0.0
    if body in ("stand", "walk"):
        hem, flare = hem + 0.2, 0.21
    else:
        hem, flare, front = hem + 0.05, 0.15, 0.1
    figure.polygon([(-half, top), (-half * 0.6, top + 0.18), (-flare, hem), (flare + front, hem),
                    (half * 0.6, top + 0.18), (half, top)], colours.upper)  # fmt: skip


def _draw_hair_behind(figure: Figure, build: PersonBuild, hair: Colour) -> None:
    radius, middle = build.head, -1 + build.head
    if build.hair == "long":
        figure.ellipse((-0.02, middle + 0.02), (radius * 1.2, radius * 1.06), hair)
        figure.polygon([(-radius * 1.15, middle), (-radius * 1.3, middle + 2.3 * radius),
                        (radius * 0.7, middle + 2.3 * radius), (radius * 0.9, middle)], hair)  # fmt: skip
    if build.hair == "tails":
        for side in (-1, 1):
            figure.ellipse((side * radius * 1.35, middle + 0.03), (radius * 0.42, radius * 0.75), hair, -side * 25)


def _draw_head(figure: Figure, build: PersonBuild, colours: PersonColours) -> None:
    radius, middle = build.head, -1 + build.head
    figure.limb((0, middle), (0, -1 + 2.2 * radius), 0.07, shade(colours.skin, 0.85))
    figure.ellipse((0, middle), (radius, radius), colours.skin)
    cap = [(-radius * 1.06, middle + radius * 0.15), (-radius * 0.95, middle - radius * 0.6), (0, -1.0)]
    figure.polygon([*cap, (radius * 0.9, middle - radius * 0.5), (radius * 0.2, middle - radius * 0.45)], colours.hair)
    if build.beard:
        figure.polygon([(-radius * 0.5, middle + radius * 0.35), (radius, middle + radius * 0.2),
                        (radius * 0.7, -1 + 2.15 * radius), (0, -1 + 2.2 * radius)], colours.hair)  # fmt: skip
    for x in (0.2, 0.65):
        figure.ellipse((x * radius, middle), (radius * 0.11, radius * 0.15), BLACK)
    figure.joints["head"] = (0, -1 + 0.62 * radius)


# Elbow and hand of the far and the near arm relative to the middle of the shoulders.
ARM_POSES: dict[str, tuple[tuple[Point, Point], tuple[Point, Point]]] = {
    "down": (((-0.18, 0.14), (-0.2, 0.3)), ((0.18, 0.14), (0.2, 0.3))),
    "swing": (((0.16, 0.14), (0.28, 0.24)), ((-0.18, 0.14), (-0.28, 0.22))),
    "hold": (((-0.18, 0.14), (-0.2, 0.3)), ((0.2, 0.1), (0.36, 0.02))),
    "carry": (((-0.22, -0.1), (-0.16, -0.42)), ((0.22, -0.1), (0.16, -0.42))),
    "eat": (((-0.18, 0.14), (-0.2, 0.3)), ((0.26, 0.1), (0.2, -0.1))),
    "reins": (((0.12, 0.15), (0.28, 0.2)), ((0.14, 0.14), (0.3, 0.22))),
}


def _draw_arm(figure: Figure, build: PersonBuild, colours: PersonColours, arms: str, near: int) -> None:
    shoulder_y = -1 + 2.1 * build.head
    elbow, hand = ARM_POSES[arms][near]
    shoulder = ((0.6 if near else -0.6) * build.shoulder, shoulder_y + 0.02)
    elbow, hand = ((x, shoulder_y + y) for x, y in (elbow, hand))
    factor = 0.9 if near else 0.75
    figure.limb(shoulder, elbow, 0.075, shade(colours.upper, factor))
    figure.limb(elbow, hand, 0.065, colours.skin)
    figure.ellipse(hand, (0.042, 0.042), colours.skin)


def _arms_of(pose: Pose) -> str:
    if pose.arms != "down":
        return pose.arms
    return {"walk": "swing", "ride": "reins", "sit": "reins"}.get(pose.body, "down")


def draw_person(rng: np.random.Generator, pose: Pose, kind: str) -> Figure:
    """A man, woman, boy or girl; a lying person is a standing one laid on the back."""
    build, figure = PEOPLE[kind], Figure()
    colours, body = _person_colours(rng, build), pose.body if pose.body in LEG_POSES else "stand"
    arms = _arms_of(pose)
    _draw_hair_behind(figure, build, colours.hair)
    _draw_arm(figure, build, colours, arms, near=0)
    _draw_legs(figure, build, colours, body)
    _draw_torso(figure, build, colours, body)
    _draw_head(figure, build, colours)
    _draw_arm(figure, build, colours, arms, near=1)
    shoulder_y = -1 + 2.1 * build.head
    figure.joints.update(seat=(0.0, -build.hip + 0.05), hand=(0.36, shoulder_y + 0.02), hands=(0, shoulder_y - 0.45))
    figure.joints["mouth"] = (0.22, shoulder_y - 0.12)
    if pose.body == "lean":
        return _leaning(figure)
    return _laid_down(figure) if pose.body == "lie" else figure


def _leaning(figure: Figure) -> Figure:
    """The standing figure tilted forward, its lowest point on the ground."""
    turned = figure.turned(17)
    return turned.moved(0, -turned.bounds[3])


def _laid_down(figure: Figure) -> Figure:
    """The standing figure turned onto its back, the middle of its lower side at the origin."""
    turned = figure.turned(-90)
    left, _, right, bottom = turned.bounds
    shift_x, shift_y = -(left + right) / 2, -bottom
    return turned.moved(shift_x, shift_y)


@dataclass(frozen=True)
class AnimalBuild:
    """Proportions of a four-legged animal; lengths in units of the body's length."""

    body: Point  # radii
    leg: float
    leg_width: float
    neck: Point  # from the shoulder to the middle of the head
    neck_width: float
    head: Point  # radii
    head_tilt: float  # degrees
    ear: str  # "floppy", "pointed", "small", "fan" or "horned"
    tail: tuple[Point, ...]  # chain from the rump
    tail_width: float
    hue: float
    saturation: float
    value: float


ANIMALS = {
    "dog": AnimalBuild((0.42, 0.17), 0.3, 0.1, (0.2, -0.3), 0.2, (0.2, 0.15), 10, "floppy",
                       ((0, 0), (-0.14, -0.16), (-0.16, -0.32)), 0.07, 30, 0.6, 0.6),
    "cat": AnimalBuild((0.38, 0.16), 0.22, 0.08, (0.16, -0.2), 0.16, (0.2, 0.18), 0, "pointed",
                       ((0, 0), (-0.2, -0.1), (-0.22, -0.36), (-0.1, -0.48)), 0.065, 32, 0.1, 0.45),
    "horse": AnimalBuild((0.42, 0.17), 0.42, 0.08, (0.22, -0.4), 0.17, (0.19, 0.095), 42, "small",
                         ((0, 0), (-0.1, 0.08), (-0.12, 0.32)), 0.09, 22, 0.7, 0.42),
    "elephant": AnimalBuild((0.46, 0.27), 0.3, 0.16, (0.18, -0.08), 0.2, (0.19, 0.2), 0, "fan",
                            ((0, 0), (-0.07, 0.1), (-0.08, 0.28)), 0.03, 220, 0.1, 0.6),
    "cow": AnimalBuild((0.46, 0.2), 0.3, 0.09, (0.16, -0.14), 0.2, (0.17, 0.13), 25, "horned",
                       ((0, 0), (-0.06, 0.1), (-0.08, 0.3)), 0.05, 30, 0.06, 0.92),
    "sheep": AnimalBuild((0.42, 0.24), 0.24, 0.07, (0.16, -0.1), 0.16, (0.15, 0.12), 30, "floppy",
                         ((0, 0), (-0.06, 0.05)), 0.1, 45, 0.08, 0.93),
    "giraffe": AnimalBuild((0.34, 0.15), 0.5, 0.075, (0.22, -0.66), 0.13, (0.16, 0.08), 25, "small",
                           ((0, 0), (-0.06, 0.1), (-0.07, 0.28)), 0.04, 42, 0.7, 0.88),
}  # fmt: skip


def _draw_animal_legs(figure: Figure, build: AnimalBuild, coat: Colour, body: str) -> None:
    rx, leg = build.body[0], build.leg
    swing = 0.45 * leg if body == "walk" else 0.04
    for x, direction, factor in ((-0.72, 1, 0.65), (0.72, -1, 0.65), (-0.66, -1, 0.92), (0.66, 1, 0.92)):
        hip = (x * rx, -leg - 0.05)
        figure.limb(hip, (x * rx + direction * swing, 0), build.leg_width, shade(coat, factor))


def _head_place(build: AnimalBuild, neck: Point, body: str) -> Point:
    """Middle of the head: at the end of the neck, or on the ground in front of an animal that grazes."""
    if body != "graze":
        return neck[0] + build.neck[0], neck[1] + build.neck[1]
    return neck[0] + max(0.2, 0.55 * build.leg), -1.1 * build.head[1]


def _draw_animal_head(figure: Figure, build: AnimalBuild, kind: str, coat: Colour, neck: Point, head: Point) -> None:
    figure.limb(neck, head, build.neck_width, coat)
    if kind == "horse":
        figure.limb((neck[0] - 0.1, neck[1] - 0.02), (head[0] - 0.12, head[1] - 0.06), 0.07, shade(coat, 0.4))
    muzzle = (head[0] + 0.14, head[1] + 0.04)
    face = shade(coat, 0.35) if kind == "sheep" else coat
    figure.ellipse(head, build.head, face, build.head_tilt)
    if kind in ("cow", "giraffe"):
        figure.ellipse(
            (head[0] + 0.1, head[1] + 0.06), (0.08, 0.07), (226, 160, 150) if kind == "cow" else shade(coat, 0.6)
        )
    if kind == "dog":
        figure.ellipse((muzzle[0] + 0.04, muzzle[1] + 0.02), (0.12, 0.075), shade(coat, 1.2))
        figure.ellipse((muzzle[0] + 0.14, muzzle[1]), (0.035, 0.03), BLACK)
    if kind == "elephant":
        figure.path([(head[0] + 0.12, head[1]), (head[0] + 0.24, head[1] + 0.2), (head[0] + 0.24, head[1] + 0.42)],
                    0.1, shade(coat, 0.9))  # fmt: skip
        figure.polygon([(head[0] + 0.1, head[1] + 0.14), (head[0] + 0.34, head[1] + 0.2),
                        (head[0] + 0.12, head[1] + 0.2)], (250, 246, 230))  # fmt: skip
    _draw_ears(figure, build.ear, face, head)
    figure.ellipse((head[0] + 0.07, head[1] - 0.04), (0.025, 0.03), BLACK)


def _draw_ears(figure: Figure, ear: str, coat: Colour, head: Point) -> None:
    x, y = head
    if ear == "floppy":
        figure.ellipse((x - 0.1, y + 0.02), (0.07, 0.16), shade(coat, 0.55), 12)
    elif ear == "fan":
        figure.ellipse((x - 0.12, y + 0.02), (0.15, 0.22), shade(coat, 0.75), 10)
    elif ear == "pointed":
        for shift in (-0.1, 0.1):
            figure.polygon([(x + shift - 0.08, y - 0.1), (x + shift, y - 0.32), (x + shift + 0.08, y - 0.1)], coat)
    elif ear == "horned":
        figure.ellipse((x - 0.14, y - 0.04), (0.1, 0.05), shade(coat, 0.5), 20)
        for shift, lean in ((-0.06, -0.06), (0.05, 0.07)):
            figure.polygon([(x + shift - 0.04, y - 0.1), (x + shift + lean, y - 0.28), (x + shift + 0.04, y - 0.1)],
                           (120, 100, 80))  # fmt: skip
    else:
        figure.polygon([(x - 0.12, y - 0.04), (x - 0.1, y - 0.2), (x - 0.02, y - 0.1)], shade(coat, 0.8))


def _draw_coat_marks(rng: np.random.Generator, figure: Figure, kind: str, coat: Colour, middle: Point) -> None:
    if kind == "dog" and rng.random() < 0.6:
        figure.ellipse((middle[0] - 0.1, middle[1] - 0.03), (0.16, 0.1), shade(coat, 0.55))
    if kind == "cat":
        for x in (-0.18, -0.04, 0.1):
            figure.limb((middle[0] + x, middle[1] - 0.14), (middle[0] + x, middle[1] + 0.04), 0.045, shade(coat, 0.5))
    if kind == "cow":
        for x, y, rx, ry in ((-0.26, -0.04, 0.14, 0.12), (0.04, 0.04, 0.12, 0.1), (0.3, -0.06, 0.09, 0.09)):
            figure.ellipse((middle[0] + x, middle[1] + y), (rx, ry), shade(coat, 0.25))
    if kind == "giraffe":
        for x, y in ((-0.22, -0.03), (-0.08, 0.06), (-0.04, -0.08), (0.1, 0.03), (0.22, -0.04)):
            figure.ellipse((middle[0] + x, middle[1] + y), (0.06, 0.05), (150, 84, 36))
    if kind == "sheep":
        for step in range(10):
            x, y = 0.36 * math.cos(0.2 * step * math.pi), 0.18 * math.sin(0.2 * step * math.pi)
            figure.ellipse((middle[0] + x, middle[1] + y), (0.1, 0.09), shade(coat, 1.0 if step % 2 else 0.92))


def _draw_neck_marks(figure: Figure, kind: str, neck: Point, head: Point) -> None:
    if kind == "giraffe":
        for share in (0.15, 0.4, 0.65):
            centre = [start + share * (end - start) for start, end in zip(neck, head, strict=True)]
            figure.ellipse((centre[0], centre[1]), (0.045, 0.06), (150, 84, 36))


def draw_quadruped(rng: np.random.Generator, pose: Pose, kind: str) -> Figure:
    """A four-legged animal: standing, walking, sitting on its haunches, lying or, its head on the ground, grazing."""
    build, figure = ANIMALS[kind], Figure()
    coat = usual_colour(rng, build.hue, build.saturation, build.value, faithful=0.8)
    rx, ry = build.body
    if pose.body == "sit":
        middle, angle, neck = (-0.08, -0.3), -52, (0.12, -0.52)
        figure.limb((0.16, -0.42), (0.24, 0), build.leg_width * 1.1, shade(coat, 0.8))
        figure.ellipse((-0.16, -0.14), (0.2, 0.14), shade(coat, 0.85))
        rump = (-0.28, -0.1)
    elif pose.body == "lie":
        middle, angle, neck = (0, -ry), 0, (rx * 0.7, -ry * 1.1)
        figure.limb((0.1, -0.04), (rx + 0.16, -0.04), 0.08, shade(coat, 0.8))
        rump = (-rx * 0.9, -ry)
    else:
        middle, angle, neck = (0, -build.leg - ry), 0, (rx * 0.72, -build.leg - ry * 1.3)
        _draw_animal_legs(figure, build, coat, pose.body)
        rump = (-rx * 0.92, -build.leg - ry * 1.3)
    figure.path([(rump[0] + x, rump[1] + y) for x, y in build.tail], build.tail_width, shade(coat, 0.7))
    figure.ellipse(middle, (rx, ry), coat, angle)
    _draw_coat_marks(rng, figure, kind, coat, middle)
    head = _head_place(build, neck, pose.body)
    _draw_animal_head(figure, build, kind, coat, neck, head)
    _draw_neck_marks(figure, kind, neck, head)
    figure.joints.update(saddle=(-0.06, -build.leg - 1.75 * ry), below=(0.0, -0.01))
    figure.joints.update(surface_left=(-0.25, -build.leg - 1.9 * ry), surface_right=(0.05, -build.leg - 1.9 * ry))
    figure.joints.update(tie=(0.5 * (neck[0] + head[0]), 0.5 * (neck[1] + head[1])), muzzle=(head[0] + 0.24, 0.0))
    return figure


def draw_bird(rng: np.random.Generator, pose: Pose) -> Figure:
    """A bird: flying with spread wings, or standing with folded ones."""
    figure, coat = Figure(), usual_colour(rng, 205, 0.7, 0.75, faithful=0.6)
    beak, wing = (240, 160, 30), shade(coat, 0.6)
    if pose.body == "fly":
        figure.polygon([(0.02, -0.42), (-0.3, -0.95), (-0.02, -0.85), (0.18, -0.44)], shade(coat, 0.5))
        figure.polygon([(-0.28, -0.36), (-0.56, -0.5), (-0.5, -0.26)], wing)
        figure.ellipse((0, -0.36), (0.34, 0.15), coat)
        figure.polygon([(-0.1, -0.36), (-0.36, 0), (-0.02, -0.06), (0.16, -0.36)], wing)
        head = (0.34, -0.46)
    else:
        for x in (-0.02, 0.1):
            figure.limb((x, -0.3), (x, 0), 0.05, beak)
        figure.polygon([(-0.2, -0.36), (-0.54, -0.22), (-0.46, -0.44)], wing)
        figure.ellipse((0, -0.42), (0.34, 0.22), coat, -25)
        figure.ellipse((-0.1, -0.4), (0.24, 0.12), wing, -15)
        head = (0.24, -0.68)
    figure.ellipse(head, (0.15, 0.14), coat)
    figure.polygon([(head[0] + 0.11, head[1] - 0.06), (head[0] + 0.32, head[1] + 0.02), (head[0] + 0.11, head[1] + 0.07)],
                   beak)  # fmt: skip
    figure.ellipse((head[0] + 0.05, head[1] - 0.03), (0.035, 0.035), BLACK)
    return figure
