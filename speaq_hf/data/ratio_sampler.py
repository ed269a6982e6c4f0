# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Batches with the sources of a mixed dataset in exact ratios."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from numbers import Integral, Real
from typing import Literal

import numpy as np
from torch.utils.data import Sampler

from .batch_quotas import BatchQuotas


_PRECISION = 10**6  # ratios are fractions with at most this denominator


class RatioBatchSampler(Sampler[list[int]]):
    """Batches of row indices that hold the sources in exact ratios.

    A batch holds `ratio * batch_size` examples of a source, rounded down or up such that after any number of batches no
    source is a whole example away from its share. Each source's rows are
    drawn in a random order without repetition; when a source is used up, it is shuffled anew. The draws run on from epoch
    to epoch, so that in time every row of a source is drawn equally often.

    Batch `b` of epoch `e` depends on (seed, e, b) alone, see `batch`: to resume, call `set_epoch` and skip the batches seen.
    `BatchQuotas` says what that costs: nothing with two sources, and with more only where the ratios are odd. Each process should take whole batches (Accelerate's `split_batches=False`): a slice of a
    batch no longer has the ratio.

    Args:
        sources: Source name of each row of the dataset, its column `source`.
        ratios: Share of each source, at least one in a million; they sum to 1.
        batch_size: Examples per batch, enough for one of each source.
        seed: Of all shuffling.
        epoch_length: "longest": an epoch lasts until the source that takes longest was used up, smaller ones repeat.
            "shortest": until the first one was. Both in whole batches: the rows left over open the next epoch. A number:
            so many batches.

    Raises:
        TypeError: `sources` are no names, for example the rows of the dataset, `batch_size` is no integer, or a ratio no
            number.
        ValueError: Ratios do not sum to 1 or do not name the sources, the batch is too small for some source, or
            `epoch_length` is none of the above.
    """

    def __init__(
        self,
        sources: Sequence[str],
        ratios: Mapping[str, float],
        batch_size: int,
        seed: int = 0,
        epoch_length: Literal["longest", "shortest"] | int = "longest",
    ) -> None:
        names, source_of_row = np.unique(np.asarray(_names(sources), dtype=str), return_inverse=True)
        exact = exact_ratios(ratios, names.tolist())
        _check_batch_size(batch_size, exact)
        self.batch_size = batch_size = int(batch_size)  # of NumPy's integers no fraction can be made
        self.drop_last = True
        self.seed = seed
        self.epoch = 0
        # Accelerate wraps a batch sampler when several processes share it, and then reaches `set_epoch` through `sampler`.
        self.sampler = self
        self.num_sources = len(exact)
        self._rows = [np.flatnonzero(source_of_row == names.tolist().index(name)) for name in exact]
        self._quotas = BatchQuotas([share * batch_size for share in exact.values()])
        passes = [len(rows) // (share * batch_size) for rows, share in zip(self._rows, exact.values(), strict=True)]
        self._num_batches = _num_batches(epoch_length, passes)
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
        return [self._draw(source, number) for source, number in self._numbers(epoch, index)]

    def passes(self, epoch: int, index: int) -> list[int]:
        """How often its source was used up before each row (batch_size,) of `batch`: in one pass a row comes once."""
        return [number // len(self._rows[source]) for source, number in self._numbers(epoch, index)]

    def _numbers(self, epoch: int, index: int) -> Iterator[tuple[int, int]]:
        """Source of each example of a batch, and its number there, counted from the start of training."""
        position = epoch * len(self) + index
        first, last = self._quotas.before(position), self._quotas.before(position + 1)
        for source, (start, stop) in enumerate(zip(first, last, strict=True)):
            yield from ((source, number) for number in range(start, stop))

    def _draw(self, source: int, number: int) -> int:
        """Row of a source's example `number`, counted from the start of training."""
        turn, place = divmod(number, len(self._rows[source]))
        if turn != self._turn[source]:
            generator = np.random.default_rng([self.seed, source, turn])
            self._turn[source], self._order[source] = turn, generator.permutation(self._rows[source])
        return int(self._order[source][place])


def exact_ratios(ratios: Mapping[str, float], names: list[str]) -> dict[str, Fraction]:
    """Ratios as fractions that sum to 1 exactly, in the order of `names`: 100 * 0.29 is 28.999… in floating point.

    Args:
        ratios: Share of each source.
        names: The sources.

    Raises:
        TypeError: `ratios` is no mapping, or a ratio no number.
        ValueError: Other sources are named, a ratio is below one in a million, or they do not sum to 1.
    """
    if not isinstance(ratios, Mapping):
        raise TypeError(f'ratios must be a mapping such as {{"real": 0.7, "synthetic": 0.3}}, got {ratios!r}')
    if set(ratios) != set(names):
        raise ValueError(f"ratios must name the sources {sorted(names)}, got {sorted(ratios)}")
    check_numbers(ratios, "ratios")
    bad = {name: ratio for name, ratio in ratios.items() if not (math.isfinite(ratio) and ratio >= 1 / _PRECISION)}
    if bad:
        raise ValueError(
            f"every ratio must be finite and at least one in {_PRECISION}, got {bad}; leave such a source out"
        )
    if abs(math.fsum(ratios.values()) - 1) > 1e-6:
        raise ValueError(f"ratios must sum to 1, got {dict(ratios)} with sum {math.fsum(ratios.values())}")
    fractions = {name: Fraction(ratios[name]).limit_denominator(_PRECISION) for name in names}
    total = sum(fractions.values())
    return {name: fraction / total for name, fraction in fractions.items()}


def check_numbers(values: Mapping[str, float], what: str) -> None:
    """Makes sure that the values by source are numbers; a TypeError says which are not."""
    bad = {name: value for name, value in values.items() if not isinstance(value, Real)}
    if bad:
        raise TypeError(f"{what} must be numbers, got {bad}")


def _names(sources: Iterable[str]) -> list[str]:
    """The sources as a list; rows are refused at the first, before all their images are read."""
    names = []
    for name in sources:
        if not isinstance(name, str):
            raise TypeError(
                f"sources must hold the source name of each row, got a {type(name).__name__}; pass the column of a mixed "
                'dataset: RatioBatchSampler(mixed["source"], …)'
            )
        names.append(name)
    return names


def _num_batches(epoch_length: Literal["longest", "shortest"] | int, passes: Sequence[int]) -> int:
    """Batches of an epoch, when one pass through each source takes `passes` batches."""
    if isinstance(epoch_length, str) and epoch_length in ("longest", "shortest"):
        return max(1, max(passes) if epoch_length == "longest" else min(passes))
    if isinstance(epoch_length, bool) or not isinstance(epoch_length, Integral) or epoch_length < 1:
        raise ValueError(f"epoch_length must be 'longest', 'shortest' or a number of batches, got {epoch_length!r}")
    return int(epoch_length)


def _check_batch_size(batch_size: int, ratios: Mapping[str, Fraction]) -> None:
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral):
        raise TypeError(f"batch_size must be a whole number, got {batch_size!r}")
    smallest = min(ratios, key=ratios.get)
    if batch_size * ratios[smallest] < 1:
        raise ValueError(
            f"a batch of {batch_size} holds {float(batch_size * ratios[smallest]):.3g} examples of '{smallest}' (ratio "
            f"{float(ratios[smallest]):.3g}); use batch_size >= {math.ceil(1 / ratios[smallest])} or a larger ratio"
        )
