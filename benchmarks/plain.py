# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Inference in plain steps, as a faithful port of the original program does it; what the fast paths are measured beside.

Attention that writes its weights down, batch norms as steps of their own, a mask also where nothing is padded, keys and values
projected from a memory that every layer adds its positions to, all layers' heads on subjects and objects that are repeated for
each relation, images prepared one by one with PIL and numpy. Made from a model, whose weights it shares; equal in output.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.plain_post_processing import plain_scene_graph
from speaq_hf import SceneGraph, SpeaQForSceneGraphGeneration
from speaq_hf.models.speaq.backbone_speaq import SpeaQFrozenBatchNorm2d
from speaq_hf.models.speaq.image_processing_speaq import SpeaQImageProcessingMixin, get_resized_size
from speaq_hf.models.speaq.layers_speaq import SpeaQAttention, sine_position_embedding


class PlainFrozenBatchNorm2d(nn.Module):
    """A batch norm with fixed numbers, as DETR and its ports have it.

    Args:
        norm: Ours, whose numbers it shares.
    """

    def __init__(self, norm: SpeaQFrozenBatchNorm2d) -> None:
        super().__init__()
        self.eps = norm.eps
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Normalise `(B, channels, h, w)`."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return hidden_states * scale[:, None, None] + shift[:, None, None]


def plain_backbone(backbone: nn.Module) -> nn.Module:
    """The same backbone with the same weights, its frozen batch norms plain."""
    shared = {id(tensor): tensor for tensor in (*backbone.parameters(), *backbone.buffers())}
    plain = copy.deepcopy(backbone, shared)
    norms = [(name, norm) for name, norm in plain.named_modules() if isinstance(norm, SpeaQFrozenBatchNorm2d)]
    for name, norm in norms:
        plain.set_submodule(name, PlainFrozenBatchNorm2d(norm))
    return plain


def plain_attention(
    attention: SpeaQAttention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Attention from `(B, Tq, D)` to `(B, Tk, k·D)` with all its weights in memory; `mask` is added to the scores."""

    def split(states: Tensor) -> Tensor:
        return states.unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(1, 2)

    queries, keys = split(attention.q_proj(query)), split(attention.k_proj(key))
    scores = queries / math.sqrt(attention.head_dim) @ keys.transpose(2, 3)
    if mask is not None:
        scores = scores + mask
    weights = nn.functional.dropout(scores.softmax(dim=-1), attention.attention_dropout, attention.training)
    return attention.out_proj((weights @ split(attention.v_proj(value))).transpose(1, 2).flatten(-2))


class PlainEncoder(nn.Module):
    """The encoder in plain steps.

    Args:
        encoder: Ours.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.layers = encoder.layers

    def forward(self, states: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Encode cells `(B, S, D)` at `positions` `(B, S, D)`; `mask` `(B, 1, 1, S)`."""
        for layer in self.layers:
            query = states + positions
            attended = plain_attention(layer.self_attn, query, query, states, mask)
            states = layer.self_attn_norm(states + layer.dropout(attended))
            states = layer.mlp_norm(states + layer.dropout(layer.mlp(states)))
        return states


class PlainDecoder(nn.Module):
    """The three decoders in plain steps.

    Args:
        decoder: Ours.
        repeats: Relation queries per subject query.
    """

    def __init__(self, decoder: nn.Module, repeats: int) -> None:
        super().__init__()
        self.decoder, self.repeats = decoder, repeats

    def forward(
        self, positions: Sequence[Tensor], memory: Tensor, memory_positions: Tensor, mask: Tensor
    ) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Decode; arguments as of ours, `mask` `(B, 1, 1, S)`.

        Returns:
            For each layer the normalised states of subject `(B, N, D)`, object `(B, N, D)` and relation `(B, R, D)`.
        """
        decoder, image = self.decoder, (memory, memory_positions, mask)
        subject, object_, relation = map(torch.zeros_like, positions)
        num_layers, normalised = len(decoder.subject_layers), []
        for index in range(num_layers):
            at_subject, at_object, at_relation = positions
            subject = self._layer(decoder.subject_layers[index], subject, at_subject, *image)
            at_object = self._condition(decoder.object_positions[index], at_object, subject + at_subject, subject)
            object_ = self._layer(decoder.object_layers[index], object_, at_object, *image)
            keys = torch.cat((subject + at_subject, object_ + at_object), dim=-1)
            values = torch.cat((subject, object_), dim=-1)
            at_relation = self._condition(decoder.relation_positions[index], at_relation, keys, values)
            relation = self._layer(decoder.relation_layers[index], relation, at_relation, *image)
            normalised.append(
                (decoder.entity_norm(subject), decoder.entity_norm(object_), decoder.relation_norm(relation))
            )
            if index < num_layers - 1:
                streams = (subject, object_, relation)
                subject, object_, relation = self._refine(index, streams, (at_subject, at_object, at_relation))
        return normalised

    def _layer(
        self,
        layer: nn.Module,
        states: Tensor,
        positions: Tensor,
        memory: Tensor,
        memory_positions: Tensor,
        mask: Tensor,
    ) -> Tensor:
        query = states + positions
        attended = plain_attention(layer.self_attn, query, query, states)
        states = layer.self_attn_norm(states + layer.dropout(attended))
        attended = plain_attention(layer.cross_attn, states + positions, memory + memory_positions, memory, mask)
        states = layer.cross_attn_norm(states + layer.dropout(attended))
        return layer.mlp_norm(states + layer.dropout(layer.mlp(states)))

    def _condition(self, condition: nn.Module, positions: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        attended = plain_attention(condition.attention, positions, keys, values)
        return positions + condition.dropout(condition.projection(attended))

    def _refine(self, index: int, streams: Sequence[Tensor], positions: Sequence[Tensor]) -> list[Tensor]:
        decoder = self.decoder
        refinements = (decoder.subject_refinements, decoder.object_refinements, decoder.relation_refinements)
        triplets, at_triplets = self._join(*streams), self._join(*positions)
        refined = []
        for refinement, stream, position in zip(refinements, streams, positions, strict=True):
            step = refinement[index]
            attended = plain_attention(step.attention, stream + position, triplets + at_triplets, triplets)
            refined.append(stream + step.norm(step.dropout(step.projection(attended))))
        return refined

    def _join(self, subject: Tensor, object_: Tensor, relation: Tensor) -> Tensor:
        repeated = (states.repeat_interleave(self.repeats, dim=1) for states in (subject, object_))
        return torch.cat((*repeated, relation), dim=-1)


class PlainModel(nn.Module):
    """A scene graph model in plain steps.

    Args:
        model: Ours, in any dtype; this shares its weights.
    """

    def __init__(self, model: SpeaQForSceneGraphGeneration) -> None:
        super().__init__()
        self.config = model.config
        self.backbone = plain_backbone(model.model.backbone)
        self.input_projection = model.model.input_projection
        self.encoder = PlainEncoder(model.model.encoder)
        self.queries = nn.ModuleList(
            [model.model.subject_queries, model.model.object_queries, model.model.relation_queries]
        )
        self.decoder = PlainDecoder(model.model.decoder, model.config.relation_query_multiplier)
        self.class_head, self.predicate_head, self.box_head = model.class_head, model.predicate_head, model.box_head
        self.train(model.training)

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor | None = None) -> dict[str, Any]:
        """Predict; arguments and results as of ours: six tensors, and those of the earlier layers."""
        if pixel_mask is None:
            pixel_mask = torch.ones_like(pixel_values[:, 0], dtype=torch.long)
        features, mask = self.backbone(pixel_values.contiguous(), pixel_mask)
        states = self.input_projection(features).flatten(2).transpose(1, 2)
        positions = sine_position_embedding(mask, self.config.d_model, states.dtype)
        hidden = torch.zeros_like(mask, dtype=states.dtype).masked_fill(~mask, -math.inf).flatten(1)[:, None, None]
        memory = self.encoder(states, positions, hidden)
        queries = [query.weight.expand(len(memory), -1, -1) for query in self.queries]
        layers = [self._predict(*layer) for layer in self.decoder(queries, memory, positions, hidden)]
        return layers[-1] | {"auxiliary_outputs": layers[:-1]}

    def _predict(self, subject: Tensor, object_: Tensor, relation: Tensor) -> dict[str, Tensor]:
        repeats = self.config.relation_query_multiplier
        predictions = {"predicate_logits": self.predicate_head(relation), "relation_boxes": self.box_head(relation)}
        for name, states in (("subject", subject), ("object", object_)):
            repeated = states.repeat_interleave(repeats, dim=1)
            predictions |= {f"{name}_logits": self.class_head(repeated), f"{name}_boxes": self.box_head(repeated)}
        return predictions


def plain_prepare(images: Sequence[Image.Image], processor: SpeaQImageProcessingMixin) -> dict[str, Tensor]:
    """The model's inputs for B images in RGB, resized by PIL and normalised by numpy as the processor's settings say.

    Returns:
        `pixel_values` `(B, 3, H, W)` and `pixel_mask` `(B, H, W)`, padded to the largest image.
    """
    mean, std = (np.asarray(values, dtype=np.float32) for values in (processor.image_mean, processor.image_std))
    arrays = []
    for image in images:
        height, width = get_resized_size((image.height, image.width), processor.size)
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)
        arrays.append(((pixels / 255 - mean) / std).transpose(2, 0, 1))
    canvas = [max(sides) for sides in zip(*(array.shape[1:] for array in arrays), strict=True)]
    pixel_values, pixel_mask = (
        torch.zeros(len(arrays), 3, *canvas),
        torch.zeros(len(arrays), *canvas, dtype=torch.long),
    )
    for index, array in enumerate(arrays):
        pixel_values[index, :, : array.shape[1], : array.shape[2]] = torch.from_numpy(array.copy())
        pixel_mask[index, : array.shape[1], : array.shape[2]] = 1
    return {"pixel_values": pixel_values, "pixel_mask": pixel_mask}


@torch.inference_mode()
def plain_predict(
    model: SpeaQForSceneGraphGeneration,
    images: Sequence[Image.Image],
    processor: SpeaQImageProcessingMixin,
    **options: Any,
) -> list[SceneGraph]:
    """Scene graphs of images by plain steps from first to last.

    Args:
        model: Ours.
        images: B images in RGB.
        processor: Of the model.
        options: Of `plain_scene_graph`.

    Returns:
        B graphs.
    """
    inputs = plain_prepare(images, processor)
    outputs = PlainModel(model)(**inputs)
    names: Mapping[str, Any] = {"id2label": model.config.id2label, "id2predicate": model.config.id2predicate}
    return plain_scene_graph(outputs, [(image.height, image.width) for image in images], **names, **options)
