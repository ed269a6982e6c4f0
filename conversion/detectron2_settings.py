# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Settings: from the Detectron2 configuration of SpeaQ and Iterative SGG to `SpeaQConfig` and the image processor."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor

from speaq_hf import SpeaQConfig


Settings = dict[str, Any]

# What the original programs assume for a key that is absent.
_DEFAULTS: Settings = {
    "MODEL.DETR.NHEADS": 8,
    "MODEL.DETR.DROPOUT": 0.1,
    "MODEL.DETR.PRE_NORM": False,
    "MODEL.DETR.DEEP_SUPERVISION": True,
    "MODEL.DETR.MATCHER": "IterativeHungarianMatcher",
    "MODEL.DETR.ONE2MANY_SCHEME": "static",
    "MODEL.DETR.ONE2MANY_DYNAMIC_SCHEME": "min",
    "MODEL.DETR.ONE2MANY_K": 1,
    "MODEL.DETR.ONE2MANY_PREDICATE_SCORE": False,
    "MODEL.DETR.ONE2MANY_PREDICATE_WEIGHT": 1.0,
    "MODEL.DETR.MATCH_INDEPENDENT": False,
    "MODEL.DETR.USE_GROUP_MASK": False,
    "MODEL.DETR.NUM_GROUPS": 5,
    "MODEL.DETR.COST_CLASS": 1.0,
    "MODEL.DETR.L1_WEIGHT": 5.0,
    "MODEL.DETR.GIOU_WEIGHT": 2.0,
    "MODEL.DETR.RELATION_LOSS_WEIGHT": 1.0,
    "MODEL.DETR.NO_OBJECT_WEIGHT": 0.1,
    "MODEL.DETR.REWEIGHT_RELATIONS": False,
    "MODEL.DETR.REWEIGHT_REL_EOS_COEF": 0.1,
    "MODEL.DETR.OVERSAMPLE_PARAM": 0.07,
    "MODEL.DETR.UNDERSAMPLE_PARAM": 1.5,
    "MODEL.RESNETS.NUM_GROUPS": 1,
    "MODEL.RESNETS.RES5_DILATION": 1,
    "MODEL.RESNETS.STRIDE_IN_1X1": True,
    "MODEL.BACKBONE.FREEZE_AT": 2,
    "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
    "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
    "INPUT.FORMAT": "RGB",
    "INPUT.MIN_SIZE_TEST": 800,
    "INPUT.MAX_SIZE_TEST": 1333,
}
_TYPE_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    list: "a list of three finite numbers",
}
_QUALITIES = {"max": "max", "min": "min", "gm": "geometric_mean", "am": "mean"}
# The network and its losses cannot represent other values of these.
_CHOICES: dict[str, tuple[Any, ...]] = {
    "MODEL.DETR.PRE_NORM": (False,),
    "MODEL.DETR.MATCHER": ("IterativeHungarianMatcher", "SpeaQHungarianMatcher"),
    "MODEL.DETR.ONE2MANY_SCHEME": ("static", "dynamic"),
    "MODEL.DETR.ONE2MANY_DYNAMIC_SCHEME": tuple(_QUALITIES),
    "MODEL.RESNETS.NUM_GROUPS": (1,),
    "MODEL.RESNETS.RES5_DILATION": (1,),
    "INPUT.FORMAT": ("RGB", "BGR"),
}
_POSITIVE = ("MODEL.DETR.NHEADS", "INPUT.MIN_SIZE_TEST", "INPUT.MAX_SIZE_TEST")
# Sizes that the tensors tell; the settings, where they name them, must agree.
_SIZES = {
    "MODEL.DETR.HIDDEN_DIM": "d_model",
    "MODEL.DETR.ENC_LAYERS": "encoder_layers",
    "MODEL.DETR.DEC_LAYERS": "decoder_layers",
    "MODEL.DETR.DIM_FEEDFORWARD": "encoder_ffn_dim",
    "MODEL.DETR.NUM_OBJECT_QUERIES": "num_object_queries",
    "MODEL.DETR.MULTIPLY_QUERY": "relation_query_multiplier",
    "MODEL.DETR.NUM_CLASSES": "num_labels",
    "MODEL.DETR.NUM_RELATION_CLASSES": "num_predicates",
}
_RESNET_DEPTHS = {"50": [3, 4, 6, 3], "101": [3, 4, 23, 3], "152": [3, 8, 36, 3]}
_TRANSFORMER = "detr.transformer."


def read_settings(path: Path) -> Settings:
    """Read settings as dotted keys.

    Args:
        path: JSON of dotted keys, or YAML of nested or dotted keys.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When it cannot be read, is no mapping, builds on another file (`_BASE_`), or has no `MODEL.DETR` keys.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no settings file {path}.")
    read = json.loads if path.suffix == ".json" else yaml.safe_load
    try:
        settings = read(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read as {path.suffix or 'YAML'}: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} must hold a mapping of settings, got {type(settings).__name__}.")
    if "_BASE_" in settings:
        raise ValueError(f"{path} builds on {settings['_BASE_']!r} (`_BASE_`): merge that file's keys into it.")
    settings = dict(_flatten(settings))
    if not any(key.startswith("MODEL.DETR.") for key in settings):
        raise ValueError(f"{path} has no MODEL.DETR keys: these are not the settings of SpeaQ or Iterative SGG.")
    return settings


def _flatten(settings: Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def assumed_settings(settings: Settings) -> Settings:
    """The defaults that [`complete_settings`] adds."""
    return {key: value for key, value in _DEFAULTS.items() if key not in settings}


def complete_settings(settings: Settings) -> Settings:
    """Add what the original programs assume for absent keys, and check the value of every key that is used.

    Args:
        settings: Dotted keys, as [`read_settings`] returns them.

    Raises:
        ValueError: When a value has a wrong type or is none that can be converted.
    """
    settings = _DEFAULTS | settings
    for key, default in _DEFAULTS.items():
        if not _is_like(settings[key], default):
            raise ValueError(f"{key} must be {_TYPE_NAMES[type(default)]}, got {settings[key]!r}.")
    for key, choices in _CHOICES.items():
        if settings[key] not in choices:
            raise ValueError(f"{key} must be {' or '.join(map(repr, choices))}, got {settings[key]!r}.")
    for key in _POSITIVE:
        if settings[key] < 1:
            raise ValueError(f"{key} must be at least 1, got {settings[key]}.")
    if min(settings["MODEL.PIXEL_STD"]) <= 0:
        raise ValueError(f"MODEL.PIXEL_STD must be positive, got {settings['MODEL.PIXEL_STD']}.")
    return settings


def _is_like(value: Any, default: Any) -> bool:
    if isinstance(default, list):
        return isinstance(value, list) and len(value) == len(default) and all(_is_like(x, 0.0) for x in value)
    if isinstance(default, float):
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is type(default)


def build_config(settings: Settings, tensors: dict[str, Tensor], **vocabularies: Any) -> SpeaQConfig:
    """Join what the tensors tell (sizes) with what only the settings know (assignment, costs, heads).

    Args:
        settings: Dotted keys, as [`complete_settings`] returns them.
        tensors: The original state dict.
        vocabularies: `id2label`, `id2predicate`, where they are not VG150's.

    Raises:
        ValueError: When settings and tensors disagree or describe a network this package does not have.
    """
    sizes = _sizes(tensors)
    for key, name in _SIZES.items():
        if key in settings and settings[key] != sizes[name]:
            raise ValueError(
                f"{key} is {settings[key]} in the settings, but the checkpoint's tensors say {sizes[name]}. Options on "
                "the command line of the original training count as settings too."
            )
    fields = sizes | _loss_fields(settings) | _assignment_fields(settings)
    fields |= {"backbone_config": _backbone(settings, tensors), "freeze_backbone_stages": _freeze(settings)}
    fields |= dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), settings["MODEL.DETR.DROPOUT"])
    if "criterion.empty_rel_weight" in tensors:
        fields["predicate_class_weights"] = tensors["criterion.empty_rel_weight"].tolist()
    num_labels, num_predicates = fields.pop("num_labels"), fields.pop("num_predicates")
    try:
        return SpeaQConfig(**fields, **_vocabularies(num_labels, num_predicates, **vocabularies))
    except StrictDataclassError as error:
        raise ValueError(f"The settings do not make a configuration: {' '.join(str(error).split())}") from error


def _sizes(tensors: dict[str, Tensor]) -> dict[str, int]:
    subject_queries, d_model = _shape(tensors, "detr.query_embed.weight")
    relation_queries, _ = _shape(tensors, "detr.relation_query_embed.weight")
    return {
        "d_model": d_model,
        "encoder_layers": _count_layers(tensors, f"{_TRANSFORMER}encoder.layers."),
        "decoder_layers": _count_layers(tensors, f"{_TRANSFORMER}decoder.subject_layers."),
        "encoder_ffn_dim": _shape(tensors, f"{_TRANSFORMER}encoder.layers.0.linear1.weight")[0],
        "decoder_ffn_dim": _shape(tensors, f"{_TRANSFORMER}decoder.subject_layers.0.linear1.weight")[0],
        "num_object_queries": subject_queries,
        "relation_query_multiplier": relation_queries // subject_queries,
        "num_labels": _shape(tensors, f"{_TRANSFORMER}object_embed.weight")[0] - 1,
        "num_predicates": _shape(tensors, f"{_TRANSFORMER}relation_embed.weight")[0] - 1,
    }


def _shape(tensors: dict[str, Tensor], name: str, ndim: int = 2) -> tuple[int, ...]:
    if name not in tensors:
        raise ValueError(
            f"The checkpoint has no tensor {name}: it is not a SpeaQ or Iterative SGG checkpoint of the Detectron2 "
            "program."
        )
    shape = tuple(tensors[name].shape)
    if len(shape) != ndim or 0 in shape:
        raise ValueError(f"The checkpoint's {name} must have {ndim} dimensions and values, got shape {shape}.")
    return shape


def _count_layers(tensors: dict[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})


def _loss_fields(settings: Settings) -> dict[str, Any]:
    detr = {key.removeprefix("MODEL.DETR."): value for key, value in settings.items()}
    reweight = detr["REWEIGHT_RELATIONS"]
    return {
        "encoder_attention_heads": detr["NHEADS"],
        "decoder_attention_heads": detr["NHEADS"],
        "auxiliary_loss": detr["DEEP_SUPERVISION"],
        "class_cost": detr["COST_CLASS"],
        "bbox_cost": detr["L1_WEIGHT"],
        "giou_cost": detr["GIOU_WEIGHT"],
        "bbox_loss_coefficient": detr["L1_WEIGHT"],
        "giou_loss_coefficient": detr["GIOU_WEIGHT"],
        "predicate_loss_coefficient": detr["RELATION_LOSS_WEIGHT"],
        "eos_coefficient": detr["NO_OBJECT_WEIGHT"],
        "predicate_eos_coefficient": detr["REWEIGHT_REL_EOS_COEF"],
        "predicate_reweight_alpha": detr["OVERSAMPLE_PARAM"] if reweight else 0.0,
        "predicate_reweight_beta": detr["UNDERSAMPLE_PARAM"] / 2 if reweight else 0.0,
    }


def _assignment_fields(settings: Settings) -> dict[str, Any]:
    detr = {key.removeprefix("MODEL.DETR."): value for key, value in settings.items()}
    if detr["MATCHER"] != "SpeaQHungarianMatcher":
        return {"assignment": "one_to_one", "match_per_layer": False, "num_query_groups": 1}
    one_to_one = detr["ONE2MANY_SCHEME"] == "static" and detr["ONE2MANY_K"] == 1
    return {
        "assignment": "one_to_one" if one_to_one else detr["ONE2MANY_SCHEME"],
        "assignment_topk": detr["ONE2MANY_K"],
        "assignment_quality": _QUALITIES[detr["ONE2MANY_DYNAMIC_SCHEME"]],
        "assignment_predicate_weight": (
            detr["ONE2MANY_PREDICATE_WEIGHT"] if detr["ONE2MANY_PREDICATE_SCORE"] else None
        ),
        "match_per_layer": detr["MATCH_INDEPENDENT"],
        "num_query_groups": detr["NUM_GROUPS"] if detr["USE_GROUP_MASK"] else 1,
    }


def _backbone(settings: Settings, tensors: dict[str, Tensor]) -> dict[str, Any]:
    prefix = "detr.backbone.0.backbone."
    depths = [_count_layers(tensors, f"{prefix}res{stage}.") for stage in range(2, 6)]
    depth = str(settings.get("MODEL.RESNETS.DEPTH", ""))
    if depth and _RESNET_DEPTHS.get(depth) != depths:
        raise ValueError(f"MODEL.RESNETS.DEPTH is {depth}, but the checkpoint's stages have {depths} blocks.")
    return {
        "model_type": "resnet",
        "depths": depths,
        "layer_type": "bottleneck",
        "embedding_size": _shape(tensors, f"{prefix}stem.conv1.weight", 4)[0],
        "hidden_sizes": [_shape(tensors, f"{prefix}res{stage}.0.shortcut.weight", 4)[0] for stage in range(2, 6)],
        "downsample_in_bottleneck": settings["MODEL.RESNETS.STRIDE_IN_1X1"],
        "out_features": ["stage4"],
    }


def _freeze(settings: Settings) -> int:
    return settings["MODEL.BACKBONE.FREEZE_AT"]


def _vocabularies(num_labels: int, num_predicates: int, **given: dict[int, str] | None) -> dict[str, dict[int, str]]:
    """The given names where there are some, VG150's where the sizes fit, else numbered ones."""
    sizes, default = {"id2label": num_labels, "id2predicate": num_predicates}, SpeaQConfig()
    vocabularies = {}
    for name, size in sizes.items():
        names = given.get(name) or getattr(default, name)
        if given.get(name) and len(names) != size:
            raise ValueError(f"The checkpoint knows {size} classes for `{name}`, but {len(names)} names were given.")
        prefix = "LABEL" if name == "id2label" else "PREDICATE"
        vocabularies[name] = names if len(names) == size else {i: f"{prefix}_{i}" for i in range(size)}
    return vocabularies


def processor_fields(settings: Settings) -> dict[str, Any]:
    """Arguments of the image processor that feeds pixels as the original program did, from complete settings."""
    mean, std = ([value / 255 for value in settings[f"MODEL.PIXEL_{name}"]] for name in ("MEAN", "STD"))
    if not is_rgb(settings):  # the stem is turned round instead, so that the processor stays an ordinary RGB one
        mean, std = mean[::-1], std[::-1]
    size = {"shortest_edge": settings["INPUT.MIN_SIZE_TEST"], "longest_edge": settings["INPUT.MAX_SIZE_TEST"]}
    return {"image_mean": mean, "image_std": std, "size": size}


def is_rgb(settings: Settings) -> bool:
    """Whether the network was trained on RGB rather than BGR images."""
    return settings["INPUT.FORMAT"] == "RGB"
