# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Attention without mask in bfloat16 on a CPU, where torch's own kernel takes as long as in float32, and products a third."""

from __future__ import annotations

import torch
from torch import Tensor

from .onednn_speaq import runs_on_onednn


# Bytes of attention scores that are computed at once: they stay in the cache of a core or two.
_BLOCK_OF_SCORES = 2**21


def attends_in_blocks(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether `attention_in_blocks` is what computes attention fastest."""
    return query.dtype == torch.bfloat16 and runs_on_onednn(query, key) and runs_on_onednn(query, value)


def attention_in_blocks(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Attention in plain steps, as many heads at once as have few scores.

    Args:
        query: `(B, heads, Tq, d)`.
        key: `(B, heads, Tk, d)`.
        value: `(B, heads, Tk, d)`.
        scaling: What products are multiplied with.

    Returns:
        `(B, Tq, heads, d)`.
    """
    batch_size, num_heads, num_queries, _ = query.shape
    queries, keys, values = (query * scaling).flatten(0, 1), key.transpose(2, 3).flatten(0, 1), value.flatten(0, 1)
    states = torch.empty_like(queries, memory_format=torch.contiguous_format)
    heads_at_once = max(1, _BLOCK_OF_SCORES // (num_queries * key.shape[2] * query.element_size()))
    for first in range(0, len(queries), heads_at_once):
        heads = slice(first, first + heads_at_once)
        torch.bmm((queries[heads] @ keys[heads]).softmax(dim=-1), values[heads], out=states[heads])
    return states.view(batch_size, num_heads, num_queries, -1).transpose(1, 2)
