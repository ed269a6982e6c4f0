# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""How far the class distributions of two data sets differ: shared and exclusive classes, a chi-square test, gaps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2_contingency

from .set_summary import ClassCounts


@dataclass(frozen=True)
class ChiSquareTest:
    """Pearson's test that two sets draw their common classes from one distribution.

    Sets of a million annotations differ significantly in everything; the V say how much.

    Args:
        statistic: Chi square.
        degrees_of_freedom: Common classes less one.
        p_value: Probability of a statistic as large if the distributions were one; 0 where it is below 1e-308.
        cramers_v: Strength of the difference, 0 (one distribution) to 1; it shrinks where one set is much larger.
        balanced_cramers_v: The same with both sets weighted alike, so that it depends on the shares alone.
        low_expected: Share of the table's cells with an expected count below 5; above 0.2 the test is not reliable.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float
    cramers_v: float
    balanced_cramers_v: float
    low_expected: float


@dataclass(frozen=True)
class ClassGap:
    """A class and its share of all annotations in each of the two sets."""

    name: str
    first: float
    second: float


@dataclass(frozen=True)
class ClassComparison:
    """Two class distributions side by side; classes are matched by name.

    Args:
        common: Classes annotated in both sets.
        only_first: Classes annotated in the first set alone.
        only_second: Classes annotated in the second set alone.
        chi_square: Test over the common classes; None if they are fewer than two.
        total_variation: Half the sum of the differences of shares over all classes, 0 to 1: the share of annotations
            that would have to change their class.
        gaps: Classes of either set, largest difference of shares first.
    """

    common: list[str]
    only_first: list[str]
    only_second: list[str]
    chi_square: ChiSquareTest | None
    total_variation: float
    gaps: list[ClassGap]

    def to_dict(self) -> dict[str, Any]:
        """Everything as dictionaries, lists and numbers, ready for JSON."""
        return asdict(self)


def compare_classes(first: ClassCounts, second: ClassCounts) -> ClassComparison:
    """Compares how often two sets annotate each class.

    Args:
        first: Counts of one set.
        second: Counts of the other; it may have another vocabulary.

    Returns:
        The comparison.
    """
    names = list(dict.fromkeys([*first.names, *second.names]))
    counts = np.stack([_counts_of(names, first), _counts_of(names, second)])  # (2, c)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    in_first, in_second = counts > 0
    difference = np.abs(shares[0] - shares[1])
    order = [i for i in np.argsort(-difference, kind="stable").tolist() if in_first[i] or in_second[i]]
    return ClassComparison(
        common=_where(names, in_first & in_second),
        only_first=_where(names, in_first & ~in_second),
        only_second=_where(names, in_second & ~in_first),
        chi_square=_chi_square(counts[:, in_first & in_second]),
        total_variation=float(difference.sum() / 2),
        gaps=[ClassGap(names[i], float(shares[0, i]), float(shares[1, i])) for i in order],
    )


def _counts_of(names: list[str], classes: ClassCounts) -> np.ndarray:
    count_of = dict(zip(classes.names, classes.counts.tolist(), strict=True))
    return np.array([count_of.get(name, 0) for name in names], np.int64)


def _where(names: list[str], mask: np.ndarray) -> list[str]:
    return [names[i] for i in np.flatnonzero(mask).tolist()]


def _chi_square(counts: np.ndarray) -> ChiSquareTest | None:
    """The test of a table (2, c) without zeros."""
    if counts.shape[1] < 2:
        return None
    # Without Yates' correction: it is for 2 x 2 tables alone, and V would not be 1 where nothing is shared.
    result = chi2_contingency(counts, correction=False)
    shares = counts / counts.sum(axis=1, keepdims=True)
    return ChiSquareTest(
        statistic=float(result.statistic),
        degrees_of_freedom=int(result.dof),
        p_value=float(result.pvalue),
        cramers_v=float(np.sqrt(result.statistic / counts.sum())),
        balanced_cramers_v=float(np.sqrt(((shares[0] - shares[1]) ** 2 / shares.sum(axis=0)).sum() / 2)),
        low_expected=float((result.expected_freq < 5).mean()),
    )
