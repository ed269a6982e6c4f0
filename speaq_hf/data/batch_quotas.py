# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""How many examples of each source a batch holds, when their shares are no whole numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction


_MARK_EVERY = 1024


class BatchQuotas:
    """How many examples of each source a batch holds: shares rounded down or up, without drift.

    Every share's whole part is in every batch, and so many places are left that each source with a broken share gets one
    or none. Where these are two sources, the first gets its running total rounded, and the second the rest. Where they
    are more, no formula is known, and `FairPlaces` counts through the batches before; some microseconds for each, and no
    more than until the pattern repeats, which is soon for ratios such as 0.15 and late for such as 0.123457.

    Args:
        shares: Examples of each source per batch; they sum to a whole number.
    """

    def __init__(self, shares: Sequence[Fraction]) -> None:
        self._whole = [math.floor(share) for share in shares]
        self._rest = [share - whole for share, whole in zip(shares, self._whole, strict=True)]
        self._broken = [source for source, rest in enumerate(self._rest) if rest]
        self._places = FairPlaces([self._rest[source] for source in self._broken])

    def before(self, batch: int) -> list[int]:
        """Examples of each source in all batches before a batch, counted from the start of training."""
        counts = [whole * batch for whole in self._whole]
        for source, places in zip(self._broken, self._places_before(batch), strict=True):
            counts[source] += places
        return counts

    def _places_before(self, batch: int) -> list[int]:
        """The places that the sources with broken shares got."""
        if len(self._broken) != 2:
            return self._places.before(batch)
        first = math.floor(self._rest[self._broken[0]] * batch + Fraction(1, 2))
        return [first, batch - first]


class FairPlaces:
    """Shares out a few places of every batch among sources, each of which gets one or none.

    The places of a batch go to the sources whose next example is due first, as proportionate-fair scheduling shares
    processors out (Baruah et al., Algorithmica 15, 1996): no source is ever a whole place away from its share.

    Args:
        shares: Places of each source per batch, above 0 and below 1; they sum to a whole number.
    """

    def __init__(self, shares: Sequence[Fraction]) -> None:
        self._shares = [share.as_integer_ratio() for share in shares]  # fractions would be many times slower
        self._places = int(sum(shares))
        self._period = math.lcm(*(share.denominator for share in shares))
        self._marks = [[0] * len(shares)]  # places given before batch 0, 1024, …
        self._go_to_mark(0)

    def before(self, batch: int) -> list[int]:
        """Places given to each source before a batch."""
        periods, position = divmod(batch, self._period)
        mark = min(position // _MARK_EVERY, len(self._marks) - 1)
        if not mark * _MARK_EVERY <= self._batch <= position:
            self._go_to_mark(mark)
        while self._batch < position:
            self._share_out()
        per_period = [self._period * part // whole for part, whole in self._shares]
        return [count * periods + given for count, given in zip(per_period, self._given, strict=True)]

    def _go_to_mark(self, mark: int) -> None:
        self._batch, self._given = mark * _MARK_EVERY, list(self._marks[mark])
        self._urgencies = [self._urgency(source) for source in range(len(self._shares))]

    def _share_out(self) -> None:
        """Shares out the places of one batch."""
        self._batch += 1
        ready = [
            source
            for source, (part, whole) in enumerate(self._shares)
            if self._given[source] * whole < self._batch * part
        ]
        for source in sorted(ready, key=self._urgencies.__getitem__)[: self._places]:
            self._given[source] += 1
            self._urgencies[source] = self._urgency(source)
        if self._batch == len(self._marks) * _MARK_EVERY:
            self._marks.append(list(self._given))

    def _urgency(self, source: int) -> tuple[tuple[int, bool], ...]:
        """When the next places of a source are due, and whether the one after is then already ready."""
        part, whole = self._shares[source]
        due = [divmod((self._given[source] + number) * whole, part) for number in (1, 2, 3)]
        return tuple((batch + (left > 0), left == 0) for batch, left in due)
