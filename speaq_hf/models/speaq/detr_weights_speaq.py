# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Starting a scene graph model from a DETR detector, as the SpeaQ and Iterative SGG papers start training."""

import os
import re
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from transformers import DetrConfig, DetrForObjectDetection
from transformers.utils import logging

from .configuration_speaq import SpeaQConfig
from .label_resizing_speaq import match_rows, move_rows


logger = logging.get_logger(__name__)

# What a detector and the model that starts from it have in common, apart from backbone, queries and classes.
SHARED_FIELDS = ("d_model", "encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads")
SHARED_FIELDS += ("encoder_ffn_dim", "decoder_ffn_dim", "dropout", "attention_dropout", "activation_dropout")
SHARED_FIELDS += ("activation_function",)
_STREAMS = ("subject", "object", "relation")

# What a detector does not have: the joints of the three decoders and the predicates.
_NEW_PARTS = ("_positions.", "_refinements.", "predicate_head.")

_RENAMES = (
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.encoder_attn_layer_norm\.", ".cross_attn_norm."),
    (r"\.self_attn_layer_norm\.", ".self_attn_norm."),
    (r"\.final_layer_norm\.", ".mlp_norm."),
    (r"\.o_proj\.", ".out_proj."),
    (r"^bbox_predictor\.", "box_head."),
)


def load_detr(path: str | os.PathLike) -> DetrForObjectDetection:
    """A saved detector with all its weights. Only the classifier may be missing: its rows would be taken over by name.

    Raises:
        OSError: There is no such model.
        ValueError: It is another kind of model, or weights are missing or have other sizes.
    """
    detr, found = DetrForObjectDetection.from_pretrained(
        path, config=load_detr_config(path), ignore_mismatched_sizes=True, output_loading_info=True
    )
    classifier = {name for name in found["missing_keys"] if name.startswith("class_labels_classifier.")}
    names = sorted((found["missing_keys"] - classifier) | {name for name, *_ in found["mismatched_keys"]})
    if names:
        raise ValueError(
            f"{path} is not a whole DETR detector: {len(names)} weights are missing or have other sizes than its "
            f"configuration says, e.g. {', '.join(names[:3])}."
        )
    if classifier:
        logger.warning(f"{path} has no classifier: all object classes start from random numbers.")
    return detr


def load_detr_config(path: str | os.PathLike) -> DetrConfig:
    """The configuration of a saved detector.

    Raises:
        OSError: There is no such model.
        ValueError: It is another kind of model, of which `DetrConfig` would be made all the same.
    """
    model_type = DetrConfig.get_config_dict(path)[0].get("model_type")
    if model_type != DetrConfig.model_type:
        raise ValueError(
            f"{path} is a model of type {model_type!r}, expected a DETR detector ({DetrConfig.model_type!r})."
        )
    return DetrConfig.from_pretrained(path)


def config_from_detr(detr: DetrForObjectDetection, **overrides: Any) -> SpeaQConfig:
    """Configuration of the scene graph model that fits a detector: its sizes, backbone and object classes.

    Args:
        detr: The detector.
        overrides: Any field of [`SpeaQConfig`].
    """
    return SpeaQConfig(**(fields_from_detr(detr.config) | overrides))


def fields_from_detr(config: DetrConfig) -> dict[str, Any]:
    """Fields of [`SpeaQConfig`] that a detector determines: its sizes, backbone and object classes."""
    fields = {name: getattr(config, name) for name in SHARED_FIELDS}
    return fields | {
        "backbone_config": config.backbone_config.to_dict(),
        "num_object_queries": config.num_queries,
        "id2label": config.id2label,
    }


def convert_detr_weights(
    detr: DetrForObjectDetection, config: SpeaQConfig, class_head: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Weights of a detector under the names of the scene graph model.

    Backbone, projection, encoder and box head are taken over; the decoder, its norm and its queries serve subjects,
    objects and relations alike, a subject's query all its relation queries. The rows of the class head move by class
    name; classes the detector does not know keep what `class_head` has.

    Args:
        detr: The detector.
        config: Configuration of the scene graph model.
        class_head: `weight` `(C+1, D)` and `bias` `(C+1,)` for classes that the detector does not know.

    Returns:
        A state dict without the parts that join the three decoders and without the predicate head.

    Raises:
        ValueError: When sizes differ; the message names the fields.
    """
    _check_sizes(detr, config)
    converted = {}
    is_timm = config.backbone_config.model_type == "timm_backbone"
    for name, tensor in detr.state_dict().items():
        for new_name in _new_names(name, is_timm):
            converted[new_name] = tensor.detach().clone()
    repeats = config.relation_query_multiplier
    converted["model.relation_queries.weight"] = converted["model.relation_queries.weight"].repeat_interleave(
        repeats, dim=0
    )
    return converted | dict(_convert_class_head(detr, config, class_head))


def load_detr_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load converted weights into a new scene graph model.

    Raises:
        ValueError: When the backbone of the detector is another one; nothing else can differ after conversion.
    """
    expected = model.state_dict()
    missing = [name for name in expected.keys() - weights.keys() if not any(part in name for part in _NEW_PARTS)]
    wrong = [name for name in expected.keys() & weights.keys() if expected[name].shape != weights[name].shape]
    unexpected = weights.keys() - expected.keys()
    # Detectors have frozen batch norms, which do not count batches.
    names = sorted(name for name in {*missing, *wrong, *unexpected} if not name.endswith("num_batches_tracked"))
    if names:
        raise ValueError(
            f"`backbone_config` does not fit the detector's backbone; {len(names)} tensors differ: {names[:5]}."
        )
    model.load_state_dict(weights, strict=False)


def _check_sizes(detr: DetrForObjectDetection, config: SpeaQConfig) -> None:
    names = [name for name in SHARED_FIELDS if not name.endswith(("dropout", "function"))]
    pairs = {name: (getattr(config, name), getattr(detr.config, name)) for name in names}
    pairs["num_object_queries"] = (config.num_object_queries, detr.config.num_queries)
    wrong = [
        f"`{name}` is {ours} but the detector has {theirs}" for name, (ours, theirs) in pairs.items() if ours != theirs
    ]
    if config.backbone_config.model_type != detr.config.backbone_config.model_type:
        types = config.backbone_config.model_type, detr.config.backbone_config.model_type
        wrong.append(f"`backbone_config` is a {types[0]} but the detector has a {types[1]}")
    if wrong:
        raise ValueError(f"The configuration does not fit the detector: {'; '.join(wrong)}.")


def _new_names(name: str, is_timm: bool) -> Iterator[str]:
    if name.startswith("class_labels_classifier.") or name.endswith("num_batches_tracked"):
        return
    if name.startswith("model.backbone."):
        # A detector keeps the network of timm without the backbone of transformers around it.
        yield name.replace("model.backbone.model.", "model.backbone.model._backbone.", 1) if is_timm else name
        return
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    if name == "model.query_position_embeddings.weight":
        yield from (f"model.{stream}_queries.weight" for stream in _STREAMS)
    elif name.startswith("model.decoder.layernorm."):
        yield from (name.replace("layernorm", norm) for norm in ("entity_norm", "relation_norm"))
    elif name.startswith("model.decoder.layers."):
        yield from (name.replace("decoder.layers", f"decoder.{stream}_layers") for stream in _STREAMS)
    else:
        yield name


def _convert_class_head(
    detr: DetrForObjectDetection, config: SpeaQConfig, class_head: dict[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    rows = match_rows(detr.config.id2label, config.id2label)
    known = {ours for ours, _ in rows}
    new = [name for row, name in config.id2label.items() if row not in known]
    if new:
        logger.warning(
            f"The detector does not know {len(new)} of {config.num_labels} object classes, e.g. {', '.join(new[:3])}: they "
            "start from random numbers."
        )
    for name, tensor in detr.class_labels_classifier.state_dict().items():
        yield f"class_head.{name}", move_rows(tensor, class_head[name], rows)
