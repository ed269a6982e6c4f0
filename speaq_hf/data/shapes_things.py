# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Lifeless things: one drawing function per class, following the conventions of `shapes`."""

from __future__ import annotations

import numpy as np

from .drawing import Colour, Figure, Pose, arc, hsv, shade, usual_colour


WHITE = (240, 240, 236)
BLACK = (30, 30, 34)
GLASS = (176, 212, 232)
STRING = (70, 66, 60)


def add_surface(figure: Figure, left: float, right: float, y: float) -> None:
    """Names the ends of the surface that carries other figures."""
    figure.joints["surface_left"], figure.joints["surface_right"] = (left, y), (right, y)


def draw_hat(rng: np.random.Generator, pose: Pose) -> Figure:
    """A hat with a brim and a band."""
    figure, colour = Figure(), usual_colour(rng, 20, 0.8, 0.45)
    height, taper = 0.5 + 0.25 * pose.build, 0.2 + 0.14 * (2 * pose.build % 1)
    figure.ellipse((0, -0.1), (0.5, 0.1), shade(colour, 0.8))
    figure.polygon([(-0.32, -0.1), (-taper, -height), (taper, -height), (0.32, -0.1)], colour)
    figure.ellipse((0, -height), (taper, 0.06), shade(colour, 1.15))
    band = usual_colour(rng, 0, 0.8, 0.8, faithful=0.3)
    figure.polygon([(-0.32, -0.12), (-0.3, -0.25), (0.3, -0.25), (0.32, -0.12)], band)
    figure.joints.update(grip=(0.3, -0.1), top=(0, -height - 0.06))
    return figure


def draw_cup(rng: np.random.Generator, pose: Pose) -> Figure:
    """A mug with a handle and the dark drink in it."""
    figure, colour = Figure(), usual_colour(rng, 210, 0.1, 0.95, faithful=0.5)
    figure.ring((0.36, -0.45), 0.24, 0.09, shade(colour, 0.8))
    figure.polygon([(-0.38, -0.85), (-0.32, 0), (0.32, 0), (0.38, -0.85)], colour)
    figure.polygon([(-0.37, -0.6), (-0.355, -0.38), (0.355, -0.38), (0.37, -0.6)], usual_colour(rng, 200))
    figure.ellipse((0, -0.85), (0.38, 0.11), shade(colour, 0.85))
    figure.ellipse((0, -0.84), (0.3, 0.07), (84, 52, 30))
    figure.joints.update(grip=(0.45, -0.4), top=(0, -0.96))
    return figure


def draw_bag(rng: np.random.Generator, pose: Pose) -> Figure:
    """A handbag with an arched handle and a flap."""
    figure, colour = Figure(), usual_colour(rng, 330, 0.7, 0.7)
    figure.polygon(arc((0, -0.6), (0.3, 0.4), 180, 360) + arc((0, -0.6), (0.21, 0.3), 360, 180), shade(colour, 0.6))
    figure.polygon([(-0.42, -0.64), (-0.5, 0), (0.5, 0), (0.42, -0.64)], colour)
    figure.polygon([(-0.42, -0.64), (-0.3, -0.3), (0.3, -0.3), (0.42, -0.64)], shade(colour, 0.75))
    figure.ellipse((0, -0.32), (0.08, 0.07), (228, 196, 80))
    figure.joints.update(grip=(0, -0.95), top=(0, -1))
    return figure


def draw_box(rng: np.random.Generator, pose: Pose) -> Figure:
    """An open cardboard box: its far flap and dark inside lie behind whatever is in it."""
    figure, colour = Figure(), usual_colour(rng, 32, 0.5, 0.78, faithful=0.85)
    figure.polygon([(-0.5, -0.72), (-0.36, -1), (0.36, -1), (0.5, -0.72)], shade(colour, 0.75), back=True)
    figure.polygon([(-0.5, -0.72), (-0.4, -0.86), (0.4, -0.86), (0.5, -0.72)], shade(colour, 0.35), back=True)
    figure.rectangle(-0.5, -0.72, 0.5, 0, colour)
    figure.rectangle(-0.1, -0.72, 0.1, -0.3, shade(colour, 1.25))
    figure.rectangle(-0.5, -0.12, 0.5, -0.06, shade(colour, 0.8))
    figure.joints.update(grip=(0, 0), inside=(0, -0.35))
    add_surface(figure, -0.3, 0.3, -0.78)
    return figure


def draw_lamp(rng: np.random.Generator, pose: Pose) -> Figure:
    """A lamp with a glowing shade: on a foot, or hanging with the bulb below the shade."""
    figure, colour = Figure(), usual_colour(rng, 48, 0.6, 0.98, faithful=0.85)
    metal = hsv(30, 0.3, rng.uniform(0.25, 0.5))
    if pose.body == "hang":
        figure.limb((0, -1), (0, -0.6), 0.08, metal)
        figure.ellipse((0, -0.16), (0.17, 0.16), (255, 246, 190))
        figure.polygon([(-0.42, -0.16), (-0.14, -0.7), (0.14, -0.7), (0.42, -0.16)], colour)
        figure.joints["top"] = (0, -1)
        return figure
    figure.ellipse((0, -0.06), (0.26, 0.06), metal)
    figure.limb((0, -0.06), (0, -0.6), 0.09, metal)
    figure.polygon([(-0.4, -0.5), (-0.2, -1), (0.2, -1), (0.4, -0.5)], colour)
    figure.polygon([(-0.4, -0.5), (-0.38, -0.56), (0.38, -0.56), (0.4, -0.5)], shade(colour, 0.75))
    figure.joints["grip"] = (0, -0.3)
    return figure


def draw_umbrella(rng: np.random.Generator, pose: Pose) -> Figure:
    """An open umbrella with coloured segments and a hooked handle."""
    figure, colour = Figure(), usual_colour(rng, 280, 0.7, 0.75)
    other = shade(colour, 0.65) if rng.random() < 0.5 else WHITE
    figure.limb((0, -1), (0, -0.08), 0.035, BLACK)
    figure.path([(0, -0.1), (0.03, -0.02), (0.1, 0), (0.13, -0.07)], 0.035, BLACK)
    dome = arc((0, -0.55), (0.5, 0.42), 180, 360)
    figure.polygon(dome, colour)
    for left, right in ((-0.3, -0.1), (0.1, 0.3)):
        figure.polygon([(left, -0.55), (0, -0.97), (right, -0.55)], other)
    for centre in (-0.4, -0.2, 0.0, 0.2, 0.4):
        figure.ellipse((centre, -0.55), (0.1, 0.045), other if abs(centre) == 0.2 else colour)
    figure.joints.update(grip=(0, -0.14), top=(0, -1))
    return figure


def draw_flag(rng: np.random.Generator, pose: Pose) -> Figure:
    """A waving flag of three stripes on a pole."""
    figure, hue = Figure(), rng.uniform(0, 360)
    wave = 0.03 + 0.04 * pose.build
    stripes = [hsv(hue, 0.85, 0.8), WHITE, hsv(hue + rng.uniform(90, 270), 0.85, 0.75)]
    if rng.random() < 0.3:
        stripes[1] = hsv(50, 0.8, 0.95)
    for row, colour in enumerate(stripes):
        top = [(x, -0.97 + 0.15 * row + wave * np.sin(9 * x)) for x in (0.02, 0.17, 0.32, 0.47, 0.62)]
        figure.polygon(top + [(x, y + 0.16) for x, y in reversed(top)], colour)
    figure.limb((0, -1), (0, 0), 0.045, (120, 100, 70))
    figure.joints["grip"] = (0, -0.15)
    return figure


def draw_kite(rng: np.random.Generator, pose: Pose) -> Figure:
    """A diamond kite with crossed panels and a tail of bows."""
    figure, colour = Figure(), usual_colour(rng, 0, 0.8, 0.9, faithful=0.4)
    other = hsv(rng.uniform(0, 360), 0.75, 0.95)
    figure.path([(0, -0.4), (-0.08, -0.25), (0.06, -0.12), (-0.03, 0)], 0.025, STRING)
    corners = [(0.0, -1.0), (0.34, -0.72), (0.0, -0.3), (-0.34, -0.72)]
    for index in range(4):
        pair = [corners[index], corners[(index + 1) % 4], (0.0, -0.72)]
        figure.polygon(pair, colour if index % 2 else other)
    for x, y in ((-0.05, -0.21), (0.03, -0.09)):
        figure.polygon(
            [(x - 0.09, y - 0.04), (x + 0.09, y + 0.04), (x + 0.09, y - 0.04), (x - 0.09, y + 0.04)], colour
        )
    figure.joints.update(grip=(0, -0.35), top=(0, -1))
    return figure.turned(pose.tilt)


def draw_plane(rng: np.random.Generator, pose: Pose) -> Figure:
    """An airliner in flight, seen from the side."""
    figure, colour = Figure(), usual_colour(rng, 210, 0.05, 0.95, faithful=0.75)
    accent = hsv(rng.uniform(0, 360), 0.75, 0.75)
    figure.polygon([(-0.14, -0.22), (-0.3, -0.36), (-0.2, -0.36), (0.1, -0.22)], shade(colour, 0.65))
    figure.polygon([(-0.5, -0.42), (-0.4, -0.42), (-0.24, -0.22), (-0.46, -0.22)], accent)
    figure.ellipse((0, -0.19), (0.5, 0.085), colour)
    for x in (-0.2, -0.08, 0.04, 0.16, 0.28):
        figure.rectangle(x, -0.225, x + 0.05, -0.185, (60, 90, 130))
    figure.polygon([(0.36, -0.25), (0.45, -0.22), (0.36, -0.2)], (60, 90, 130))
    figure.polygon([(0.12, -0.16), (-0.2, 0), (-0.32, 0), (-0.14, -0.16)], shade(colour, 0.55))
    return figure.turned(pose.tilt)


def draw_table(rng: np.random.Generator, pose: Pose) -> Figure:
    """A table with a thick top and four legs, open underneath."""
    figure, colour = Figure(), usual_colour(rng, 26, 0.6, 0.55, faithful=0.8)
    for x in (-0.36, 0.36):
        figure.limb((x, -0.5), (x, -0.05), 0.05, shade(colour, 0.6), back=True)
    figure.polygon([(-0.5, -0.55), (-0.43, -0.62), (0.43, -0.62), (0.5, -0.55)], shade(colour, 1.3))
    figure.rectangle(-0.5, -0.55, 0.5, -0.47, colour)
    for x in (-0.45, 0.45):
        figure.limb((x, -0.5), (x, 0), 0.06, shade(colour, 0.85))
    figure.joints["below"] = (0, -0.02)
    add_surface(figure, -0.4, 0.4, -0.585)
    return figure


def draw_chair(rng: np.random.Generator, pose: Pose) -> Figure:
    """A chair seen from the side, its back at the left."""
    figure, colour = Figure(), usual_colour(rng, 0, 0.7, 0.6, faithful=0.6)
    figure.limb((-0.24, -0.45), (-0.3, -1), 0.07, shade(colour, 0.8))
    for x in (-0.16, 0.22):
        figure.limb((x, -0.45), (x, -0.04), 0.05, shade(colour, 0.55), back=True)
    figure.rectangle(-0.3, -0.52, 0.32, -0.43, colour)
    for x in (-0.25, 0.28):
        figure.limb((x, -0.45), (x, 0), 0.06, shade(colour, 0.8))
    figure.joints["below"] = (0.02, -0.02)
    add_surface(figure, -0.06, 0.16, -0.5)
    return figure


def draw_bench(rng: np.random.Generator, pose: Pose) -> Figure:
    """A park bench seen from the front: slatted back, seat, iron legs."""
    figure, colour = Figure(), usual_colour(rng, 100, 0.5, 0.45, faithful=0.6)
    for x in (-0.4, 0.4):
        figure.limb((x, -0.58), (x, -0.2), 0.04, (60, 60, 64), back=True)
    for y in (-0.58, -0.46):
        figure.rectangle(-0.48, y, 0.48, y + 0.08, colour, back=True)
    figure.polygon([(-0.5, -0.2), (-0.46, -0.3), (0.46, -0.3), (0.5, -0.2)], shade(colour, 1.2))
    figure.rectangle(-0.5, -0.21, 0.5, -0.16, shade(colour, 0.8))
    for x in (-0.43, 0.43):
        figure.limb((x, -0.16), (x, 0), 0.06, (60, 60, 64))
    figure.joints["below"] = (0, -0.01)
    add_surface(figure, -0.38, 0.38, -0.25)
    return figure


def draw_bed(rng: np.random.Generator, pose: Pose) -> Figure:
    """A bed seen from the side: headboard with pillow at the left, mattress, blanket, footboard."""
    figure, wood, cloth = Figure(), usual_colour(rng, 24, 0.6, 0.4), usual_colour(rng, 220, 0.6, 0.75, faithful=0.5)
    figure.rectangle(-0.5, -0.5, -0.44, 0, wood)
    figure.rectangle(-0.44, -0.26, 0.46, -0.14, WHITE)
    figure.ellipse((-0.33, -0.29), (0.1, 0.06), (252, 250, 240))
    figure.polygon([(-0.2, -0.28), (0.46, -0.28), (0.46, -0.1), (-0.2, -0.1)], cloth)
    figure.rectangle(-0.2, -0.28, -0.13, -0.1, shade(cloth, 1.3))
    figure.rectangle(-0.46, -0.14, 0.46, -0.08, wood)
    figure.rectangle(0.44, -0.33, 0.5, 0, wood)
    add_surface(figure, -0.22, 0.34, -0.25)
    return figure


def draw_bike(rng: np.random.Generator, pose: Pose) -> Figure:
    """A bicycle: two wheels, diamond frame, saddle, handlebar."""
    figure, colour = Figure(), usual_colour(rng, 195, 0.85, 0.75, faithful=0.5)
    rear, front, crank, saddle, bar = (-0.3, -0.2), (0.3, -0.2), (-0.03, -0.2), (-0.13, -0.5), (0.22, -0.54)
    for wheel in (rear, front):
        figure.ring(wheel, 0.2, 0.045, BLACK)
        figure.ellipse(wheel, (0.035, 0.035), (150, 150, 150))
    for start, end in ((rear, crank), (crank, bar), (rear, saddle), (crank, saddle), (saddle, bar), (front, bar)):
        figure.limb(start, end, 0.038, colour)
    figure.ellipse((-0.13, -0.53), (0.1, 0.03), BLACK)
    figure.path([bar, (0.2, -0.64), (0.29, -0.65)], 0.035, BLACK)
    figure.joints["saddle"] = (-0.12, -0.53)
    return figure


def add_wheels(figure: Figure, xs: tuple[float, ...], radius: float) -> None:
    """Adds wheels that stand on the ground."""
    for x in xs:
        figure.ellipse((x, -radius), (radius, radius), BLACK)
        figure.ellipse((x, -radius), (radius * 0.5, radius * 0.5), (170, 172, 176))


def draw_car(rng: np.random.Generator, pose: Pose) -> Figure:
    """A car seen from the side."""
    figure, colour = Figure(), usual_colour(rng, 0, 0.8, 0.75, faithful=0.5)
    roof = [(-0.32, -0.26), (-0.22, -0.44), (0.1, -0.44), (0.24, -0.26)]
    figure.polygon(roof, shade(colour, 0.85))
    figure.polygon([(-0.26, -0.27), (-0.19, -0.4), (-0.06, -0.4), (-0.06, -0.27)], GLASS)
    figure.polygon([(-0.02, -0.27), (-0.02, -0.4), (0.09, -0.4), (0.19, -0.27)], GLASS)
    figure.polygon([(-0.5, -0.08), (-0.49, -0.26), (0.28, -0.27), (0.47, -0.22), (0.5, -0.08)], colour)
    figure.ellipse((0.45, -0.18), (0.035, 0.03), (255, 240, 160))
    figure.rectangle(-0.5, -0.22, -0.46, -0.17, (200, 30, 30))
    figure.limb((-0.04, -0.26), (-0.04, -0.1), 0.012, shade(colour, 0.6))
    add_wheels(figure, (-0.29, 0.29), 0.1)
    figure.joints["tie"] = (-0.5, -0.12)
    add_surface(figure, -0.16, 0.06, -0.435)
    return figure


def draw_boat(rng: np.random.Generator, pose: Pose) -> Figure:
    """A small boat with a sail at the stern: the far side and the sail lie behind whoever is in it."""
    figure, colour = Figure(), usual_colour(rng, 205, 0.7, 0.6, faithful=0.5)
    sail = usual_colour(rng, 45, 0.1, 0.97, faithful=0.8)
    figure.limb((-0.26, -0.2), (-0.26, -0.9), 0.03, (110, 80, 50), back=True)
    figure.polygon([(-0.23, -0.88), (-0.23, -0.34), (0.06, -0.34)], sail, back=True)
    figure.polygon([(-0.29, -0.8), (-0.29, -0.36), (-0.48, -0.36)], shade(sail, 0.85), back=True)
    figure.ellipse((0, -0.23), (0.46, 0.06), shade(colour, 0.4), back=True)
    figure.polygon([(-0.5, -0.24), (-0.36, 0), (0.34, 0), (0.5, -0.26), (0.3, -0.2), (-0.3, -0.2)], colour)
    figure.polygon([(-0.44, -0.13), (-0.41, -0.08), (0.4, -0.08), (0.43, -0.13)], WHITE)
    figure.joints.update(inside=(0.2, -0.06), tie=(0.48, -0.18))
    return figure


def _broadleaf(rng: np.random.Generator, figure: Figure, leaf: Colour, build: float) -> None:
    spread = 0.13 + 0.05 * build
    for x, y, radius in ((-spread, -0.66, 0.15), (spread, -0.66, 0.15), (0, -0.64, 0.17), (0, -0.82, 0.18)):
        figure.ellipse((x, y), (radius, radius), shade(leaf, rng.uniform(0.85, 1.12)))


def _conifer(rng: np.random.Generator, figure: Figure, leaf: Colour) -> None:
    for width, bottom, top in ((0.29, -0.45, -0.78), (0.23, -0.61, -0.9), (0.16, -0.77, -1)):
        figure.polygon([(-width, bottom), (0, top), (width, bottom)], shade(leaf, rng.uniform(0.8, 1.05)))


def draw_tree(rng: np.random.Generator, pose: Pose) -> Figure:
    """A broadleaved tree or a conifer with a long low branch."""
    figure = Figure()
    leaf, bark = usual_colour(rng, 115, 0.65, 0.5, faithful=0.85), hsv(25, 0.55, rng.uniform(0.3, 0.5))
    figure.polygon([(-0.08, 0), (-0.045, -0.6), (0.045, -0.6), (0.08, 0)], bark)
    figure.limb((0, -0.42), (0.34, -0.52), 0.035, bark)
    if pose.build < 0.7:
        _broadleaf(rng, figure, leaf, pose.build)
    else:
        _conifer(rng, figure, leaf)
    figure.joints.update(branch=(0.28, -0.5), tie=(0, -0.26), wall=(0, -0.3), crown=(0, -0.72))
    add_surface(figure, -0.08, 0.08, -0.98)
    return figure


def draw_house(rng: np.random.Generator, pose: Pose) -> Figure:
    """A house with a pitched roof, chimney, door and windows."""
    figure, wall = Figure(), usual_colour(rng, 40, 0.25, 0.88, faithful=0.7)
    roof, door = usual_colour(rng, 8, 0.7, 0.55, faithful=0.7), usual_colour(rng, 28, 0.6, 0.35, faithful=0.6)
    figure.rectangle(0.2, -0.94, 0.3, -0.65, (130, 70, 56))
    figure.rectangle(-0.43, -0.6, 0.43, 0, wall)
    figure.polygon([(-0.5, -0.56), (-0.2, -0.9), (0.2, -0.9), (0.5, -0.56)], roof)
    figure.rectangle(-0.08, -0.34, 0.08, 0, door)
    for x in (-0.26, 0.26):
        figure.rectangle(x - 0.11, -0.44, x + 0.11, -0.2, WHITE)
        figure.rectangle(x - 0.09, -0.42, x + 0.09, -0.22, (110, 160, 196))
        figure.rectangle(x - 0.01, -0.42, x + 0.01, -0.22, WHITE)
    figure.joints.update(wall=(0, -0.6), crown=(0, -0.3))
    add_surface(figure, -0.14, 0.1, -0.89)
    return figure


def draw_street(rng: np.random.Generator, pose: Pose) -> Figure:
    """A band of asphalt with kerbs and a dashed middle line."""
    figure, grey, half = Figure(), hsv(220, 0.06, rng.uniform(0.36, 0.52)), 2.5
    figure.rectangle(-half, -1, half, 0, grey)
    for y in (-1.0, -0.06):
        figure.rectangle(-half, y, half, y + 0.06, shade(grey, 1.6))
    for start in np.arange(-half + 0.2, half - 0.3, 0.8):
        figure.rectangle(start, -0.5, start + 0.4, -0.43, WHITE)
    return figure
