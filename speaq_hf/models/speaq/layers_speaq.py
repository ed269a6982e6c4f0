# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Layers of SpeaQ's encoder and of its three decoders (Iterative SGG, NeurIPS 2022).

Shapes: B images, N subject (and object) queries, R = m·N relation queries, T queries of one stream, D model width, S cells of
the feature map.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .attention_in_blocks_speaq import attends_in_blocks, attention_in_blocks
from .configuration_speaq import SpeaQConfig
from .inference_speaq import (
    SpeaQAbsorbed,
    SpeaQComposedLinear,
    SpeaQFusedLinear,
    SpeaQJointLinear,
    SpeaQJointTripletLinear,
    is_plain_linear,
)


def sine_position_embedding(mask: Tensor, dim: int, dtype: torch.dtype, temperature: float = 10000.0) -> Tensor:
    """Sines and cosines of the cell index normalised to 2π: D/2 features for y, then D/2 for x (DETR, appendix A.4).

    Args:
        mask: `(B, h, w)`, true on the image; indices count true cells only.
        dim: Width D.
        dtype: dtype of the result; the computation is in float32.
        temperature: Largest wavelength over 2π.

    Returns:
        `(B, h·w, D)`.
    """
    features = torch.arange(dim // 2, device=mask.device)
    wavelengths = temperature ** (2 * (features // 2) / (dim // 2))
    axes = []
    for axis in (1, 2):
        index = mask.cumsum(dim=axis, dtype=torch.float32)
        last = index.narrow(axis, index.shape[axis] - 1, 1)
        angles = (index / (last + 1e-6) * 2 * math.pi)[..., None] / wavelengths
        axes.append(torch.stack((angles[..., 0::2].sin(), angles[..., 1::2].cos()), dim=-1).flatten(-2))
    return torch.cat(axes, dim=-1).flatten(1, 2).to(dtype)


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Attention in plain steps: `(B, heads, T, d)` in, `(B, T, heads, d)` and `(B, heads, Tq, Tk)` weights out."""
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.dropout(scores.softmax(dim=-1), p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2), weights


class SpeaQAttention(nn.Module):
    """Multi-head attention whose keys and values may be wider than its queries.

    Args:
        config: Model configuration.
        num_heads: Number of heads.
        memory_multiplier: Width of keys and values in multiples of D.
    """

    may_attend_in_blocks = False  # true once the model is optimised for inference

    def __init__(self, config: SpeaQConfig, num_heads: int, memory_multiplier: int = 1) -> None:
        super().__init__()
        self.config = config
        self.num_heads = num_heads
        self.head_dim = config.d_model // num_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_dropout
        self.is_causal = False
        memory_dim = memory_multiplier * config.d_model
        self.q_proj = nn.Linear(config.d_model, config.d_model)
        self.k_proj = nn.Linear(memory_dim, config.d_model)
        self.v_proj = nn.Linear(memory_dim, config.d_model)
        self.out_proj = nn.Linear(config.d_model, config.d_model)

    def _split_heads(self, states: Tensor) -> Tensor:
        return states.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from `query` `(B, Tq, D)` to `key` and `value` `(B, Tk, k·D)`.

        Returns:
            States `(B, Tq, D)` and, with eager attention, weights `(B, heads, Tq, Tk)`.
        """
        projected = (self.q_proj(query), self.k_proj(key), self.v_proj(value))
        query, key, value = map(self._split_heads, projected)
        is_plain = attention_mask is None and self.config._attn_implementation == "sdpa"
        if self.may_attend_in_blocks and is_plain and attends_in_blocks(query, key, value):
            return self.out_proj(attention_in_blocks(query, key, value, self.scaling).flatten(-2)), None
        attention: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        states, weights = attention(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
        )
        return self.out_proj(states.flatten(-2)), weights


class SpeaQAttentionToZeros(SpeaQAttention):
    """Attention whose values are zero before they are projected: whatever its weights, it finds the bias of that projection.

    Args:
        attention: What it takes the place of, for inference alone.
    """

    def __init__(self, attention: SpeaQAttention) -> None:
        super().__init__(attention.config, attention.num_heads)
        self._modules = attention._modules

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """See [`SpeaQAttention`]."""
        if self.config._attn_implementation == "eager":  # which returns the weights
            return super().forward(query, key, value, attention_mask)
        return self.out_proj(self.v_proj.bias).expand_as(query), None


class SpeaQFeedForward(nn.Module):
    """The two-layer network at the end of a transformer layer."""

    def __init__(self, config: SpeaQConfig, ffn_dim: int) -> None:
        super().__init__()
        self.activation = ACT2FN[config.activation_function]
        self.dropout = nn.Dropout(config.activation_dropout)
        self.fc1 = nn.Linear(config.d_model, ffn_dim)
        self.fc2 = nn.Linear(ffn_dim, config.d_model)

    def fuse_activation(self) -> None:
        """Let the first layer apply the activation, if it is one that it can; for inference alone."""
        if isinstance(self.activation, nn.ReLU) and is_plain_linear(self.fc1):
            self.fc1, self.activation = SpeaQFusedLinear(self.fc1, with_relu=True), nn.Identity()

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Map `(…, D)` to `(…, D)`."""
        return self.fc2(self.dropout(self.activation(self.fc1(hidden_states))))


class SpeaQEncoderLayer(GradientCheckpointingLayer):
    """Post-norm DETR encoder layer; positions are added to queries and keys, not to values."""

    def __init__(self, config: SpeaQConfig) -> None:
        super().__init__()
        self.self_attn = SpeaQAttention(config, config.encoder_attention_heads)
        self.self_attn_norm = nn.LayerNorm(config.d_model)
        self.mlp = SpeaQFeedForward(config, config.encoder_ffn_dim)
        self.mlp_norm = nn.LayerNorm(config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden_states: Tensor, positions: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Refine `hidden_states` `(B, S, D)` at `positions` `(B, S, D)`."""
        query = hidden_states + positions
        attended, _ = self.self_attn(query, query, hidden_states, attention_mask)
        hidden_states = self.self_attn_norm(hidden_states + self.dropout(attended))
        return self.mlp_norm(hidden_states + self.dropout(self.mlp(hidden_states)))


class SpeaQDecoderLayer(GradientCheckpointingLayer):
    """Post-norm DETR decoder layer of one of the three streams."""

    def __init__(self, config: SpeaQConfig) -> None:
        super().__init__()
        self.self_attn = SpeaQAttention(config, config.decoder_attention_heads)
        self.self_attn_norm = nn.LayerNorm(config.d_model)
        self.cross_attn = SpeaQAttention(config, config.decoder_attention_heads)
        self.cross_attn_norm = nn.LayerNorm(config.d_model)
        self.mlp = SpeaQFeedForward(config, config.decoder_ffn_dim)
        self.mlp_norm = nn.LayerNorm(config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        hidden_states: Tensor,
        positions: Tensor,
        memory: Tensor,
        memory_keys: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Refine a stream.

        Args:
            hidden_states: `(B, T, D)`.
            positions: Query positions, `(B, T, D)`.
            memory: Encoder output, `(B, S, D)`.
            memory_keys: Encoder output plus its positions, `(B, S, D)`.
            attention_mask: Hides padding, broadcasts to `(B, 1, T, S)`.

        Returns:
            `(B, T, D)`.
        """
        query = hidden_states + positions
        attended, _ = self.self_attn(query, query, hidden_states)
        hidden_states = self.self_attn_norm(hidden_states + self.dropout(attended))
        attended, _ = self.cross_attn(hidden_states + positions, memory_keys, memory, attention_mask)
        hidden_states = self.cross_attn_norm(hidden_states + self.dropout(attended))
        return self.mlp_norm(hidden_states + self.dropout(self.mlp(hidden_states)))


class SpeaQZeroInitLinear(nn.Linear):
    """Linear layer that starts at zero, so that its branch is added to the network without disturbing it."""


class SpeaQConditionalPosition(GradientCheckpointingLayer):
    """Moves the query positions of one stream towards what the streams before it have found in this layer.

    Args:
        config: Model configuration.
        num_sources: How many streams are joined into the keys and values.
    """

    def __init__(self, config: SpeaQConfig, num_sources: int) -> None:
        super().__init__()
        self.attention = SpeaQAttention(config, config.decoder_attention_heads, num_sources)
        self.projection = SpeaQZeroInitLinear(config.d_model, config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, positions: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Condition `positions` `(B, T, D)` on `keys` and `values` `(B, N, num_sources·D)`."""
        attended, _ = self.attention(positions, keys, values)
        return positions + self.dropout(self.projection(attended))


class SpeaQTripletRefinement(GradientCheckpointingLayer):
    """Lets one stream look at all (subject, object, relation) triplets between two layers."""

    def __init__(self, config: SpeaQConfig) -> None:
        super().__init__()
        self.attention = SpeaQAttention(config, config.decoder_attention_heads, memory_multiplier=3)
        self.projection = SpeaQZeroInitLinear(config.d_model, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.d_model)

    def forward(self, hidden_states: Tensor, positions: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Refine `hidden_states` `(B, T, D)` with triplet `keys` and `values` `(B, R, 3·D)`."""
        attended, _ = self.attention(hidden_states + positions, keys, values)
        return hidden_states + self.norm(self.dropout(self.projection(attended)))


def compose_projections(branch: SpeaQConditionalPosition | SpeaQTripletRefinement) -> None:
    """Make the two last projections of a branch one product, in place, for inference alone; not where adapters or
    quantization have changed them."""
    first, second = branch.attention.out_proj, branch.projection
    if is_plain_linear(first) and is_plain_linear(second):
        branch.attention.out_proj, branch.projection = SpeaQComposedLinear(first, second), SpeaQAbsorbed(second)


class SpeaQTripletReader(nn.Module):
    """Gives the refinements of one layer what they read of all triplets, for each to project on its own.

    Args:
        num_repeats: How many relations, m, have each pair of entities.
    """

    def __init__(self, num_repeats: int) -> None:
        super().__init__()
        self.num_repeats = num_repeats

    def forward(
        self, streams: tuple[Tensor, Tensor, Tensor], positions: tuple[Tensor, Tensor, Tensor]
    ) -> list[tuple[Tensor, Tensor]]:
        """Make keys and values of subjects, objects `(B, N, D)` and relations `(B, R, D)`, and of their positions.

        Returns:
            For subject, object and relation, keys and values `(B, R, 3·D)`.
        """
        values = self._join(*streams)
        return [(values + self._join(*positions), values)] * 3

    def _join(self, subject: Tensor, object_: Tensor, relation: Tensor) -> Tensor:
        """Subject i serves relations m·i … m·i+m-1."""
        entities = torch.cat((subject, object_), dim=-1).repeat_interleave(self.num_repeats, dim=1)
        return torch.cat((entities, relation), dim=-1)


class SpeaQProjectedTripletReader(nn.Module):
    """The same with all projections made here.

    Args:
        attentions: Of the three refinements; their projections are absorbed, in place.
    """

    def __init__(self, attentions: list[SpeaQAttention]) -> None:
        super().__init__()
        self.keys = SpeaQJointTripletLinear([attention.k_proj for attention in attentions])
        self.values = SpeaQJointTripletLinear([attention.v_proj for attention in attentions])
        absorb_memory_projections(attentions)

    def forward(
        self, streams: tuple[Tensor, Tensor, Tensor], positions: tuple[Tensor, Tensor, Tensor]
    ) -> list[tuple[Tensor, Tensor]]:
        """See [`SpeaQTripletReader`]; keys and values are projected."""
        keys = self.keys(*(stream + position for stream, position in zip(streams, positions, strict=True)))
        return list(zip(keys, self.values(*streams), strict=True))


def absorb_memory_projections(attentions: list[SpeaQAttention]) -> None:
    """Take from attentions the projections of keys and values, in place: they are given projected ones."""
    for attention in attentions:
        attention.v_proj, attention.k_proj = SpeaQAbsorbed(attention.v_proj), SpeaQAbsorbed(attention.k_proj)


def have_plain_memory_projections(attentions: list[SpeaQAttention]) -> bool:
    """Whether nothing, as adapters or quantization, has changed how attentions project keys and values."""
    return all(is_plain_linear(linear) for part in attentions for linear in (part.v_proj, part.k_proj))


class SpeaQImageReader(nn.Module):
    """Gives the cross-attentions of all layers what they read of the image, for each to project on its own."""

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.num_layers = num_layers

    def forward(self, memory: Tensor, memory_positions: Tensor) -> list[list[tuple[Tensor, Tensor]]]:
        """Make values and keys of `memory` and `memory_positions`, both `(B, S, D)`.

        Returns:
            For every layer, for subject, object and relation, values and keys `(B, S, D)`.
        """
        return [[(memory, memory + memory_positions)] * 3] * self.num_layers


class SpeaQProjectedImageReader(nn.Module):
    """The same with all projections made here, each kind in one product.

    Args:
        attentions: The cross-attentions, layer by layer; their projections are absorbed, in place.
    """

    def __init__(self, attentions: list[SpeaQAttention]) -> None:
        super().__init__()
        self.values = SpeaQJointLinear([attention.v_proj for attention in attentions])
        self.keys = SpeaQJointLinear([attention.k_proj for attention in attentions])
        absorb_memory_projections(attentions)

    def forward(self, memory: Tensor, memory_positions: Tensor) -> list[list[tuple[Tensor, Tensor]]]:
        """See [`SpeaQImageReader`]; values and keys are projected."""
        pairs = list(zip(self.values(memory), self.keys(memory + memory_positions), strict=True))
        return [pairs[first : first + 3] for first in range(0, len(pairs), 3)]
