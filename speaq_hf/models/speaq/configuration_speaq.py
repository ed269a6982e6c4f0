# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Configuration of SpeaQ (arXiv 2403.17709) and of its baseline Iterative SGG (NeurIPS 2022)."""

import math
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.activations import ACT2FN
from transformers.configuration_utils import SubConfigSpec

from .remote_code_speaq import add_entries, copy_model_code, drop_model_entries, model_entries
from .vg150 import VG150_OBJECTS, VG150_PREDICATE_COUNTS, VG150_PREDICATES


# Fields that follow from a vocabulary: saved values do not outlive it.
_OBJECT_FIELDS = ("object_counts", "zero_shot_triplets")
_PREDICATE_FIELDS = ("group_predicate_counts", "predicate_counts", "predicate_class_weights", "zero_shot_triplets")
_DESCRIBED_BY = {
    "id2label": ("label2id", *_OBJECT_FIELDS),
    "label2id": ("id2label", *_OBJECT_FIELDS),
    "num_labels": ("id2label", "label2id", *_OBJECT_FIELDS),
    "id2predicate": ("predicate2id", *_PREDICATE_FIELDS),
    "predicate2id": ("id2predicate", *_PREDICATE_FIELDS),
}
# All that describes the vocabularies or follows from them.
VOCABULARY_FIELDS = ("id2label", "label2id", "id2predicate", "predicate2id")
VOCABULARY_FIELDS += tuple(dict.fromkeys((*_OBJECT_FIELDS, *_PREDICATE_FIELDS)))
_INVERSES = {"id2label": "label2id", "id2predicate": "predicate2id"}
# Above this, float32 cannot be trusted with sums of class weights.
_LARGEST_CLASS_WEIGHT = 1e30


@strict
class SpeaQConfig(PreTrainedConfig):
    r"""
    Configuration of [`SpeaQModel`] and [`SpeaQForSceneGraphGeneration`]. The defaults are the published SpeaQ on VG150
    with a ResNet-101; [`SpeaQConfig.iterative_sgg`] gives the published baseline, Iterative SGG.

    Args:
        backbone_config (`PreTrainedConfig` or `dict`, *optional*):
            Any backbone `AutoBackbone` can build; its last feature map is used. Defaults to ResNet-101, and fields
            without a `model_type` change that one.
        freeze_backbone_stages (`int`, *optional*, defaults to 2):
            How many of the backbone's first stages are not trained; the stem counts as one.
        freeze_batch_norm (`bool`, *optional*, defaults to `True`):
            Whether the backbone's batch norms keep their statistics and affine parameters. Set it to `False` only to
            train a backbone from random weights.
        d_model (`int`, *optional*, defaults to 256): Width of the transformer.
        encoder_layers (`int`, *optional*, defaults to 6): Number of encoder layers.
        decoder_layers (`int`, *optional*, defaults to 6): Layers L of each of the three decoders.
        encoder_attention_heads (`int`, *optional*, defaults to 8): Attention heads in the encoder.
        decoder_attention_heads (`int`, *optional*, defaults to 8): Attention heads in the decoders.
        encoder_ffn_dim (`int`, *optional*, defaults to 2048): Width of the encoder's feed-forward layers.
        decoder_ffn_dim (`int`, *optional*, defaults to 2048): Width of the decoders' feed-forward layers.
        dropout (`float`, *optional*, defaults to 0.1): Dropout on every residual branch.
        attention_dropout (`float`, *optional*, defaults to 0.1): Dropout on attention probabilities.
        activation_dropout (`float`, *optional*, defaults to 0.1): Dropout inside feed-forward layers.
        activation_function (`str`, *optional*, defaults to `"relu"`): Activation of the feed-forward layers.
        num_object_queries (`int`, *optional*, defaults to 300): Subject queries and object queries, N each.
        relation_query_multiplier (`int`, *optional*, defaults to 2):
            Relation queries per subject query, m; there are R = m·N relation queries.
        id2predicate (`dict[int, str]`, *optional*): Predicate names, 0-based. Defaults to VG150's 50 predicates.
        predicate2id (`dict[str, int]`, *optional*):
            The inverse of `id2predicate`, of which one suffices; `label2id` likewise that of `id2label`.
        assignment (`"one_to_one"`, `"static"` or `"dynamic"`, *optional*, defaults to `"dynamic"`):
            Relation queries per target: one, `assignment_topk`, or as many as the quality of the predictions earns
            (Quality-Aware Multi-Assignment, SpeaQ section 3.3).
        assignment_topk (`int`, *optional*, defaults to 4): Copies of a target, or their upper bound.
        assignment_quality (`"max"`, `"min"`, `"geometric_mean"` or `"mean"`, *optional*, defaults to `"max"`):
            How the IoUs of subject and object become one quality.
        assignment_predicate_weight (`float`, *optional*, defaults to -0.5):
            Weight of the target predicate's probability in the quality; `None` leaves it out.
        match_per_layer (`bool`, *optional*, defaults to `True`):
            Whether every decoder layer is matched on its own or one matching on the summed costs serves all.
        num_query_groups (`int`, *optional*, defaults to 4):
            Groups of Groupwise Query Specialization (SpeaQ section 3.2); 1 switches it off.
        group_predicate_counts (`list`, *optional*):
            Frequency of each predicate from which the groups are cut. Defaults to VG's raw counts for VG150's
            predicates, else to `predicate_counts`.
        predicate_counts (`list`, *optional*):
            Training frequency of each predicate, for the class weights of the predicate loss. `None` weighs all alike.
        object_counts (`list`, *optional*):
            Training frequency of each object class. Describes the training data; the model does not use it.
        zero_shot_triplets (`list`, *optional*):
            Rows (subject class, object class, predicate) that the test images show and the training images do not, for
            zero-shot recall. Describes the training data; the model does not use it.
        predicate_class_weights (`list`, *optional*):
            Explicit class weights, background last (P+1); they win over `predicate_counts`.
        predicate_reweight_alpha (`float`, *optional*, defaults to 0.07): α of the class weights, see `loss_speaq.py`.
        predicate_reweight_beta (`float`, *optional*, defaults to 0.75): β of the class weights.
        class_cost (`float`, *optional*, defaults to 1): Weight of the class probabilities in the matching cost.
        bbox_cost (`float`, *optional*, defaults to 5): Weight of the L1 distances in the matching cost.
        giou_cost (`float`, *optional*, defaults to 2): Weight of the generalized IoUs in the matching cost.
        class_loss_coefficient (`float`, *optional*, defaults to 1): Weight of the subject and object class losses.
        bbox_loss_coefficient (`float`, *optional*, defaults to 5): Weight of the L1 box losses.
        giou_loss_coefficient (`float`, *optional*, defaults to 2): Weight of the generalized IoU losses.
        predicate_loss_coefficient (`float`, *optional*, defaults to 1): Weight of the predicate loss.
        eos_coefficient (`float`, *optional*, defaults to 0.1): Class weight of "no object".
        predicate_eos_coefficient (`float`, *optional*, defaults to 0.1): Class weight of "no relation".
        auxiliary_loss (`bool`, *optional*, defaults to `True`): Whether the earlier decoder layers are trained too.
        loss_weight_scope (`"all"` or `"relation_matched"`, *optional*, defaults to `"all"`):
            What an example's `loss_weight` scales: every loss term, or (as the published code for mixed training
            does) only the relation terms of matched queries, with that code's class weights.

    Raises:
        ValueError: When fields contradict each other; the message names them.

    Example:

    ```python
    >>> from speaq_hf import SpeaQConfig

    >>> config = SpeaQConfig(num_object_queries=100)
    >>> config.num_relation_queries, config.num_predicates
    (200, 50)
    >>> SpeaQConfig.iterative_sgg().assignment
    'one_to_one'

    ```
    """

    model_type = "speaq"
    sub_configs_defaults = {
        "backbone_config": SubConfigSpec(
            config_class=AutoConfig,
            model_type="resnet",
            init_kwargs={"depths": [3, 4, 23, 3], "out_features": ["stage4"]},
        )
    }
    attribute_map = {
        "hidden_size": "d_model",
        "num_hidden_layers": "encoder_layers",
        "num_attention_heads": "encoder_attention_heads",
    }

    backbone_config: dict[str, Any] | PreTrainedConfig | None = None
    freeze_backbone_stages: int = 2
    freeze_batch_norm: bool = True
    d_model: int = 256
    encoder_layers: int = 6
    decoder_layers: int = 6
    encoder_attention_heads: int = 8
    decoder_attention_heads: int = 8
    encoder_ffn_dim: int = 2048
    decoder_ffn_dim: int = 2048
    dropout: float | int = 0.1
    attention_dropout: float | int = 0.1
    activation_dropout: float | int = 0.1
    activation_function: str = "relu"
    num_object_queries: int = 300
    relation_query_multiplier: int = 2
    id2predicate: dict[int, str] | dict[str, str] | None = None
    predicate2id: dict[str, int] | None = None
    assignment: Literal["one_to_one", "static", "dynamic"] = "dynamic"
    assignment_topk: int = 4
    assignment_quality: Literal["max", "min", "geometric_mean", "mean"] = "max"
    assignment_predicate_weight: float | int | None = -0.5
    match_per_layer: bool = True
    num_query_groups: int = 4
    group_predicate_counts: list[int | float] | None = None
    predicate_counts: list[int | float] | None = None
    object_counts: list[int | float] | None = None
    zero_shot_triplets: list[list[int]] | None = None
    predicate_class_weights: list[int | float] | None = None
    predicate_reweight_alpha: float | int = 0.07
    predicate_reweight_beta: float | int = 0.75
    class_cost: float | int = 1
    bbox_cost: float | int = 5
    giou_cost: float | int = 2
    class_loss_coefficient: float | int = 1
    bbox_loss_coefficient: float | int = 5
    giou_loss_coefficient: float | int = 2
    predicate_loss_coefficient: float | int = 1
    eos_coefficient: float | int = 0.1
    predicate_eos_coefficient: float | int = 0.1
    auxiliary_loss: bool = True
    loss_weight_scope: Literal["all", "relation_matched"] = "all"

    def __post_init__(self, **kwargs: Any) -> None:
        self._check_label_types()
        inverses = {"id2label": self.label2id, "id2predicate": self.predicate2id}
        self._complete_backbone()
        self._complete_labels(kwargs.get("num_labels"))
        self._complete_predicates()
        super().__post_init__(**drop_model_entries(kwargs))
        self.label2id = {name: index for index, name in self.id2label.items()}
        # Called here rather than as `validate_*` hooks, whose errors are not `ValueError`s.
        self._check_sizes()
        self._check_vocabularies()
        self._check_inverses(inverses)
        self._check_predicate_lists()
        self._check_assignment()
        self._check_rates()

    def _complete_backbone(self) -> None:
        """Fields without a model type are changes of the default backbone."""
        if isinstance(self.backbone_config, dict) and "model_type" not in self.backbone_config:
            default = self.sub_configs_defaults["backbone_config"]
            self.backbone_config = {"model_type": default.model_type} | default.init_kwargs | self.backbone_config

    def _complete_labels(self, num_labels: int | None) -> None:
        if self.id2label is None and self.label2id:
            self.id2label = {index: name for name, index in self.label2id.items()}
        elif self.id2label is None and num_labels is None:
            self.id2label = dict(enumerate(VG150_OBJECTS))

    def _complete_predicates(self) -> None:
        if self.id2predicate is None and self.predicate2id:
            self.id2predicate = {index: name for name, index in self.predicate2id.items()}
        names = dict(enumerate(VG150_PREDICATES)) if self.id2predicate is None else self.id2predicate
        # JSON turns integer keys into strings; the base class converts only `id2label` back.
        self.id2predicate = {int(index): str(name) for index, name in names.items()}
        self.predicate2id = {name: index for index, name in self.id2predicate.items()}
        if self.group_predicate_counts is None:
            is_vg150 = tuple(self.id2predicate.values()) == VG150_PREDICATES
            self.group_predicate_counts = list(VG150_PREDICATE_COUNTS) if is_vg150 else self.predicate_counts

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Saves the configuration, and beside it the code of the model for those who do not have speaq_hf.

        Args:
            save_directory: Folder to write to.
            push_to_hub: Whether to upload the files too.
            kwargs: Of `push_to_hub`; `repo_id` defaults to the name of the folder.
        """
        super().save_pretrained(save_directory)
        if self._is_ours():
            copy_model_code(save_directory)
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", Path(save_directory).name), **kwargs)

    def to_diff_dict(self) -> dict[str, Any]:
        """The fields as they are saved: those that differ from the defaults, and which code reads them."""
        fields = super().to_diff_dict()
        return add_entries(fields, model_entries()) if self._is_ours() else fields

    def _is_ours(self) -> bool:
        """Configurations that somebody derives from this one are saved with that person's code, or with none."""
        return type(self).__module__ == __name__

    @classmethod
    def from_dict(
        cls, config_dict: dict[str, Any], **kwargs: Any
    ) -> "SpeaQConfig | tuple[SpeaQConfig, dict[str, Any]]":
        """Builds the configuration from saved fields, some of them replaced; what is replaced is checked like the rest.

        Args:
            config_dict: Saved fields.
            kwargs: Fields to replace. With a new vocabulary, saved fields that describe the old one are dropped.
                `return_unused_kwargs=True` returns what is not a field too.
        """
        fields = cls.replace_fields(config_dict, {name: kwargs[name] for name in kwargs if name in cls._field_names()})
        return super().from_dict(fields, **{name: value for name, value in kwargs.items() if name not in fields})

    @classmethod
    def replace_fields(cls, saved: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        """Fields of a saved configuration with some of them replaced.

        Args:
            saved: As `to_dict` returns them.
            changes: New values. A dict for `backbone_config` changes the fields it names, unless it names a `model_type`.

        Returns:
            `saved | changes`, without saved fields that describe a vocabulary that is replaced. Saved inverses of a
            vocabulary are left out too: they follow from it, and are old where someone assigned a new one before saving.
        """
        stale = {name for source, names in _DESCRIBED_BY.items() if source in changes for name in names}
        stale |= {inverse for vocabulary, inverse in _INVERSES.items() if saved.get(vocabulary)}
        backbone = changes.get("backbone_config")
        if isinstance(backbone, dict) and "model_type" not in backbone and saved.get("backbone_config"):
            changes = changes | {"backbone_config": _as_dict(saved["backbone_config"]) | backbone}
        return {name: value for name, value in saved.items() if name not in stale} | changes

    @classmethod
    def _field_names(cls) -> set[str]:
        return {field.name for field in fields(cls)} | cls.attribute_map.keys() | {"num_labels"}

    @property
    def num_predicates(self) -> int:
        """Number of predicates P, background not counted."""
        return len(self.id2predicate)

    @property
    def num_relation_queries(self) -> int:
        """Number of relation queries R = m·N."""
        return self.relation_query_multiplier * self.num_object_queries

    @classmethod
    def iterative_sgg(cls, **overrides: Any) -> "SpeaQConfig":
        """The baseline: one relation query per subject query, one-to-one joint matching, no query groups.

        Args:
            overrides: Any field of the configuration.

        Returns:
            A configuration of Iterative SGG (NeurIPS 2022).
        """
        baseline = {
            "relation_query_multiplier": 1,
            "assignment": "one_to_one",
            "match_per_layer": False,
            "num_query_groups": 1,
        }
        return cls(**(baseline | overrides))

    def _check_sizes(self) -> None:
        """Every size is positive and the width can be cut into attention heads and position features."""
        positive = ("d_model", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads")
        positive += ("encoder_ffn_dim", "decoder_ffn_dim", "num_object_queries", "relation_query_multiplier")
        for name in (*positive, "assignment_topk", "num_query_groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        for name in ("encoder_layers", "freeze_backbone_stages"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must not be negative, got {getattr(self, name)}.")
        for name in ("encoder_attention_heads", "decoder_attention_heads"):
            if self.d_model % getattr(self, name):
                raise ValueError(f"`d_model` ({self.d_model}) must be a multiple of `{name}` ({getattr(self, name)}).")
        if self.activation_function not in ACT2FN:
            raise ValueError(
                f"`activation_function` must be one of {sorted(ACT2FN)}, got {self.activation_function!r}."
            )
        if self.d_model % 4:
            raise ValueError(f"`d_model` must be a multiple of 4 (sines and cosines of x and y), got {self.d_model}.")

    def _check_vocabularies(self) -> None:
        """Names are unique and indexed from 0 without gaps."""
        for name in ("id2label", "id2predicate"):
            vocabulary = getattr(self, name)
            if not vocabulary or sorted(int(index) for index in vocabulary) != list(range(len(vocabulary))):
                raise ValueError(
                    f"`{name}` must map 0, 1, 2, … to names without gaps, got keys {list(vocabulary)[:20]}."
                )
            if wrong := [label for label in vocabulary.values() if not isinstance(label, str)]:
                raise ValueError(f"`{name}` must map numbers to names, got {wrong[0]!r} for a name.")
            if len(set(vocabulary.values())) < len(vocabulary):
                names = list(vocabulary.values())
                raise ValueError(f"`{name}` has duplicate names: {sorted({n for n in names if names.count(n) > 1})}.")

    def _check_label_types(self) -> None:
        """The base class, unlike this one, does not validate the types of its fields."""
        for name, content in (("id2label", "index to name"), ("label2id", "name to index")):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Mapping):
                raise ValueError(
                    f"`{name}` must be a dict from {content}, got {type(value).__name__}; for a list of names use "
                    "`id2label=dict(enumerate(names))`."
                )

    def _check_inverses(self, given: dict[str, Mapping[str, int] | None]) -> None:
        """What was given as the inverse of a vocabulary is that."""
        for name, inverse in given.items():
            expected = {entry: index for index, entry in getattr(self, name).items()}
            found = {entry: int(index) for entry, index in (inverse or expected).items()}
            if found != expected:
                differing = sorted(expected.items() ^ found.items(), key=str)[:4]
                raise ValueError(
                    f"`{_INVERSES[name]}` must be the inverse of `{name}`, but they differ in {differing}: pass only one "
                    "of them."
                )

    def _check_predicate_lists(self) -> None:
        """Counts and class weights fit the predicates."""
        lengths = {"group_predicate_counts": 0, "predicate_counts": 0, "predicate_class_weights": 1}
        for name, extra in lengths.items():
            values = getattr(self, name)
            if values is None:
                continue
            expected = self.num_predicates + extra
            if len(values) != expected:
                what = "one per predicate" + (" and one for background" if extra else "")
                raise ValueError(f"`{name}` needs {expected} entries ({what} of `id2predicate`), got {len(values)}.")
            if name != "predicate_counts" and any(not math.isfinite(value) or value < 0 for value in values):
                raise ValueError(f"`{name}` must be finite and not negative, got {values}.")
        if self.object_counts is not None and len(self.object_counts) != self.num_labels:
            raise ValueError(
                f"`object_counts` needs {self.num_labels} entries (`id2label`), got {len(self.object_counts)}."
            )
        limits = (self.num_labels, self.num_labels, self.num_predicates)
        for row in self.zero_shot_triplets or ():
            if len(row) != 3 or not all(0 <= index < limit for index, limit in zip(row, limits, strict=True)):
                raise ValueError(
                    f"`zero_shot_triplets` needs rows (subject, object, predicate) of classes below {limits}, got {row}."
                )

    def _check_assignment(self) -> None:
        """The assignment options can be used together."""
        if self.assignment == "dynamic" and not self.match_per_layer:
            raise ValueError(
                '`assignment="dynamic"` needs `match_per_layer=True`: the number of queries per target depends on the '
                'predictions of one layer. Use `assignment="static"` or "one_to_one" for joint matching.'
            )
        if self.num_query_groups > self.num_predicates:
            raise ValueError(
                f"`num_query_groups` ({self.num_query_groups}) must not exceed the number of predicates in "
                f"`id2predicate` ({self.num_predicates})."
            )
        if self.num_query_groups > self.num_object_queries:
            raise ValueError(
                f"`num_query_groups` ({self.num_query_groups}) must not exceed `num_object_queries` "
                f"({self.num_object_queries})."
            )

    def _check_rates(self) -> None:
        """Dropout rates are probabilities, costs and coefficients not negative."""
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must lie in [0, 1), got {getattr(self, name)}.")
        names = ("class_cost", "bbox_cost", "giou_cost", "class_loss_coefficient", "bbox_loss_coefficient")
        names += ("giou_loss_coefficient", "predicate_loss_coefficient", "eos_coefficient")
        names += ("predicate_eos_coefficient", "predicate_reweight_alpha", "predicate_reweight_beta")
        for name in names:
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"`{name}` must be finite and not negative, got {value}.")
        weight = self.assignment_predicate_weight
        if weight is not None and not math.isfinite(weight):
            raise ValueError(f"`assignment_predicate_weight` must be finite, or None to leave it out, got {weight}.")
        self._check_reweighting()

    def _check_reweighting(self) -> None:
        """The class weight of a predicate that never occurs, the largest one, can be computed with."""
        alpha, beta = self.predicate_reweight_alpha, self.predicate_reweight_beta
        if beta * math.log(max(alpha / 1e-5, 1.0)) > math.log(_LARGEST_CLASS_WEIGHT):
            raise ValueError(
                f"`predicate_reweight_alpha={alpha}` and `predicate_reweight_beta={beta}` give rare predicates weights up "
                f"to (alpha / 1e-5)^beta, more than {_LARGEST_CLASS_WEIGHT}: reduce one of them (published: 0.07, 0.75)."
            )


def _as_dict(config: dict[str, Any] | PreTrainedConfig) -> dict[str, Any]:
    return config if isinstance(config, dict) else config.to_dict()


__all__ = ["SpeaQConfig"]
