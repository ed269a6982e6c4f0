# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What the fields of a scene graph may hold, and the checks that make sure of it."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


# Name -> (dtype, size of the last dimension; None = one value per row, "P+1" = predicates and background).
OBJECT_FIELDS = {"boxes": (torch.float32, 4), "labels": (torch.int64, None), "scores": (torch.float32, None)}
RELATION_FIELDS = {
    "relations": (torch.int64, 3),
    "relation_scores": (torch.float32, None),
    "predicate_probabilities": (torch.float32, "P+1"),
    "query_indices": (torch.int64, None),
}


def int_keys(names: Mapping[int | str, str]) -> dict[int, str]:
    """Undoes JSON, which turns integer keys into strings."""
    return {int(key): name for key, name in names.items()}


def shortest_decimals(values: Tensor) -> list:
    """float32 numbers as lists of those with the fewest digits that become the same float32."""
    return values.numpy().astype(str).astype(float).tolist()


def as_image_size(image_size: Sequence[int]) -> tuple[int, int]:
    """(height, width) as integers.

    Raises:
        ValueError: They are not two, or below 1.
        TypeError: They are no integers.
    """
    try:
        size = tuple(operator.index(side) for side in image_size)
    except TypeError as error:
        raise TypeError(
            f"SceneGraph: `image_size` must be two integers (height, width), got {image_size!r}."
        ) from error
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"SceneGraph: `image_size` must be (height, width), each at least 1 pixel, got {size}.")
    return size


def as_tensor(name: str, value: Any, dtype: torch.dtype, tail: tuple[int, ...]) -> Tensor:
    """A field as a finite CPU tensor `(rows, *tail)`.

    Raises:
        ValueError: Its shape is another one, or a number not finite.
        TypeError: It holds floats where integers belong.
    """
    tensor = torch.as_tensor(value).detach().cpu()
    if tensor.numel() == 0:  # an empty list knows neither its shape nor its dtype
        return torch.zeros((0, *tail), dtype=dtype)
    if tensor.dim() != 1 + len(tail) or tuple(tensor.shape[1:]) != tail:
        expected = ", ".join(["n", *map(str, tail)]) + ("" if tail else ",")
        raise ValueError(f"SceneGraph: `{name}` must have shape ({expected}), got {tuple(tensor.shape)}.")
    if tensor.is_floating_point() and not dtype.is_floating_point:
        raise TypeError(f"SceneGraph: `{name}` must hold integers, got {tensor.dtype}.")
    tensor = tensor.to(dtype)
    if dtype.is_floating_point and not tensor.isfinite().all():
        row = (~tensor.isfinite()).reshape(len(tensor), -1).any(dim=1).nonzero()[0].item()
        raise ValueError(f"SceneGraph: `{name}` must be finite, got {tensor[row].tolist()} in row {row}.")
    return tensor


def check_indices(name: str, indices: Tensor, count: int) -> None:
    """Makes sure that every row `(k, c)` names existing objects; a `ValueError` names the first that does not."""
    outside = ((indices < 0) | (indices >= count)).any(dim=-1).nonzero().flatten().tolist()
    if outside:
        row = outside[0]
        raise ValueError(f"SceneGraph: `{name}` row {row} is {indices[row].tolist()}, but there are {count} objects.")


def check_keys(name: str, values: Tensor, names: Mapping[int, str], names_field: str) -> None:
    """Makes sure that every value `(n,)` has a name; a `ValueError` names the first that has none."""
    for row, value in enumerate(values.tolist()):
        if value not in names:
            raise ValueError(f"SceneGraph: `{name}` row {row} is {value}, which is not in `{names_field}`.")
