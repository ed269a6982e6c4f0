# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Training on several sources at once, for example real and synthetic images, in fixed proportions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Literal

import numpy as np
from datasets import Dataset, Value, concatenate_datasets, interleave_datasets
from torch.utils.data import Sampler

from .visual_genome import object_names, predicate_names


def mix_datasets(
    sources: Mapping[str, Dataset],
    ratios: Mapping[str, float],
    loss_weights: Mapping[str, float] | None = None,
    seed: int = 0,
    mode: Literal["batch", "interleave"] = "batch",
) -> Dataset:
    """Joins datasets with one vocabulary into one, with the columns `source` and `loss_weight` added.

    Transforms of the parts are lost; set one on the result.

    Args:
        sources: Datasets by name; the name goes to the column `source`.
        ratios: Share of each source among the drawn examples; they sum to 1.
        loss_weights: Weight of each source's images in the loss, finite and at least 0. None: 1 for all.
        seed: Of the drawing in mode "interleave".
        mode: "batch": the sources' rows one after the other; `RatioBatchSampler` then draws every batch in the exact
            ratio. "interleave": rows in a fixed random order that has the ratio in expectation, until every row of every
            source occurred (smaller sources repeat); for tools that take no batch sampler.

    Returns:
        The joined dataset, with the columns that all sources have.

    Raises:
        ValueError: A source is empty, vocabularies differ, ratios do not sum to 1, or a weight is negative or not finite.
    """
    if mode not in ("batch", "interleave"):
        raise ValueError(f"mode must be 'batch' or 'interleave', got {mode!r}")
    loss_weights = dict.fromkeys(sources, 1.0) if loss_weights is None else loss_weights
    exact = _exact_ratios(ratios, list(sources))
    _check_loss_weights(loss_weights, list(sources))
    _check_sources(sources)
    shared = set.intersection(*(set(dataset.column_names) for dataset in sources.values()))
    parts = [_labelled(dataset, shared, name, loss_weights[name]) for name, dataset in sources.items()]
    if mode == "batch":
        return concatenate_datasets(parts)
    probabilities = [float(ratio) for ratio in exact.values()]
    return interleave_datasets(parts, probabilities, seed=seed, stopping_strategy="all_exhausted")


class RatioBatchSampler(Sampler[list[int]]):
    """Batches of row indices that hold the sources in exact ratios.

    After any number of drawn examples, no source is more than one example away from its share. Each source's rows are
    drawn in a random order without repetition; when a source is used up, it is shuffled anew. The draws run on from epoch
    to epoch, so that in time every row is drawn equally often. An epoch ends when the first source is used up once.

    Batch `b` of epoch `e` depends on (seed, e, b) alone, see `batch`: to resume, call `set_epoch` and skip the batches seen,
    which costs next to nothing. Each process should take whole batches (Accelerate's `split_batches=False`): a slice of a
    batch no longer has the ratio.

    Args:
        sources: Source name of each row of the dataset, its column `source`.
        ratios: Share of each source; they sum to 1.
        batch_size: Examples per batch, enough for one of each source.
        seed: Of all shuffling.

    Raises:
        ValueError: Ratios do not sum to 1 or do not name the sources, or the batch is too small for some source.
    """

    def __init__(self, sources: Sequence[str], ratios: Mapping[str, float], batch_size: int, seed: int = 0) -> None:
        names, source_of_row = np.unique(np.asarray(list(sources), dtype=str), return_inverse=True)
        exact = _exact_ratios(ratios, names.tolist())
        _check_batch_size(batch_size, exact)
        self.batch_size = batch_size
        self.drop_last = True
        self.seed = seed
        self.epoch = 0
        # Accelerate wraps a batch sampler when several processes share it, and then reaches `set_epoch` through `sampler`.
        self.sampler = self
        self._rows = [np.flatnonzero(source_of_row == names.tolist().index(name)) for name in exact]
        self._upper_share = list(accumulate(exact.values()))
        self._num_batches = max(
            1,
            min(int(len(rows) / (share * batch_size)) for rows, share in zip(self._rows, exact.values(), strict=True)),
        )
        self._turn = [-1] * len(exact)  # which of its shuffles a source is in, and that shuffle
        self._order = list(self._rows)

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[list[int]]:
        for index in range(len(self)):
            yield self.batch(self.epoch, index)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that the next iteration goes through."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """What `load_state_dict` needs to go on in the same epoch."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Restores `state_dict`."""
        self.epoch = state["epoch"]

    def batch(self, epoch: int, index: int) -> list[int]:
        """Row indices (batch_size,) of batch `index` of an epoch, source after source."""
        position = epoch * len(self) + index
        first, last = self._drawn(position * self.batch_size), self._drawn((position + 1) * self.batch_size)
        return [
            self._draw(source, number)
            for source, (start, stop) in enumerate(zip(first, last, strict=True))
            for number in range(start, stop)
        ]

    def _drawn(self, total: int) -> list[int]:
        """How many examples of each source are among the first `total`; each is within one of `ratio * total`."""
        bounds = [0, *(math.floor(share * total) for share in self._upper_share)]
        return [upper - lower for lower, upper in zip(bounds[:-1], bounds[1:], strict=True)]

    def _draw(self, source: int, number: int) -> int:
        """Row of a source's example `number`, counted from the start of training."""
        turn, place = divmod(number, len(self._rows[source]))
        if turn != self._turn[source]:
            generator = np.random.default_rng([self.seed, source, turn])
            self._turn[source], self._order[source] = turn, generator.permutation(self._rows[source])
        return int(self._order[source][place])


def _exact_ratios(ratios: Mapping[str, float], names: list[str]) -> dict[str, Fraction]:
    """Ratios as fractions that sum to 1 exactly: 100 * 0.29 is 28.999… in floating point."""
    if set(ratios) != set(names):
        raise ValueError(f"ratios must name the sources {sorted(names)}, got {sorted(ratios)}")
    bad = {name: ratio for name, ratio in ratios.items() if not (math.isfinite(ratio) and ratio > 0)}
    if bad:
        raise ValueError(f"every ratio must be finite and greater than 0, got {bad}; leave such a source out")
    if abs(math.fsum(ratios.values()) - 1) > 1e-6:
        raise ValueError(f"ratios must sum to 1, got {dict(ratios)} with sum {math.fsum(ratios.values())}")
    fractions = {name: Fraction(ratios[name]).limit_denominator(10**6) for name in names}
    total = sum(fractions.values())
    return {name: fraction / total for name, fraction in fractions.items()}


def _check_batch_size(batch_size: int, ratios: Mapping[str, Fraction]) -> None:
    smallest = min(ratios, key=ratios.get)
    if batch_size * ratios[smallest] < 1:
        raise ValueError(
            f"a batch of {batch_size} holds {float(batch_size * ratios[smallest]):.3g} examples of '{smallest}' (ratio "
            f"{float(ratios[smallest]):.3g}); use batch_size >= {math.ceil(1 / ratios[smallest])} or a larger ratio"
        )


def _check_loss_weights(loss_weights: Mapping[str, float], names: list[str]) -> None:
    if set(loss_weights) != set(names):
        raise ValueError(f"loss_weights must name the sources {names}, got {sorted(loss_weights)}")
    bad = {name: weight for name, weight in loss_weights.items() if not (math.isfinite(weight) and weight >= 0)}
    if bad:
        raise ValueError(f"loss weights must be finite and at least 0, got {bad}")


def _check_sources(sources: Mapping[str, Dataset]) -> None:
    empty = [name for name, dataset in sources.items() if not len(dataset)]
    if empty:
        raise ValueError(f"sources {empty} hold no image; leave them out or check their split")
    reference = next(iter(sources))
    for read, kind in ((object_names, "object"), (predicate_names, "predicate")):
        expected = read(sources[reference])
        for name, dataset in sources.items():
            if read(dataset) != expected:
                raise ValueError(_vocabulary_message(kind, reference, expected, name, read(dataset)))


def _vocabulary_message(kind: str, reference: str, expected: list[str], name: str, found: list[str]) -> str:
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    what = f"lacks {missing} and adds {extra}" if missing or extra else "has the same names in another order"
    return (
        f"sources must share one vocabulary: compared with '{reference}', '{name}' {what} ({kind} names); "
        "map its classes to the common vocabulary first"
    )


def _labelled(dataset: Dataset, columns: set[str], source: str, loss_weight: float) -> Dataset:
    """The given columns of `dataset`, with `source` and `loss_weight` set to constants."""
    kept = [name for name in dataset.column_names if name in columns - {"source", "loss_weight"}]
    dataset = dataset.with_format(None).select_columns(kept)
    dataset = dataset.add_column("source", [source] * len(dataset), feature=Value("string"))
    return dataset.add_column("loss_weight", [float(loss_weight)] * len(dataset), feature=Value("float32"))
