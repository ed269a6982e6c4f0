# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Counters behind recall: of fixed size, exact, and the same however the images are ordered or shared out.

Each also keeps the sums of bootstrap replicates, if there are any. A replicate counts every image as often as it would be
drawn; see `bootstrap`.
"""

from __future__ import annotations

import numpy as np


# Replicates add up fractions as whole multiples of 2^-30: sums of whole numbers below 2^53 are exact in float64, and so
# do not depend on the order of their terms (for up to 8 million images).
_UNITS = 2.0**30


class MeanRecall:
    """Averages hits / total over images, for several values of K and several columns at once.

    Only integers are kept, the hits of all images that share a total: unlike a sum of fractions they do not depend on
    the order of the images or on how they are split over processes.

    Args:
        num_ks: Number of values of K.
        num_columns: Number of columns (1, or one per predicate).
        num_replicates: Number of bootstrap replicates.
    """

    def __init__(self, num_ks: int, num_columns: int = 1, num_replicates: int = 0) -> None:
        self.num_images = np.zeros(num_columns, dtype=np.int64)
        self._hits_by_total: dict[int, np.ndarray] = {}
        self._shape = (num_ks, num_columns)
        self._replicate_sums = np.zeros((num_replicates, num_ks * num_columns))
        self._replicate_images = np.zeros((num_replicates, num_columns))

    def add(self, hits: np.ndarray, totals: np.ndarray, draws: np.ndarray) -> None:
        """Adds B images.

        Args:
            hits: `(B, num_ks, num_columns)` annotated triplets that were hit.
            totals: `(B, num_columns)` annotated triplets; a column with 0 does not see this image.
            draws: `(num_replicates, B)` how often each replicate counts each image.
        """
        seen = totals > 0
        for total in np.unique(totals[seen]).tolist():
            self._bucket(total)[...] += np.where((totals == total)[:, None], hits, 0).sum(axis=0)
        self.num_images += seen.sum(axis=0)
        if len(draws):
            shares = np.divide(hits, totals[:, None], out=np.zeros(hits.shape), where=seen[:, None])
            self._replicate_sums += draws @ np.rint(shares * _UNITS).reshape(len(hits), -1)
            self._replicate_images += draws @ seen

    def merge(self, other: MeanRecall) -> None:
        """Adds the images of another average."""
        for total, hits in other._hits_by_total.items():
            self._bucket(total)[...] += hits
        self.num_images += other.num_images
        self._replicate_sums += other._replicate_sums
        self._replicate_images += other._replicate_images

    def compute(self) -> np.ndarray:
        """The averages `(1 + num_replicates, num_ks, num_columns)`, first of the images, then of the replicates; nan in a
        column that no image has."""
        sums = np.zeros(self._shape)
        for total in sorted(self._hits_by_total):
            sums += self._hits_by_total[total] / total
        replicates = self._replicate_sums.reshape(-1, *self._shape) / _UNITS
        counts = np.concatenate([self.num_images[None], self._replicate_images])[:, None]
        return _ratio(np.concatenate([sums[None], replicates]), counts)

    def _bucket(self, total: int) -> np.ndarray:
        return self._hits_by_total.setdefault(total, np.zeros(self._shape, dtype=np.int64))


class PooledRecall:
    """Hits of all images / annotated triplets of all images, otherwise as `MeanRecall`."""

    def __init__(self, num_ks: int, num_columns: int = 1, num_replicates: int = 0) -> None:
        self._hits = np.zeros((1 + num_replicates, num_ks, num_columns), dtype=np.int64)
        self._totals = np.zeros((1 + num_replicates, 1, num_columns), dtype=np.int64)

    def add(self, hits: np.ndarray, totals: np.ndarray, draws: np.ndarray) -> None:
        """Adds B images, see `MeanRecall.add`."""
        draws = np.concatenate([np.ones((1, len(totals)), dtype=np.int64), draws.astype(np.int64)])
        self._hits += (draws @ hits.reshape(len(hits), -1)).reshape(self._hits.shape)
        self._totals += (draws @ totals)[:, None]

    def merge(self, other: PooledRecall) -> None:
        """Adds the images of another one."""
        self._hits += other._hits
        self._totals += other._totals

    def compute(self) -> np.ndarray:
        """The shares `(1 + num_replicates, num_ks, num_columns)`; nan without annotated triplets."""
        return _ratio(self._hits, self._totals)


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums / counts; nan where the count is 0."""
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
