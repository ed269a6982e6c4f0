# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Bootstrap over images without keeping the images.

Drawing n images out of n with replacement draws each image about Poisson(1) times. Here every image carries its numbers
of draws with it: they follow from its annotation and id alone. So they can be added up image by image, on any process and in any
order, and two models that are judged on the same images are judged on the same replicates, which pairs them.

Source: Chamandy et al., "Estimating Uncertainty for Massive Data Streams", 2012 (Poisson bootstrap).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from .image_triplets import ImageTriplets


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# Probability that Poisson(1) is at most 0, 1, 2, ...; beyond 12 lies 1e-11.
_POISSON = np.cumsum([math.exp(-1) / math.factorial(n) for n in range(13)])


def image_key(image_id: object, reference: ImageTriplets) -> int:
    """A number of 64 bits that stands for an image: for its annotation, in any order, and for its id if it has one.

    The annotation keeps images apart whose ids were given twice, and models from being compared on other annotations.
    """
    digest = hashlib.blake2b(_plain(image_id).encode(), digest_size=8)
    for array in (reference.boxes, reference.labels, reference.relations[:, 2]):
        digest.update(np.sort(array, axis=None))
    return int.from_bytes(digest.digest(), "little")


def draw_counts(keys: Sequence[int], num_replicates: int) -> np.ndarray:
    """How often each replicate draws each image.

    Args:
        keys: B numbers from `image_key`.
        num_replicates: W.

    Returns:
        `(W, B)` float64 whole numbers, Poisson(1).
    """
    steps = np.arange(1, num_replicates + 1, dtype=np.uint64)[:, None] * _GOLDEN
    uniform = (_mixed(np.array(keys, dtype=np.uint64)[None] + steps) >> np.uint64(11)) * 2.0**-53
    return np.searchsorted(_POISSON, uniform, side="right").astype(np.float64)


def interval(replicates: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """The percentile interval of a number.

    Args:
        replicates: `(W,)` its value on each replicate; nan where it is not defined.
        confidence: Share of the replicates inside, in (0, 1).

    Returns:
        The lower and the upper end; nan if no replicate defines the number.

    Raises:
        ValueError: `confidence` is out of range.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}.")
    defined = replicates[~np.isnan(replicates)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: neighbouring numbers come out independent (Steele et al., OOPSLA 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _plain(image_id: object) -> str:
    """The id as text; arrays, tensors, text and numbers of the same value give the same."""
    value = image_id.tolist() if hasattr(image_id, "tolist") else image_id
    while isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)
