# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Lifeless things that only SceneWorld shows: one drawing function per class, following the conventions of `shapes`.

They are made to be told apart at a tenth of a picture of 192 pixels: few, large parts and a silhouette of their own.
"""

from __future__ import annotations

import math

import numpy as np

from .drawing import Figure, Pose, hsv, shade, usual_colour
from .shapes_things import BLACK, GLASS, WHITE, add_surface, add_wheels


def draw_truck(rng: np.random.Generator, pose: Pose) -> Figure:
    """A lorry seen from the side: a tall box behind a lower cab."""
    figure, colour = Figure(), usual_colour(rng, 140, 0.75, 0.6, faithful=0.5)
    load = usual_colour(rng, 45, 0.08, 0.92, faithful=0.7)
    figure.rectangle(-0.5, -0.58, 0.16, -0.12, load)
    figure.rectangle(-0.5, -0.18, 0.16, -0.12, shade(load, 0.7))
    figure.polygon([(0.19, -0.44), (0.4, -0.44), (0.5, -0.26), (0.5, -0.09), (0.19, -0.09)], colour)
    figure.polygon([(0.3, -0.4), (0.38, -0.4), (0.46, -0.27), (0.3, -0.27)], GLASS)
    figure.rectangle(-0.48, -0.13, 0.3, -0.08, BLACK)
    add_wheels(figure, (-0.36, -0.14, 0.34), 0.1)
    figure.joints.update(wall=(-0.17, -0.35), tie=(-0.5, -0.12))
    add_surface(figure, -0.42, 0.08, -0.57)
    return figure


def draw_bus(rng: np.random.Generator, pose: Pose) -> Figure:
    """A long bus seen from the side, with a row of windows and a door."""
    figure, colour = Figure(), usual_colour(rng, 42, 0.9, 0.92, faithful=0.6)
    figure.polygon([(-0.5, -0.07), (-0.5, -0.46), (-0.46, -0.5), (0.45, -0.5), (0.5, -0.44), (0.5, -0.07)], colour)
    for left in (-0.45, -0.27, -0.09, 0.09):
        figure.rectangle(left, -0.43, left + 0.15, -0.28, GLASS)
    figure.rectangle(0.27, -0.43, 0.37, -0.09, shade(GLASS, 0.8))
    figure.rectangle(0.41, -0.43, 0.5, -0.26, GLASS)
    figure.rectangle(-0.5, -0.2, 0.25, -0.16, shade(colour, 0.6))
    add_wheels(figure, (-0.3, 0.16), 0.085)
    figure.joints.update(wall=(-0.1, -0.24), tie=(-0.5, -0.12))
    add_surface(figure, -0.36, 0.3, -0.49)
    return figure


def draw_clock(rng: np.random.Generator, pose: Pose) -> Figure:
    """A round white dial with a thick rim, marks and two hands."""
    figure, rim = Figure(), usual_colour(rng, 210, 0.5, 0.3, faithful=0.6)
    figure.ellipse((0, -0.5), (0.5, 0.5), rim)
    figure.ellipse((0, -0.5), (0.4, 0.4), WHITE)
    for step in range(4):
        x, y = math.sin(step * math.pi / 2), -math.cos(step * math.pi / 2)
        figure.limb((0.28 * x, -0.5 + 0.28 * y), (0.36 * x, -0.5 + 0.36 * y), 0.07, BLACK)
    for angle, length in ((rng.uniform(0, 2 * math.pi), 0.3), (rng.uniform(0, 2 * math.pi), 0.2)):
        figure.limb((0, -0.5), (length * math.sin(angle), -0.5 - length * math.cos(angle)), 0.07, BLACK)
    figure.joints.update(grip=(-0.4, -0.5), middle=(0, -0.5), top=(0, -1))
    return figure


def draw_pizza(rng: np.random.Generator, pose: Pose) -> Figure:
    """A slice of pizza, its tip down: brown crust, yellow cheese, red rounds."""
    figure = Figure()
    crust = hsv(rng.normal(28, 4), 0.7, rng.uniform(0.55, 0.75))
    cheese = hsv(rng.normal(46, 4), 0.75, rng.uniform(0.88, 1.0))
    figure.polygon([(-0.5, -0.84), (0, 0), (0.5, -0.84)], cheese)
    figure.polygon([(-0.52, -0.86), (-0.3, -1), (0.3, -1), (0.52, -0.86), (0.44, -0.74), (-0.44, -0.74)], crust)
    for x, y in ((-0.18, -0.6), (0.2, -0.58), (0.0, -0.32)):
        figure.ellipse((x, y), (0.12, 0.11), (196, 40, 30))
    figure.joints.update(grip=(-0.3, -0.86), middle=(-0.1, -0.5), top=(0, -1))
    return figure


def draw_orange(rng: np.random.Generator, pose: Pose) -> Figure:
    """A round orange with a leaf."""
    figure, colour = Figure(), hsv(rng.normal(28, 4), 0.95, rng.uniform(0.88, 1.0))
    figure.ellipse((0, -0.44), (0.46, 0.44), shade(colour, 0.85))
    figure.ellipse((-0.06, -0.5), (0.34, 0.32), colour)
    figure.ellipse((-0.16, -0.6), (0.1, 0.08), shade(colour, 1.4))
    figure.polygon([(0, -0.84), (0.18, -1), (0.42, -0.92), (0.2, -0.8)], (50, 140, 50))
    figure.limb((0, -0.8), (0, -0.98), 0.07, (90, 60, 30))
    figure.joints.update(grip=(-0.3, -0.44), middle=(0, -0.44))
    return figure


def draw_surfboard(rng: np.random.Generator, pose: Pose) -> Figure:
    """A pointed board with a stripe: upright, leaning forward, or lying flat."""
    figure, colour = Figure(), usual_colour(rng, 185, 0.8, 0.85, faithful=0.6)
    edge = [(0, -1), (0.09, -0.86), (0.14, -0.65), (0.15, -0.4), (0.12, -0.15), (0.06, 0)]
    figure.polygon(edge + [(-x, y) for x, y in reversed(edge)], colour)
    figure.polygon([(0, -0.96), (0.035, -0.8), (0.035, -0.02), (-0.035, -0.02), (-0.035, -0.8)], WHITE)
    figure.polygon([(-0.14, -0.3), (0.14, -0.3), (0.14, -0.2), (-0.14, -0.2)], shade(colour, 0.55))
    if pose.body in ("lie", "lean"):
        return _turned_on_ground(figure, 90 if pose.body == "lie" else 24)
    figure.joints["grip"] = (-0.14, -0.36)
    return figure


def _turned_on_ground(figure: Figure, angle: float) -> Figure:
    """The figure turned about its middle, its lowest point back at y = 0."""
    turned = figure.turned(angle)
    left, _, right, bottom = turned.bounds
    return turned.moved(-(left + right) / 2, -bottom)


def draw_sign(rng: np.random.Generator, pose: Pose) -> Figure:
    """A warning sign, a red-rimmed triangle: on a post, or the bare board when mounted."""
    figure, rim = Figure(), hsv(rng.normal(0, 4), 0.85, rng.uniform(0.7, 0.9))
    inside = hsv(50, rng.uniform(0.0, 0.7), 0.97)
    if pose.body != "mount":
        figure.limb((0, -0.5), (0, 0), 0.07, (110, 114, 120))
    scale, base = 0.62, 0.0 if pose.body == "mount" else -0.38

    def board(half: float, bottom: float, top: float) -> list[tuple[float, float]]:
        return [(x * scale, base + y * scale) for x, y in ((-half, bottom), (0, top), (half, bottom))]

    figure.polygon(board(0.56, 0.0, -1.0), rim)
    figure.polygon(board(0.36, -0.12, -0.76), inside)
    figure.limb((0, base - 0.56 * scale), (0, base - 0.32 * scale), 0.12 * scale, BLACK)
    figure.ellipse((0, base - 0.21 * scale), (0.06 * scale, 0.06 * scale), BLACK)
    figure.joints.update(grip=(0, -0.2), middle=(0, base - 0.45 * scale))
    if pose.body != "mount":
        add_surface(figure, -0.01, 0.01, -0.98)
    return figure


def draw_plant(rng: np.random.Generator, pose: Pose) -> Figure:
    """Long leaves that fan out: from a pot, or from where they grow."""
    figure, leaf = Figure(), hsv(rng.normal(130, 8), rng.uniform(0.6, 0.85), rng.uniform(0.45, 0.65))
    grows = pose.body == "grow"
    root = -0.02 if grows else -0.36
    reach = 0.96 if grows else 0.62
    for index, angle in enumerate((-72, -46, -20, 20, 46, 72, 0)):
        x, y = math.sin(math.radians(angle)), -math.cos(math.radians(angle))
        tip, side = (0.6 * x * reach / 0.8, root + reach * y), (0.1 * y, -0.1 * x)
        middle = (0.5 * tip[0], root + 0.5 * reach * y - 0.06)
        figure.polygon([(0, root), (middle[0] + side[0], middle[1] + side[1]), tip,
                        (middle[0] - side[0], middle[1] - side[1])], shade(leaf, 0.8 + 0.13 * (index % 3)))  # fmt: skip
    if not grows:
        pot = usual_colour(rng, 14, 0.65, 0.65, faithful=0.8)
        figure.polygon([(-0.26, -0.34), (-0.18, 0), (0.18, 0), (0.26, -0.34)], pot)
        figure.rectangle(-0.3, -0.42, 0.3, -0.3, shade(pot, 1.2))
    figure.joints.update(grip=(0, -0.1), middle=(0, -0.45))
    return figure
