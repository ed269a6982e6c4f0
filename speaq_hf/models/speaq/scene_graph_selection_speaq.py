# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Which objects and relations of a scene graph meet a condition."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


REGION_RULES = ("center", "inside", "overlap")


def has_class(values: Tensor, classes: Iterable[str | int], names: Mapping[int, str], argument: str) -> Tensor:
    """Which of the classes or predicates `(n,)` are among those given by name or id. A name may belong to several ids.

    Raises:
        ValueError: A name or id is unknown, or `classes` is a single name.
        TypeError: `classes` is no collection.
    """
    if isinstance(classes, str):
        raise ValueError(f"SceneGraph.filter: `{argument}` must be a collection, got the string {classes!r}.")
    if not isinstance(classes, Iterable):
        raise TypeError(f"SceneGraph.filter: `{argument}` must be a collection, got {classes!r}.")
    classes = classes.tolist() if hasattr(classes, "tolist") else list(classes)  # arrays, and what can be read once
    unknown = [c for c in classes if c not in names and c not in names.values()]
    if unknown:
        raise ValueError(f"SceneGraph.filter: `{argument}` {unknown} are none of {sorted(set(names.values()))}.")
    ids = [key for key, name in names.items() if key in classes or name in classes]
    return torch.isin(values, torch.tensor(ids, dtype=torch.int64))


def in_region(boxes: Tensor, region: Sequence[float], rule: str) -> Tensor:
    """Which boxes `(n, 4)` lie in the rectangle (x1, y1, x2, y2) by one of `REGION_RULES`; its edge belongs to it.

    Raises:
        ValueError: The rule is unknown, or the rectangle is not four finite numbers or has no area.
    """
    if rule not in REGION_RULES:
        raise ValueError(f"SceneGraph.filter: `region_rule` must be one of {REGION_RULES}, got {rule!r}.")
    corners = [float(corner) for corner in region]
    if (
        len(corners) != 4
        or not all(map(math.isfinite, corners))
        or not (corners[0] < corners[2] and corners[1] < corners[3])
    ):
        raise ValueError(
            "SceneGraph.filter: `region` must be (x1, y1, x2, y2) in pixels, x1 < x2 and y1 < y2, "
            f"got {tuple(corners)}."
        )
    low, high = torch.tensor(corners[:2]), torch.tensor(corners[2:])
    if rule == "overlap":
        return ((boxes[:, :2] < high) & (boxes[:, 2:] > low)).all(dim=1)
    points = (boxes[:, :2] + boxes[:, 2:]).div(2).repeat(1, 2) if rule == "center" else boxes
    return ((points >= low.repeat(2)) & (points <= high.repeat(2))).all(dim=1)


def as_mask(name: str, mask: Any, count: int) -> Tensor:
    """A mask as booleans `(count,)`, all true for `None`.

    Raises:
        ValueError: It has another shape, or holds no booleans.
    """
    mask = torch.ones(count, dtype=torch.bool) if mask is None else torch.as_tensor(mask).cpu()
    if mask.shape != (count,) or (count and mask.dtype != torch.bool):
        raise ValueError(
            f"SceneGraph.select: `{name}` must be {count} booleans, got shape {tuple(mask.shape)} of {mask.dtype}."
        )
    return mask.bool()
