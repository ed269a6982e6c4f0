# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Where to draw the nodes and labels of a scene graph so that no text covers another. Geometry only, in points."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np


_EDGE_LENGTH = np.array([62.0, 40.0])  # points between an object and a predicate label; text is wider than high
_GAP = 7.0  # points between two texts
_COMPONENT_GAP = 16.0
_COMFORTABLE_SIZE = np.array([380.0, 300.0])  # larger drawings are made denser, up to `_DENSEST`
_DENSEST = 0.55
_TEXT_COST, _LINE_COST = 25.0, 15.0  # points of width or height that it may cost to keep a line off a text or a line
_ANGLES = np.deg2rad(np.arange(0, 180, 30))


@dataclass(frozen=True)
class GraphLayout:
    """Centres in points, origin bottom left.

    Args:
        objects: `(n, 2)` centres (x, y) of the object nodes.
        relations: `(k, 2)` centres of the predicate labels; an arrow runs subject -> label -> object.
        size: (width, height) of the whole drawing.
    """

    objects: np.ndarray
    relations: np.ndarray
    size: tuple[float, float]


def layout_scene_graph(
    relations: np.ndarray, object_sizes: np.ndarray, relation_sizes: np.ndarray, aspect: float = 1.3
) -> GraphLayout:
    """Places object nodes and predicate labels.

    Predicate labels are laid out as nodes between their two objects (Kamada and Kawai, 1989), so that several
    relations of one pair and relations in both directions stay apart; overlaps left over are then pushed apart.

    Args:
        relations: `(k, 3)` rows (subject, object, predicate).
        object_sizes: `(n, 2)` width and height of the object texts in points.
        relation_sizes: `(k, 2)` width and height of the predicate texts in points.
        aspect: Width / height aimed at.

    Returns:
        The layout; the same input gives the same layout.
    """
    num_objects = len(object_sizes)
    half_sizes = np.concatenate([object_sizes, relation_sizes]).reshape(-1, 2) / 2
    graph = nx.Graph()
    graph.add_nodes_from(range(len(half_sizes)))
    for i, (subject, object_, _) in enumerate(np.asarray(relations).tolist()):
        graph.add_edges_from([(subject, num_objects + i), (num_objects + i, object_)])
    centers = np.zeros((len(half_sizes), 2))
    parts = [np.array(sorted(part)) for part in nx.connected_components(graph)]
    for part in parts:
        centers[part] = _layout_part(graph.subgraph(part.tolist()), half_sizes[part], aspect)
    size = _pack_parts(centers, half_sizes, parts, aspect)
    return GraphLayout(centers[:num_objects], centers[num_objects:], size)


def _layout_part(part: nx.Graph, half_sizes: np.ndarray, aspect: float) -> np.ndarray:
    """Centres of one connected part, in the order of its sorted nodes: of several drawings the one that looks best."""
    ordered = nx.Graph()  # a sub-graph iterates in an order of its own
    ordered.add_nodes_from(sorted(part))
    ordered.add_edges_from(part.edges)
    ordered = nx.convert_node_labels_to_integers(ordered)
    ends = np.array(ordered.edges, dtype=int).reshape(-1, 2)
    drawings = [
        _push_apart(_spread(_rotate(centers, angle)), half_sizes + _GAP / 2)
        for centers in _relaxed(ordered, ends)
        for angle in _ANGLES
    ]
    return min(drawings, key=lambda centers: _unsightliness(centers, half_sizes, ends, aspect))


def _relaxed(part: nx.Graph, ends: np.ndarray) -> list[np.ndarray]:
    """Centres `(n, 2)` of nodes 0 to n-1 by Kamada and Kawai from two starts, edges of mean length 1."""
    # From a circle in the order of the nodes, two relations of one pair never untwist; from one along the edges they do.
    drawings = []
    for start in (sorted(part), list(nx.dfs_preorder_nodes(part, 0))):
        places = nx.kamada_kawai_layout(part, pos=nx.circular_layout(start))
        centers = np.array([places[node] for node in sorted(part)])
        if len(ends):
            centers /= np.linalg.norm(centers[ends[:, 0]] - centers[ends[:, 1]], axis=1).mean()
        drawings.append(centers)
    return drawings


def _unsightliness(centers: np.ndarray, half_sizes: np.ndarray, ends: np.ndarray, aspect: float) -> float:
    """What a drawing of a part costs: room, an outline far from `aspect`, and lines that cross lines or run under texts."""
    width, height = (centers + half_sizes).max(axis=0) - (centers - half_sizes).min(axis=0)
    outline = max(width, height * aspect, _COMFORTABLE_SIZE[0])  # small parts may be long and flat
    lines, texts = _num_crossed_lines(centers, ends), _num_crossed_texts(centers, half_sizes, ends)
    return (width * height) ** 0.5 + outline + _LINE_COST * lines + _TEXT_COST * texts


def _num_crossed_lines(centers: np.ndarray, ends: np.ndarray) -> int:
    """How many pairs of lines between the `ends` `(e, 2)` cross each other."""
    start, stop = centers[ends[:, 0]], centers[ends[:, 1]]
    along, to_start, to_stop = (stop - start)[:, None], start[None] - start[:, None], stop[None] - start[:, None]
    # Whether start and stop of each line lie on different sides of each other one, (e, e).
    parted = _cross(along, to_start) * _cross(along, to_stop) < -1e-6
    return int((parted & parted.T).sum()) // 2


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _num_crossed_texts(centers: np.ndarray, half_sizes: np.ndarray, ends: np.ndarray) -> int:
    """How often a line between the `ends` `(e, 2)` crosses a text `(n, 2)` that is not at one of its own."""
    start, stop = centers[ends[:, 0], None], centers[ends[:, 1], None]  # (e, 1, 2)
    direction = np.where(stop == start, 1e-9, stop - start)
    first = (centers - half_sizes - start) / direction  # share of the way at which the line meets each side, (e, n, 2)
    second = (centers + half_sizes - start) / direction
    enters, leaves = np.minimum(first, second).max(axis=-1), np.maximum(first, second).min(axis=-1)
    crosses = (enters < leaves) & (enters < 1) & (leaves > 0)
    crosses[np.arange(len(ends))[:, None], ends] = False
    return int(crosses.sum())


def _spread(centers: np.ndarray) -> np.ndarray:
    """From edges of length 1 to points; large graphs get shorter edges."""
    points = centers * _EDGE_LENGTH
    return points * np.clip(_COMFORTABLE_SIZE / np.maximum(np.ptp(points, axis=0), 1.0), _DENSEST, 1.0)


def _rotate(centers: np.ndarray, angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return centers @ np.array([[cos, sin], [-sin, cos]])


def _push_apart(centers: np.ndarray, half_sizes: np.ndarray) -> np.ndarray:
    """Moves rectangles until none overlaps, each pair along the axis where less is needed.

    Args:
        centers: `(n, 2)`.
        half_sizes: `(n, 2)` half width and height, gap included.

    Returns:
        New centres `(n, 2)`.
    """
    needed = half_sizes[:, None] + half_sizes[None, :]  # (n, n, 2)
    order = np.sign(np.arange(len(centers))[:, None] - np.arange(len(centers))[None, :])
    while True:
        offset = centers[:, None] - centers[None, :]
        overlap = needed - np.abs(offset)
        touching = (overlap > 1e-6).all(axis=-1)
        np.fill_diagonal(touching, False)
        if not touching.any():
            return centers
        axis = overlap.argmin(axis=-1)[..., None] == np.arange(2)  # (n, n, 2)
        direction = np.where(offset == 0, order[..., None], np.sign(offset))
        push = np.where(touching[..., None] & axis, direction * overlap / 2, 0.0).sum(axis=1)
        # Growing slowly guarantees an end where pushes go in circles.
        centers = (centers + 0.5 * push) * 1.002


def _pack_parts(
    centers: np.ndarray, half_sizes: np.ndarray, parts: list[np.ndarray], aspect: float
) -> tuple[float, float]:
    """Moves the parts, in place, to rows from the top, big parts first. Returns the size of the drawing."""
    boxes = [((centers[p] - half_sizes[p]).min(axis=0), (centers[p] + half_sizes[p]).max(axis=0)) for p in parts]
    sizes = [high - low for low, high in boxes]
    area = sum(float((size + _COMPONENT_GAP).prod()) for size in sizes)
    row_width = max([(area * aspect) ** 0.5, *(size[0] for size in sizes)])
    x = y = row_height = width = 0.0
    for i in sorted(range(len(parts)), key=lambda i: -sizes[i][1]):
        if x > 0 and x + sizes[i][0] > row_width:
            x, y, row_height = 0.0, y - row_height - _COMPONENT_GAP, 0.0
        centers[parts[i]] += np.array([x, y - sizes[i][1]]) - boxes[i][0]
        x += sizes[i][0] + _COMPONENT_GAP
        width, row_height = max(width, x - _COMPONENT_GAP), max(row_height, sizes[i][1])
    height = row_height - y
    centers[:, 1] += height
    return width, height
