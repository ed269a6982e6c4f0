# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Minimum-cost matching of relations to the queries of their groups, for all layers and images of a batch.

A relation is matched outside its group only when the group has fewer queries than are needed. Everywhere else the groups
of an image are problems of their own, much smaller than one problem with all queries, and with the same solution.
Shapes: L layers, T relations in the batch, R queries; t relations and q queries in a block; M matched pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers.utils import is_scipy_available


if is_scipy_available():
    from scipy.optimize import linear_sum_assignment

# Added to the cost of a query outside the relation's group: such a match is possible, but only when a group is full.
_OUT_OF_GROUP_COST = 1e6


@dataclass
class QueryBlock:
    """Relations that may be matched with the same consecutive queries, image after image.

    Args:
        relations: Their rows in the batch's relations, `(t,)`.
        images: Image of each, `(t,)`, ascending.
        first_query: The first of the queries.
        num_queries: How many there are, q.
        groups: Group of each relation, `(t,)`, where the queries are those of several groups; else all 0.
        group_sizes: Number of queries of each of these groups.
    """

    relations: np.ndarray
    images: np.ndarray
    first_query: int
    num_queries: int
    groups: np.ndarray
    group_sizes: Sequence[int]

    @property
    def queries(self) -> slice:
        """The queries."""
        return slice(self.first_query, self.first_query + self.num_queries)

    def out_of_group(self, rows: slice = slice(None)) -> np.ndarray | None:
        """Which queries are outside the group of a relation, `(t, q)`; `None` when none is."""
        if len(self.group_sizes) == 1:
            return None
        query_to_group = np.arange(len(self.group_sizes)).repeat(self.group_sizes)
        return self.groups[rows, None] != query_to_group

    def solve(self, costs: np.ndarray, copies: np.ndarray) -> Iterator[np.ndarray]:
        """Match every image in every layer.

        Args:
            costs: `(L, t, q)`.
            copies: How often each relation of the batch is repeated, `(L, T)`.

        Yields:
            Layer, image, query and relation of each matched pair, `(4, M of one layer and image)`.
        """
        starts = np.flatnonzero(np.diff(self.images, prepend=-1)).tolist()
        bounds = list(zip(starts, [*starts[1:], len(self.images)], strict=True))
        for layer, (cost, repeats) in enumerate(zip(costs, copies[:, self.relations], strict=True)):
            for start, end in bounds:
                queries, rows = self._solve_image(cost[start:end], repeats[start:end], self.groups[start:end])
                pairs = np.empty((4, len(queries)), dtype=np.int64)
                pairs[0], pairs[1] = layer, self.images[start]
                pairs[2], pairs[3] = queries + self.first_query, self.relations[rows + start]
                yield pairs

    def _solve_image(self, cost: np.ndarray, copies: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Matched queries and rows of one image: `cost` `(r, q)`, `copies` and `groups` `(r,)`."""
        if len(self.group_sizes) == 1:
            return _match(cost, copies)
        needed = np.bincount(groups, weights=copies, minlength=len(self.group_sizes))
        if (needed > self.group_sizes).any():
            query_to_group = np.arange(len(self.group_sizes)).repeat(self.group_sizes)
            outside = (groups[:, None] != query_to_group).astype(cost.dtype)
            return _match(cost + outside * _OUT_OF_GROUP_COST, copies)
        firsts, found = np.cumsum([0, *self.group_sizes]), []
        for group in np.unique(groups).tolist():
            rows = np.flatnonzero(groups == group)
            queries, matched = _match(cost[rows, firsts[group] : firsts[group + 1]], copies[rows])
            found.append((queries + firsts[group], rows[matched]))
        queries, rows = zip(*found, strict=True)
        return np.concatenate(queries), np.concatenate(rows)


def _match(cost: np.ndarray, copies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match every copy of `(r,)` relations, or every query if these are fewer: `cost` `(r, q)`; queries and relations."""
    relation_of_copy = np.arange(len(copies)).repeat(copies)
    rows, queries = linear_sum_assignment(cost[relation_of_copy])
    return queries, relation_of_copy[rows]


def cut_blocks(
    images: np.ndarray, groups: np.ndarray, group_sizes: Sequence[int], most_copies: int
) -> list[QueryBlock]:
    """One block for each group, and one with all queries for the images in which a group may be too small.

    Args:
        images: Image of each relation, `(T,)`, ascending.
        groups: Group of each relation, `(T,)`.
        group_sizes: Number of consecutive queries of each group.
        most_copies: The most often that a relation can be repeated.

    Returns:
        Blocks of at least one relation; every relation is in one of them.
    """
    if not len(images):
        return []
    needed = np.zeros((images[-1] + 1, len(group_sizes)), dtype=np.int64)
    np.add.at(needed, (images, groups), most_copies)
    has_room = (needed <= np.array(group_sizes)).all(axis=1)[images]
    blocks, first = [], 0
    for group, size in enumerate(group_sizes):
        rows = np.flatnonzero(has_room & (groups == group))
        blocks.append(QueryBlock(rows, images[rows], first, size, np.zeros_like(rows), [size]))
        first += size
    rows = np.flatnonzero(~has_room)
    blocks.append(QueryBlock(rows, images[rows], 0, first, groups[rows], group_sizes))
    return [block for block in blocks if len(block.relations)]


@dataclass
class MatchedPairs:
    """Which queries are matched with which relations, ordered by layer, image and query.

    Args:
        layers: `(M,)`.
        images: `(M,)`.
        queries: `(M,)`.
        relations: Rows in the batch's relations, `(M,)`.
        copies: How often each relation was repeated in each layer, `(L, T)`.
    """

    layers: np.ndarray
    images: np.ndarray
    queries: np.ndarray
    relations: np.ndarray
    copies: np.ndarray

    @classmethod
    def join(cls, pairs: Sequence[np.ndarray], copies: np.ndarray) -> "MatchedPairs":
        """Order what the blocks yield."""
        joined = np.concatenate([np.empty((4, 0), dtype=np.int64), *pairs], axis=1)
        order = np.lexsort((joined[2], joined[1], joined[0]))
        return cls(*joined[:, order], copies)

    def repeat(self, num_layers: int) -> "MatchedPairs":
        """The pairs of one layer for so many."""
        layers = np.arange(num_layers).repeat(len(self.layers))
        rest = (np.tile(values, num_layers) for values in (self.images, self.queries, self.relations))
        return MatchedPairs(layers, *rest, np.tile(self.copies, (num_layers, 1)))

    def counts(self) -> list[int]:
        """Number of pairs in each layer."""
        return np.bincount(self.layers, minlength=len(self.copies)).tolist()

    def split(self, counts: Sequence[int]) -> list[list[tuple[Tensor, Tensor, Tensor]]]:
        """Queries, relations of the image and copies for each layer and image, which have `counts` (B) relations."""
        ends = np.cumsum(counts)
        copies = [np.split(layer, ends[:-1]) for layer in self.copies]
        parts: list[list[tuple[Tensor, Tensor, Tensor]]] = []
        for layer, layer_copies in enumerate(copies):
            parts.append([])
            for image, (end, count) in enumerate(zip(ends, counts, strict=True)):
                chosen = (self.layers == layer) & (self.images == image)
                arrays = (self.queries[chosen], self.relations[chosen] - (end - count), layer_copies[image])
                parts[-1].append(tuple(torch.from_numpy(array.copy()) for array in arrays))
        return parts
