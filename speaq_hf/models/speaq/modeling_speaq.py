# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""SpeaQ (arXiv 2403.17709, CVPR 2024) and Iterative SGG (NeurIPS 2022) for scene graph generation.

One network serves both: they differ in the number of relation queries and in how these are assigned to the ground
truth during training (`loss_speaq.py`). Written from the papers. Shapes: B images, N subject (and object) queries,
R = m·N relation queries, C object classes, P predicates, D model width, L decoder layers, S cells of the feature map.
"""

import copy
import math
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DetrForObjectDetection, PreTrainedModel
from transformers import initialization as init
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import ModelOutput, can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .backbone_speaq import SpeaQBackbone, supports_sdpa
from .checkpointed_blocks_speaq import make_blocks_checkpointable
from .configuration_speaq import SpeaQConfig
from .detr_weights_speaq import config_from_detr, convert_detr_weights, load_detr, load_detr_weights
from .folded_norms_speaq import fold_frozen_norms, restore_frozen_norms
from .inference_speaq import fuse_backbone, fuse_linears, is_plain_linear
from .label_resizing_speaq import LabelResizingMixin
from .layers_speaq import (
    SpeaQAttention,
    SpeaQAttentionToZeros,
    SpeaQConditionalPosition,
    SpeaQDecoderLayer,
    SpeaQEncoderLayer,
    SpeaQFeedForward,
    SpeaQImageReader,
    SpeaQProjectedImageReader,
    SpeaQProjectedTripletReader,
    SpeaQTripletReader,
    SpeaQTripletRefinement,
    SpeaQZeroInitLinear,
    compose_projections,
    have_plain_memory_projections,
    sine_position_embedding,
)
from .loss_speaq import SpeaQCriterion, at_least_float32


# What every scene graph model predicts, see [`SpeaQSceneGraphOutput`].
PREDICTIONS = (
    "subject_logits",
    "subject_boxes",
    "object_logits",
    "object_boxes",
    "predicate_logits",
    "relation_boxes",
)


@dataclass
class SpeaQDecoderOutput(ModelOutput):
    """
    Output of the three interleaved decoders.

    Args:
        subject_states (`torch.FloatTensor` of shape `(L, B, N, D)`):
            Normalised subject states after each layer.
        object_states (`torch.FloatTensor` of shape `(L, B, N, D)`):
            Normalised object states after each layer.
        relation_states (`torch.FloatTensor` of shape `(L, B, R, D)`):
            Normalised relation states after each layer.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*, with `output_hidden_states=True`):
            States before normalisation, 3·L entries: subject, object and relation of the first layer, of the second, …
        attentions (`tuple(torch.FloatTensor)`, *optional*, with `output_attentions=True` and eager attention):
            Self-attention maps in the same order.
        cross_attentions (`tuple(torch.FloatTensor)`, *optional*, with `output_attentions=True` and eager attention):
            Attention on the image, in the same order, `(B, heads, N or R, S)`.
    """

    subject_states: Tensor | None = None
    object_states: Tensor | None = None
    relation_states: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


@dataclass
class SpeaQModelOutput(ModelOutput):
    """
    Output of [`SpeaQModel`].

    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(B, R, D)`):
            Normalised relation states of the last decoder layer.
        subject_states (`torch.FloatTensor` of shape `(L, B, N, D)`): See [`SpeaQDecoderOutput`].
        object_states (`torch.FloatTensor` of shape `(L, B, N, D)`): See [`SpeaQDecoderOutput`].
        relation_states (`torch.FloatTensor` of shape `(L, B, R, D)`): See [`SpeaQDecoderOutput`].
        decoder_hidden_states (`tuple(torch.FloatTensor)`, *optional*): See [`SpeaQDecoderOutput`].
        decoder_attentions (`tuple(torch.FloatTensor)`, *optional*): See [`SpeaQDecoderOutput`].
        cross_attentions (`tuple(torch.FloatTensor)`, *optional*): See [`SpeaQDecoderOutput`].
        encoder_last_hidden_state (`torch.FloatTensor` of shape `(B, S, D)`): The image memory, cells in row-major order.
        encoder_hidden_states (`tuple(torch.FloatTensor)`, *optional*): Input and output of each encoder layer.
        encoder_attentions (`tuple(torch.FloatTensor)`, *optional*): Attention maps of each encoder layer.
    """

    last_hidden_state: Tensor | None = None
    subject_states: Tensor | None = None
    object_states: Tensor | None = None
    relation_states: Tensor | None = None
    decoder_hidden_states: tuple[Tensor, ...] | None = None
    decoder_attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: tuple[Tensor, ...] | None = None


@dataclass
class SpeaQSceneGraphOutput(ModelOutput):
    """
    Output of [`SpeaQForSceneGraphGeneration`]. Row r of the subject, object, predicate and relation tensors describes
    one relation. Boxes are (cx, cy, w, h) in [0, 1] of the un-padded image. The last logit is background.

    Args:
        loss (`torch.FloatTensor` of shape `()`, *optional*, with `labels`):
            Weighted sum of `loss_dict`.
        loss_dict (`dict[str, torch.FloatTensor]`, *optional*, with `labels`):
            `loss_{class,bbox,giou}_{subject,object}`, `loss_predicate` and `loss_{bbox,giou}_relation`, before their
            coefficients; the last layer without suffix, earlier layers with `_0`, `_1`, …. When labels have a `source`,
            also each source's own terms of the last layer, before the images' weights: `loss_predicate/synthetic`.
        subject_logits (`torch.FloatTensor` of shape `(B, R, C+1)`): Class of the subject.
        subject_boxes (`torch.FloatTensor` of shape `(B, R, 4)`): Box of the subject.
        object_logits (`torch.FloatTensor` of shape `(B, R, C+1)`): Class of the object.
        object_boxes (`torch.FloatTensor` of shape `(B, R, 4)`): Box of the object.
        predicate_logits (`torch.FloatTensor` of shape `(B, R, P+1)`): The predicate.
        relation_boxes (`torch.FloatTensor` of shape `(B, R, 4)`): Box spanned by the centres of the two boxes.
        auxiliary_outputs (`list[dict[str, torch.FloatTensor]]`, *optional*):
            The same six tensors for each earlier decoder layer, when `config.auxiliary_loss`.
        last_hidden_state (`torch.FloatTensor` of shape `(B, R, D)`): See [`SpeaQModelOutput`].
        decoder_hidden_states (`tuple(torch.FloatTensor)`, *optional*): See [`SpeaQDecoderOutput`].
        decoder_attentions (`tuple(torch.FloatTensor)`, *optional*): See [`SpeaQDecoderOutput`].
        cross_attentions (`tuple(torch.FloatTensor)`, *optional*): See [`SpeaQDecoderOutput`].
        encoder_last_hidden_state (`torch.FloatTensor` of shape `(B, S, D)`): See [`SpeaQModelOutput`].
        encoder_hidden_states (`tuple(torch.FloatTensor)`, *optional*): See [`SpeaQModelOutput`].
        encoder_attentions (`tuple(torch.FloatTensor)`, *optional*): See [`SpeaQModelOutput`].
    """

    loss: Tensor | None = None
    loss_dict: dict[str, Tensor] | None = None
    subject_logits: Tensor | None = None
    subject_boxes: Tensor | None = None
    object_logits: Tensor | None = None
    object_boxes: Tensor | None = None
    predicate_logits: Tensor | None = None
    relation_boxes: Tensor | None = None
    auxiliary_outputs: list[dict[str, Tensor]] | None = None
    last_hidden_state: Tensor | None = None
    decoder_hidden_states: tuple[Tensor, ...] | None = None
    decoder_attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: tuple[Tensor, ...] | None = None


class SpeaQPreTrainedModel(PreTrainedModel):
    """Weight initialisation and the interface for downloading and loading pretrained models."""

    config: SpeaQConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    _no_split_modules = ["SpeaQBackbone", "SpeaQEncoderLayer", "SpeaQDecoderLayer"]
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False
    _supports_sdpa = True
    _supports_attention_backend = True

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load a model, see [`PreTrainedModel.from_pretrained`]; the first backbone stages come back frozen."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        for module in model.modules():
            if isinstance(module, SpeaQBackbone):
                module.freeze_stages()  # loading creates new parameters, all of them trainable
        return loaded

    @torch.no_grad()
    def set_attn_implementation(self, attn_implementation: str | dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """Switch between attention implementations; a backbone without attention stays as it is."""
        if attn_implementation == "sdpa" and not supports_sdpa(self.config.backbone_config):
            attn_implementation = {"": "sdpa", "backbone_config": "eager"}
        super().set_attn_implementation(attn_implementation, *args, **kwargs)

    def _set_gradient_checkpointing(self, enable: bool = True, *args: Any, **kwargs: Any) -> None:
        """Recompute the blocks of the backbone too."""
        if enable:
            for module in self.modules():
                if isinstance(module, SpeaQBackbone):
                    make_blocks_checkpointable(module.model)
        super()._set_gradient_checkpointing(enable, *args, **kwargs)

    def _init_weights(self, module: nn.Module) -> None:
        """Xavier for every matrix; zero for what joins the three decoders, which so start as three plain DETRs."""
        super()._init_weights(module)
        if isinstance(module, SpeaQZeroInitLinear):
            init.zeros_(module.weight)
        elif isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Conv2d):  # the input projection; the backbone has rules of its own
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight)


class SpeaQEncoder(SpeaQPreTrainedModel):
    """Transformer encoder over the cells of the feature map."""

    _can_record_outputs = {"hidden_states": SpeaQEncoderLayer, "attentions": SpeaQAttention}

    def __init__(self, config: SpeaQConfig) -> None:
        super().__init__(config)
        self.layers = nn.ModuleList([SpeaQEncoderLayer(config) for _ in range(config.encoder_layers)])
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self, inputs_embeds: Tensor, positions: Tensor, attention_mask: Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutput:
        """Encode `inputs_embeds` `(B, S, D)` at `positions` `(B, S, D)`; `attention_mask` as for the layers."""
        hidden_states = inputs_embeds
        for layer in self.layers:
            hidden_states = layer(hidden_states, positions, attention_mask)
        return BaseModelOutput(last_hidden_state=hidden_states)


class SpeaQDecoder(SpeaQPreTrainedModel):
    """The three interleaved decoders of Iterative SGG: subject, then object, then relation in every layer."""

    _can_record_outputs = {
        "hidden_states": OutputRecorder(SpeaQDecoderLayer, capture_initial_hidden_state=False),
        "attentions": OutputRecorder(SpeaQAttention, index=1, layer_name="self_attn"),
        "cross_attentions": OutputRecorder(SpeaQAttention, index=1, layer_name="cross_attn"),
    }

    def __init__(self, config: SpeaQConfig) -> None:
        super().__init__(config)
        layers, transitions = range(config.decoder_layers), range(config.decoder_layers - 1)
        self.subject_layers = nn.ModuleList([SpeaQDecoderLayer(config) for _ in layers])
        self.object_layers = nn.ModuleList([SpeaQDecoderLayer(config) for _ in layers])
        self.relation_layers = nn.ModuleList([SpeaQDecoderLayer(config) for _ in layers])
        self.object_positions = nn.ModuleList([SpeaQConditionalPosition(config, num_sources=1) for _ in layers])
        self.relation_positions = nn.ModuleList([SpeaQConditionalPosition(config, num_sources=2) for _ in layers])
        self.subject_refinements = nn.ModuleList([SpeaQTripletRefinement(config) for _ in transitions])
        self.object_refinements = nn.ModuleList([SpeaQTripletRefinement(config) for _ in transitions])
        self.relation_refinements = nn.ModuleList([SpeaQTripletRefinement(config) for _ in transitions])
        self.entity_norm = nn.LayerNorm(config.d_model)  # one norm for subjects and objects
        self.relation_norm = nn.LayerNorm(config.d_model)
        self.image_reader = SpeaQImageReader(config.decoder_layers)
        repeats = config.relation_query_multiplier
        self.triplet_readers = nn.ModuleList([SpeaQTripletReader(repeats) for _ in transitions])
        self.post_init()

    def join_products(self) -> None:
        """Make one product of several, and none of those whose result is known, for inference alone; not where adapters or
        quantization have changed them."""
        attentions = [layer.cross_attn for layers in self.layers_of_streams() for layer in layers]
        if have_plain_memory_projections(attentions):
            self.image_reader = SpeaQProjectedImageReader(attentions)
        for transition, refinements in enumerate(self.refinements_of_streams()):
            attentions = [refinement.attention for refinement in refinements]
            if have_plain_memory_projections(attentions):
                self.triplet_readers[transition] = SpeaQProjectedTripletReader(attentions)
        for module in self.modules():
            if isinstance(module, (SpeaQConditionalPosition, SpeaQTripletRefinement)):
                compose_projections(module)
        for layer in self.layers_of_streams()[0]:
            if is_plain_linear(layer.self_attn.v_proj):  # every stream starts with zeros
                layer.self_attn = SpeaQAttentionToZeros(layer.self_attn)

    def layers_of_streams(self) -> list[tuple[SpeaQDecoderLayer, SpeaQDecoderLayer, SpeaQDecoderLayer]]:
        """For every layer that of the subjects, of the objects and of the relations."""
        return list(zip(self.subject_layers, self.object_layers, self.relation_layers, strict=True))

    def refinements_of_streams(
        self,
    ) -> list[tuple[SpeaQTripletRefinement, SpeaQTripletRefinement, SpeaQTripletRefinement]]:
        """For every layer but the last that of the subjects, of the objects and of the relations."""
        return list(zip(self.subject_refinements, self.object_refinements, self.relation_refinements, strict=True))

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        positions: tuple[Tensor, Tensor, Tensor],
        memory: Tensor,
        memory_positions: Tensor,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> SpeaQDecoderOutput:
        """Decode subjects, objects and relations.

        Args:
            positions: Learned query positions of subject `(B, N, D)`, object `(B, N, D)` and relation `(B, R, D)`.
            memory: Encoder output, `(B, S, D)`.
            memory_positions: Positions of its cells, `(B, S, D)`.
            attention_mask: Hides padding, broadcasts to `(B, 1, T, S)`.
            kwargs: `output_hidden_states`, `output_attentions`.

        Returns:
            The normalised states of every layer.
        """
        images = self.image_reader(memory, memory_positions)
        streams = tuple(torch.zeros_like(position) for position in positions)
        normalised = []
        for layer, image in enumerate(images):
            streams, layer_positions = self._decode_layer(layer, streams, positions, image, attention_mask)
            subject, object_, relation = streams
            normalised.append((self.entity_norm(subject), self.entity_norm(object_), self.relation_norm(relation)))
            if layer < self.config.decoder_layers - 1:
                streams = self._refine(layer, streams, layer_positions)
        states = (torch.stack(layers) for layers in zip(*normalised, strict=True))
        return SpeaQDecoderOutput(*states)

    def _decode_layer(
        self,
        layer: int,
        streams: tuple[Tensor, Tensor, Tensor],
        positions: tuple[Tensor, Tensor, Tensor],
        image: list[tuple[Tensor, Tensor]],
        attention_mask: Tensor | None,
    ) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
        """One layer of each decoder. Object and relation positions start from the learned ones in every layer."""
        subject, object_, relation = streams
        subject_position, object_position, relation_position = positions
        image_of_subject, image_of_object, image_of_relation = image
        subject = self.subject_layers[layer](subject, subject_position, *image_of_subject, attention_mask)
        subject_keys = subject + subject_position
        object_position = self.object_positions[layer](object_position, subject_keys, subject)
        object_ = self.object_layers[layer](object_, object_position, *image_of_object, attention_mask)
        relation_position = self.relation_positions[layer](
            relation_position,
            torch.cat((subject_keys, object_ + object_position), dim=-1),
            torch.cat((subject, object_), dim=-1),
        )
        relation = self.relation_layers[layer](relation, relation_position, *image_of_relation, attention_mask)
        return (subject, object_, relation), (subject_position, object_position, relation_position)

    def _refine(
        self, layer: int, streams: tuple[Tensor, Tensor, Tensor], positions: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Feed all triplets back to each stream."""
        triplets = self.triplet_readers[layer](streams, positions)
        refinements = self.refinements_of_streams()[layer]
        return tuple(
            refinement(stream, position, *keys_and_values)
            for refinement, stream, position, keys_and_values in zip(
                refinements, streams, positions, triplets, strict=True
            )
        )


def _check_pixel_mask(pixel_values: Tensor, pixel_mask: Tensor | None) -> None:
    expected = (pixel_values.shape[0], *pixel_values.shape[-2:])
    if pixel_mask is not None and tuple(pixel_mask.shape) != expected:
        raise ValueError(
            f"`pixel_mask` must have shape (batch, height, width) = {expected} as `pixel_values` of shape "
            f"{tuple(pixel_values.shape)}, got {tuple(pixel_mask.shape)}."
        )


class SpeaQModel(SpeaQPreTrainedModel):
    """Backbone, encoder and the three decoders, without heads."""

    _keys_to_ignore_on_load_unexpected = [r"^(class|predicate|box)_head\."]

    def __init__(self, config: SpeaQConfig) -> None:
        super().__init__(config)
        self.backbone = SpeaQBackbone(config)
        self.input_projection = nn.Conv2d(self.backbone.geometry.channels, config.d_model, kernel_size=1)
        self.encoder = SpeaQEncoder(config)
        self.subject_queries = nn.Embedding(config.num_object_queries, config.d_model)
        self.object_queries = nn.Embedding(config.num_object_queries, config.d_model)
        self.relation_queries = nn.Embedding(config.num_relation_queries, config.d_model)
        self.decoder = SpeaQDecoder(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The layer that makes the transformer's tokens; quantization and adapters ask for it."""
        return self.input_projection

    @can_return_tuple
    def forward(self, pixel_values: Tensor, pixel_mask: Tensor | None = None, **kwargs: Any) -> SpeaQModelOutput:
        """Encode images and decode their relations.

        Args:
            pixel_values: `(B, 3, H, W)`, normalised, zero-padded at the right and bottom.
            pixel_mask: `(B, H, W)`, 1 = image, 0 = padding. All image when missing.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`.

        Returns:
            States of all decoder layers.

        Raises:
            ValueError: When `pixel_mask` does not have the size of the images.
        """
        _check_pixel_mask(pixel_values, pixel_mask)
        features, mask = self.backbone(pixel_values.to(self.dtype), pixel_mask)
        inputs_embeds = self.input_projection(features).flatten(2).transpose(1, 2)
        grid = torch.ones_like(features[:, 0], dtype=torch.bool) if mask is None else mask
        memory_positions = sine_position_embedding(grid, self.config.d_model, inputs_embeds.dtype)
        attention_mask = None if mask is None else mask.flatten(1).long()
        encoder_outputs = self.encoder(
            inputs_embeds,
            memory_positions,
            create_bidirectional_mask(config=self.config, inputs_embeds=inputs_embeds, attention_mask=attention_mask),
            **kwargs,
        )
        memory = encoder_outputs.last_hidden_state
        outputs = self._decode(memory, memory_positions, attention_mask, **kwargs)
        return SpeaQModelOutput(
            last_hidden_state=outputs.relation_states[-1],
            subject_states=outputs.subject_states,
            object_states=outputs.object_states,
            relation_states=outputs.relation_states,
            decoder_hidden_states=outputs.hidden_states,
            decoder_attentions=outputs.attentions,
            cross_attentions=outputs.cross_attentions,
            encoder_last_hidden_state=memory,
            encoder_hidden_states=encoder_outputs.hidden_states,
            encoder_attentions=encoder_outputs.attentions,
        )

    def _decode(
        self, memory: Tensor, memory_positions: Tensor, attention_mask: Tensor | None, **kwargs: Any
    ) -> SpeaQDecoderOutput:
        queries = (self.subject_queries, self.object_queries, self.relation_queries)
        # Looked up rather than read: where weights are offloaded, they are there while their module runs only.
        rows = (torch.arange(query.num_embeddings, device=memory.device) for query in queries)
        positions = tuple(
            query(index).expand(memory.shape[0], -1, -1) for query, index in zip(queries, rows, strict=True)
        )
        mask = attention_mask
        if attention_mask is not None:
            # Padding is the same for every query: one row, which broadcasts over subjects, objects and relations.
            mask = create_bidirectional_mask(
                config=self.config,
                inputs_embeds=positions[0][:, :1],
                attention_mask=attention_mask,
                encoder_hidden_states=memory,
            )
        return self.decoder(positions, memory, memory_positions, mask, **kwargs)


class SpeaQBoxHead(nn.Module):
    """Three-layer network that predicts one box per query."""

    def __init__(self, config: SpeaQConfig) -> None:
        super().__init__()
        dims = (config.d_model, config.d_model, config.d_model, 4)
        self.layers = nn.ModuleList([nn.Linear(i, o) for i, o in zip(dims[:-1], dims[1:], strict=True)])

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Map `(…, D)` to boxes `(…, 4)`, (cx, cy, w, h) in [0, 1]."""
        for layer in self.layers[:-1]:
            hidden_states = layer(hidden_states).relu()
        return at_least_float32(self.layers[-1](hidden_states)).sigmoid()


class SpeaQForSceneGraphGeneration(LabelResizingMixin, SpeaQPreTrainedModel):
    """SpeaQ (or Iterative SGG) with its heads: a set of R (subject, predicate, object) triplets per image.

    Example:

    ```python
    >>> import torch
    >>> from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration

    >>> backbone = {"model_type": "resnet", "depths": [1, 1], "hidden_sizes": [8, 16], "out_features": ["stage2"]}
    >>> config = SpeaQConfig(backbone_config=backbone, d_model=32, encoder_layers=1, decoder_layers=2, num_object_queries=10)
    >>> model = SpeaQForSceneGraphGeneration(config).eval()
    >>> outputs = model(torch.zeros(1, 3, 64, 64))
    >>> outputs.predicate_logits.shape
    torch.Size([1, 20, 51])

    ```
    """

    is_optimized_for_inference = False

    def __init__(self, config: SpeaQConfig) -> None:
        super().__init__(config)
        self.model = SpeaQModel(config)
        self.class_head = nn.Linear(config.d_model, config.num_labels + 1)
        self.predicate_head = nn.Linear(config.d_model, config.num_predicates + 1)
        self.box_head = SpeaQBoxHead(config)  # one for subjects, objects and relations
        self.post_init()

    @property
    def predicts_all_layers(self) -> bool:
        """Whether the heads see every decoder layer, for the auxiliary loss."""
        return self.config.auxiliary_loss and not self.is_optimized_for_inference

    @classmethod
    def from_detr(
        cls,
        detr_or_path: DetrForObjectDetection | str | os.PathLike,
        config: SpeaQConfig | None = None,
        **overrides: Any,
    ) -> "SpeaQForSceneGraphGeneration":
        """Start from a DETR detector, as both papers do: until the first update the model is that detector thrice.

        Args:
            detr_or_path: A detector, or the folder or Hub name of one.
            config: Configuration of the new model; derived from the detector when missing.
            overrides: Fields that replace those of the derived configuration.

        Returns:
            A model with the detector's backbone, projection, encoder and box head, its decoder and queries three
            times, and its classifier's rows for the classes that both know by name.

        Raises:
            OSError: When there is no such detector.
            ValueError: When the sizes in `config` differ from the detector's, both `config` and `overrides` are given, or what
                was saved is another kind of model or lacks weights.
        """
        if config is not None and overrides:
            raise ValueError(f"Pass either `config` or single fields, not both; got fields {sorted(overrides)}.")
        is_model = isinstance(detr_or_path, DetrForObjectDetection)
        detr = detr_or_path if is_model else load_detr(detr_or_path)
        config = config_from_detr(detr, **overrides) if config is None else config
        model = cls(config)
        load_detr_weights(model, convert_detr_weights(detr, config, model.class_head.state_dict()))
        return model

    @torch.inference_mode(False)
    @torch.no_grad()
    def optimize_for_inference(self) -> "SpeaQForSceneGraphGeneration":
        """Make a copy that computes the same predictions faster, for inference alone.

        Batch norms, and of ResNets residual sums, are folded into the convolutions before them, convolutions compute with
        channels last, keys and values of the image are projected for all layers at once and those of triplets before entities
        are repeated, heads see the last layer only, and on a CPU products and activations go through oneDNN. Predictions differ by rounding. The copy is saved as the ordinary model, and can be
        moved, converted (`.to(torch.bfloat16)`) and compiled like it; there are no auxiliary outputs and no loss. Next to
        its weights it holds those of the backbone's convolutions once more, on a CPU twice, as they are computed with.
        Adapters and quantized layers stay as they are.

        Returns:
            The copy, in evaluation mode and without gradients; a model that is optimised already itself.

        Raises:
            ValueError: When parts of the model are offloaded or lie on several devices.
        """
        if self.is_optimized_for_inference:
            return self
        _check_in_one_place(self)
        optimized = copy.deepcopy(self).eval().requires_grad_(False)
        restore_frozen_norms(optimized.model.backbone.model)
        fuse_backbone(optimized.model.backbone.model)
        optimized.model.backbone.to(memory_format=torch.channels_last)
        optimized.model.decoder.join_products()
        for module in list(optimized.modules()):
            if isinstance(module, SpeaQFeedForward):
                module.fuse_activation()
            elif isinstance(module, SpeaQAttention):
                module.may_attend_in_blocks = True
        fuse_linears(optimized)
        optimized.is_optimized_for_inference = True
        for module in (optimized, optimized.model):
            module.register_load_state_dict_pre_hook(_refuse_weights)
        return optimized

    def train(self, mode: bool = True) -> "SpeaQForSceneGraphGeneration":
        """Switch to training or, with `mode=False`, to evaluation.

        Raises:
            ValueError: When the model is optimised for inference.
        """
        if mode and self.is_optimized_for_inference:
            raise ValueError("A model that is optimised for inference cannot be trained: train the ordinary model.")
        return super().train(mode)

    def optimize_for_training(self) -> "SpeaQForSceneGraphGeneration":
        """Make this model train faster, with the same losses and gradients but for rounding.

        The backbone's frozen batch norms become part of the convolutions before them, which compute with channels last.
        Parameters stay the same ones under the same names, so that optimizers, checkpoints and saved models do not notice.

        Returns:
            The model itself.

        Raises:
            ValueError: When the model is optimised for inference.
        """
        if self.is_optimized_for_inference:
            raise ValueError("A model that is optimised for inference cannot be trained: train the ordinary model.")
        fold_frozen_norms(self.model.backbone.model)
        return self

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        pixel_mask: Tensor | None = None,
        labels: list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> SpeaQSceneGraphOutput:
        """Predict triplets and, with `labels`, the loss.

        Args:
            pixel_values: `(B, 3, H, W)`, normalised, zero-padded at the right and bottom.
            pixel_mask: `(B, H, W)`, 1 = image, 0 = padding. All image when missing.
            labels: One dict per image: `class_labels` `(n,)`, `boxes` `(n, 4)` (cx, cy, w, h) in [0, 1] of the
                un-padded image, `relations` `(r, 3)` rows (subject index, object index, predicate) and optionally
                `loss_weight`, a number ≥ 0 (default 1, also for `None`). n and r may be 0.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`.

        Returns:
            Predictions of the last layer, of the earlier ones, and the loss.

        Raises:
            ValueError: When `pixel_mask` does not have the size of the images, or `labels` do not fit the images or the
                vocabularies, or are given to a model that is optimised for inference.
            TypeError: When `labels` hold something else than dicts, or floats where integers belong.
        """
        if labels is not None and self.is_optimized_for_inference:
            raise ValueError("`labels` need the ordinary model: this one is optimised for inference and has no loss.")
        outputs = self.model(pixel_values, pixel_mask, **kwargs)
        layers = self.predict_layers(outputs)
        loss, loss_dict = None, None
        if labels is not None:
            criterion = SpeaQCriterion.from_config(self.config)
            loss, loss_dict = criterion(layers if self.config.auxiliary_loss else layers[-1:], labels)
        return SpeaQSceneGraphOutput(
            loss=loss,
            loss_dict=loss_dict,
            **layers[-1],
            auxiliary_outputs=layers[:-1] if self.predicts_all_layers else None,
            last_hidden_state=outputs.last_hidden_state,
            decoder_hidden_states=outputs.decoder_hidden_states,
            decoder_attentions=outputs.decoder_attentions,
            cross_attentions=outputs.cross_attentions,
            encoder_last_hidden_state=outputs.encoder_last_hidden_state,
            encoder_hidden_states=outputs.encoder_hidden_states,
            encoder_attentions=outputs.encoder_attentions,
        )

    def predict_layers(self, outputs: SpeaQModelOutput) -> list[dict[str, Tensor]]:
        """Apply the heads to every layer (only to the last one without `predicts_all_layers`), earliest first.

        A model with other heads overrides this; loss and post-processing follow.

        Args:
            outputs: Of the base model.

        Returns:
            For each layer the six predictions named in [`SpeaQSceneGraphOutput`], the last layer last.
        """
        last = slice(None) if self.predicts_all_layers else slice(-1, None)
        repeat = self.config.relation_query_multiplier
        predictions = {}
        for name, states in (("subject", outputs.subject_states), ("object", outputs.object_states)):
            predictions[f"{name}_logits"] = self.class_head(states[last]).repeat_interleave(repeat, dim=2)
            predictions[f"{name}_boxes"] = self.box_head(states[last]).repeat_interleave(repeat, dim=2)
        predictions["predicate_logits"] = self.predicate_head(outputs.relation_states[last])
        predictions["relation_boxes"] = self.box_head(outputs.relation_states[last])
        # Unbound rather than indexed: the gradient of each index would be as large as that of all layers.
        layers = zip(*(values.unbind() for values in predictions.values()), strict=True)
        return [dict(zip(predictions, layer, strict=True)) for layer in layers]


def _refuse_weights(model: nn.Module, *args: Any) -> None:
    raise ValueError(
        "This model is optimised for inference: what it computes with was derived from its weights. Load others into the "
        "ordinary model, and optimise that again."
    )


def _check_in_one_place(model: nn.Module) -> None:
    if any(hasattr(module, "_hf_hook") for module in model.modules()) or any(p.is_meta for p in model.parameters()):
        raise ValueError(
            "Only a model that is in one place can be optimised for inference; parts of this one are offloaded or dispatched. "
            "Load it without `device_map`."
        )


__all__ = [
    "SpeaQDecoderOutput",
    "SpeaQForSceneGraphGeneration",
    "SpeaQModel",
    "SpeaQModelOutput",
    "SpeaQPreTrainedModel",
    "SpeaQSceneGraphOutput",
]
