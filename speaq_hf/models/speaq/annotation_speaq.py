# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Annotations (COCO detection plus relations) to the labels the model trains on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from transformers.image_transforms import corners_to_center_format


# Detectron2's and DETR's limit: boxes that are narrower or lower than this, in pixels, have no area.
MIN_BOX_SIDE = 1e-5


def prepare_labels(annotation: Mapping[str, Any], image_size: tuple[int, int], image_index: int) -> dict[str, Any]:
    """Checks one annotation and turns it into labels.

    Boxes are clipped to the image. Boxes without area, and crowds (`iscrowd`), are dropped, relations that lose an end go
    with them, and the others are re-numbered. Relative boxes do not change when the image is resized or padded.

    Args:
        annotation: `image_id`, `annotations` (dicts with `bbox` [x, y, w, h] in pixels and `category_id`), `relations`
            (rows subject, object, predicate) and optionally `loss_weight` (default 1) and `source`.
        image_size: (height, width) in pixels.
        image_index: Position in the batch, for messages.

    Returns:
        Arrays `class_labels` `(n,)`, `boxes` `(n, 4)` (cx, cy, w, h) in [0, 1], `relations` `(r, 3)`, `loss_weight` `()`,
        `image_id` `(1,)`, `orig_size` `(2,)`, and the string `source` if given.

    Raises:
        ValueError: A field is missing or malformed; the message names the image and the field.
    """
    where = f"annotations[{image_index}]"
    _check_keys(annotation, ("image_id", "annotations", "relations"), where)
    for field in ("annotations", "relations"):
        rows = annotation[field]
        if isinstance(rows, (str, Mapping)) or not (hasattr(rows, "__len__") and hasattr(rows, "__getitem__")):
            raise ValueError(f"`{where}['{field}']` must be a list, got {type(rows).__name__}.")
    objects = annotation["annotations"]
    for row, obj in enumerate(objects):
        _check_keys(obj, ("bbox", "category_id"), f"{where}['annotations'][{row}]")
    boxes = _checked(
        [obj["bbox"] for obj in objects], (4,), _is_finite, lambda row: f"{where}['annotations'][{row}]['bbox']"
    )
    class_labels = _checked(
        [obj["category_id"] for obj in objects],
        (),
        _is_index,
        lambda row: f"{where}['annotations'][{row}]['category_id']",
    ).astype(np.int64)
    relations = _checked(annotation["relations"], (3,), _is_index, lambda row: f"{where}['relations'][{row}]").astype(
        np.int64
    )
    image_id = _checked([annotation["image_id"]], (), _is_index, lambda row: f"{where}['image_id']").astype(np.int64)
    _check_relation_ends(relations, len(objects), where)

    boxes = _clip(boxes, image_size)
    crowd = np.array([bool(obj.get("iscrowd", False)) for obj in objects], dtype=bool)
    keep = ((boxes[:, 2:] - boxes[:, :2]) > MIN_BOX_SIDE).all(axis=1) & ~crowd
    height, width = image_size
    labels = {
        "image_id": image_id,
        "class_labels": class_labels[keep],
        "boxes": (corners_to_center_format(boxes[keep]) / [width, height, width, height]).astype(np.float32),
        "relations": renumber_relations(relations, keep),
        "loss_weight": _loss_weight(annotation.get("loss_weight"), where),
        "orig_size": np.asarray(image_size),
    }
    return labels if annotation.get("source") is None else labels | {"source": annotation["source"]}


def renumber_relations(relations: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Drops relations `(r, 3)` that lose an end when only the objects of the mask `keep` `(n,)` stay, renumbers the rest."""
    new_index = np.cumsum(keep) - 1  # valid where `keep` is true
    relations = relations[keep[relations[:, :2]].all(axis=1)]
    return np.concatenate([new_index[relations[:, :2]], relations[:, 2:]], axis=1)


def _clip(boxes_xywh: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Corners of boxes `(n, 4)`, clipped to the image."""
    height, width = image_size
    corners = np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1)
    return corners.clip(0, [width, height, width, height])


def _check_keys(mapping: Any, keys: Sequence[str], where: str) -> None:
    missing = [key for key in keys if key not in mapping] if isinstance(mapping, Mapping) else keys
    if missing:
        found = f"a dict with {sorted(mapping)}" if isinstance(mapping, Mapping) else type(mapping).__name__
        raise ValueError(f"`{where}` must be a dict with {', '.join(map(repr, keys))}, got {found}.")


def _numeric(value: Any) -> np.ndarray:
    """`value` as an array; an empty one if it is ragged, or not made of numbers."""
    try:
        array = np.asarray(value)
    except ValueError:
        return np.empty(0)
    return array if array.dtype.kind in "iuf" else np.empty(0)


def _is_finite(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all())


def _is_index(values: np.ndarray) -> bool:
    return bool((values >= 0).all() and (values == np.floor(values)).all() and np.isfinite(values).all())


def _checked(
    rows: Sequence[Any], tail: tuple[int, ...], is_valid: Callable[[np.ndarray], bool], where: Callable[[int], str]
) -> np.ndarray:
    """Rows as an array `(len(rows), *tail)` whose values are all valid; `where(row)` names a row in the message."""
    if not len(rows):
        return np.zeros((0, *tail))
    array = _numeric(rows)
    if array.shape == (len(rows), *tail) and is_valid(array):
        return array
    values = [_numeric(row) for row in rows]
    fault = next(row for row, value in enumerate(values) if value.shape != tail or not is_valid(value))
    expected = ("non-negative integer" if is_valid is _is_index else "finite number") + ("s" if tail else "")
    raise ValueError(f"`{where(fault)}` must be {tail[0] if tail else 'one'} {expected}, got {rows[fault]!r}.")


def _check_relation_ends(relations: np.ndarray, num_objects: int, where: str) -> None:
    outside = (relations[:, :2] >= num_objects).any(axis=1).nonzero()[0]
    if len(outside):
        row = outside[0]
        raise ValueError(
            f"`{where}['relations'][{row}]` is {relations[row].tolist()}, but the image has {num_objects} annotations: "
            "subject and object must be their positions, counted from 0."
        )


def _loss_weight(weight: float | None, where: str) -> np.ndarray:
    value = _numeric(1.0 if weight is None else weight)
    if value.shape != () or not 0 <= value <= np.finfo(np.float32).max:  # false for nan
        raise ValueError(
            f"`{where}['loss_weight']` must be one finite, non-negative number that float32 can hold, got {weight!r}."
        )
    return value.astype(np.float32)
