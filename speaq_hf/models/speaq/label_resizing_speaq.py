# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Heads for a new vocabulary: what was learned about a class goes with its name, wherever its row is now."""

import copy
import functools
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.utils import logging

from .configuration_speaq import VOCABULARY_FIELDS, SpeaQConfig


logger = logging.get_logger(__name__)

_VOCABULARIES = {"class_head": "id2label", "predicate_head": "id2predicate"}
_NEW_VOCABULARY = {"id2label", "label2id", "num_labels", "id2predicate", "predicate2id"}
# Fields that say where a checkpoint is found.
_PLACE = {"cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token"}
_NAMES_SHOWN = 20

Names = Mapping[int, str]


def match_rows(old: Names, new: Names) -> list[tuple[int, int]]:
    """Rows of a head for the names `new` and where they were in a head for `old`; background, the last row, is in both.

    Returns:
        (new row, old row) of every name in both.
    """
    rows = {name: row for row, name in old.items()}
    return [(row, rows[name]) for row, name in new.items() if name in rows] + [(len(new), len(old))]


def move_rows(values: Tensor, fresh: Tensor, rows: list[tuple[int, int]]) -> Tensor:
    """A copy of `fresh` `(new rows, …)`, with the rows of `values` `(old rows, …)` that `match_rows` found."""
    merged = fresh.detach().clone()
    ours, theirs = torch.tensor(rows, device=values.device).T
    merged[ours] = values.detach()[theirs].to(merged)
    return merged


class LabelResizingMixin:
    """A model whose `class_head` and `predicate_head` have a row per name of the configuration and one for background."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike | None,
        *model_args: Any,
        config: PreTrainedConfig | str | os.PathLike | None = None,
        ignore_mismatched_sizes: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Loads a model, see [`PreTrainedModel.from_pretrained`], for the saved vocabulary or for another one.

        Args:
            pretrained_model_name_or_path: Folder or Hub name.
            model_args: Of the model.
            config: Configuration; default: the saved one.
            ignore_mismatched_sizes: Whether the rows of both heads, and not only their sizes, follow a new vocabulary: names
                that the saved one has too keep their weights and biases, as background does, the others are initialised
                anew. Without it the rows stay in their order, whatever they are called.
            kwargs: Of `PreTrainedModel.from_pretrained`, and fields of the configuration: `id2label`, `id2predicate`, ….

        Raises:
            OSError: There is no such model.
            RuntimeError: Sizes differ without `ignore_mismatched_sizes`.
            TypeError: The heads are quantized or offloaded, so that their rows cannot be moved.
        """
        load = functools.partial(
            super().from_pretrained,
            pretrained_model_name_or_path,
            *model_args,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
        )
        place = {name: kwargs[name] for name in _PLACE & kwargs.keys()}
        may_differ = config is not None or _NEW_VOCABULARY & kwargs.keys()
        saved = _saved_config(cls.config_class, pretrained_model_name_or_path, place) if may_differ else None
        if saved is None:
            return load(config=config, **kwargs)
        if not isinstance(config, PreTrainedConfig):
            fields = {name: kwargs.pop(name) for name in list(kwargs) if _is_field(saved, name)}
            config = cls.config_class.from_pretrained(config or pretrained_model_name_or_path, **place, **fields)
        if not ignore_mismatched_sizes or _vocabularies(config) == _vocabularies(saved):
            _warn_of_moved_names(saved, config)
            return load(config=config, **kwargs)
        loaded = load(config=_with_vocabularies_of(saved, config), **kwargs)
        model, info = loaded if isinstance(loaded, tuple) else (loaded, {"mismatched_keys": set()})
        info["mismatched_keys"] |= model._follow_vocabularies(config)
        return loaded

    def resize_labels(self, id2label: Names | None = None, id2predicate: Names | None = None, **fields: Any) -> None:
        """Exchanges the vocabularies, in place. The rows of both heads follow the names.

        Names of the new vocabulary that the old one has too keep their weights and biases, as background does; the others
        are initialised anew and logged. Parameters that change are new objects: make optimizers afterwards. An image
        processor has vocabularies of its own.

        Args:
            id2label: New object classes, 0-based without gaps; `None` keeps the old ones.
            id2predicate: New predicates, likewise.
            fields: Fields of the configuration that go with the vocabularies: `predicate_counts`, `num_query_groups`, ….
                Those not given are forgotten when their vocabulary is exchanged.

        Raises:
            ValueError: The vocabularies and the configuration do not fit together, or a field has nothing to do with them.
                The model stays as it was.
            TypeError: The heads are quantized or offloaded, so that their rows cannot be moved.

        Example:

        ```python
        >>> from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration

        >>> backbone = {"depths": [1], "hidden_sizes": [8], "embedding_size": 8, "out_features": ["stage1"]}
        >>> config = SpeaQConfig(backbone_config=backbone, d_model=32, encoder_layers=1, decoder_layers=1)
        >>> model = SpeaQForSceneGraphGeneration(config)
        >>> model.resize_labels(id2predicate={0: "on", 1: "juggling"}, num_query_groups=1)
        >>> model.predicate_head.out_features, model.config.predicate2id
        (3, {'on': 0, 'juggling': 1})

        ```
        """
        unknown = sorted(fields.keys() - {*VOCABULARY_FIELDS, "num_query_groups"})
        if unknown:
            raise ValueError(f"`resize_labels` changes vocabularies, got {unknown}: set them in the configuration.")
        vocabularies = {"id2label": id2label, "id2predicate": id2predicate}
        for name, names in vocabularies.items():
            if names is not None and not isinstance(names, Mapping):
                raise ValueError(
                    f"`{name}` must be a dict from index to name, got {type(names).__name__}; for a list of names use "
                    f"`{name}=dict(enumerate(names))`."
                )
        changes = {name: dict(names) for name, names in vocabularies.items() if names is not None} | fields
        self._follow_vocabularies(type(self.config).from_dict(self.config.to_dict(), **changes))

    @torch.no_grad()
    def _follow_vocabularies(self, config: SpeaQConfig) -> set[tuple[str, torch.Size, torch.Size]]:
        """Heads and configuration for the vocabularies of `config`; parameters with another shape now, as transformers
        reports them: name, old shape, new shape."""
        old, new = _vocabularies(self.config), _vocabularies(config)
        changed = [name for name in _VOCABULARIES if old[name] != new[name]]
        for name in changed:
            _check_head(name, getattr(self, name))
        reshaped = set()
        for name in changed:
            head = getattr(self, name)
            before = {key: value.shape for key, value in head.named_parameters()}
            self._resize_head(head, old[name], new[name])
            _log_rows(name, old[name], new[name])
            shapes = {key: (before[key], value.shape) for key, value in head.named_parameters()}
            reshaped |= {(f"{name}.{key}", *pair) for key, pair in shapes.items() if pair[0] != pair[1]}
        for field in (*VOCABULARY_FIELDS, "num_query_groups"):
            setattr(self.config, field, getattr(config, field))
        return reshaped

    def _resize_head(self, head: nn.Linear, old: Names, new: Names) -> None:
        fresh = nn.Linear(head.in_features, len(new) + 1, device=head.weight.device, dtype=head.weight.dtype)
        self._init_weights(fresh)
        rows = match_rows(old, new)
        # The module stays: others may hold it, or have hung hooks on it.
        for name, parameter in list(head.named_parameters()):
            values = move_rows(parameter, getattr(fresh, name), rows)
            setattr(head, name, nn.Parameter(values, requires_grad=parameter.requires_grad))
        head.out_features = len(new) + 1


def _saved_config(
    config_class: type[SpeaQConfig], source: str | os.PathLike | None, place: Mapping[str, Any]
) -> SpeaQConfig | None:
    """The configuration beside saved weights, or None without one, which whoever loads the weights has to judge."""
    if source is None:
        return None
    try:
        fields, _ = config_class.get_config_dict(source, **place)
    except OSError:
        return None
    return config_class.from_dict(fields) if fields.get("model_type") == config_class.model_type else None


def _is_field(config: SpeaQConfig, name: str) -> bool:
    """Whether `from_pretrained` sets this keyword in the configuration; the number format is one of the model's too."""
    return name not in {"dtype", "torch_dtype"} and (name == "num_labels" or hasattr(config, name))


def _vocabularies(config: SpeaQConfig) -> dict[str, dict[int, str]]:
    """The names of every head's rows."""
    return {head: dict(getattr(config, field)) for head, field in _VOCABULARIES.items()}


def _with_vocabularies_of(saved: SpeaQConfig, config: SpeaQConfig) -> SpeaQConfig:
    """`config`, but the heads get the saved sizes. Only for loading: other fields need not fit these vocabularies."""
    merged = copy.deepcopy(config)
    for field in _VOCABULARIES.values():
        setattr(merged, field, getattr(saved, field))
    return merged


def _check_head(name: str, head: nn.Module) -> None:
    weight = getattr(head, "weight", None)
    is_plain = isinstance(head, nn.Linear) and type(weight) is nn.Parameter and weight.is_floating_point()
    if not is_plain or weight.is_meta or type(weight.data) is not Tensor:
        raise TypeError(
            f"The rows of `{name}` cannot be moved, since it is quantized, offloaded or wrapped ({type(head).__name__}): "
            "resize the plain model, save it, and load that."
        )


def _log_rows(head: str, old: Names, new: Names) -> None:
    added = [name for name in new.values() if name not in set(old.values())]
    dropped = [name for name in old.values() if name not in set(new.values())]
    text = f"`{head}`: {len(new) - len(added)} of {len(new)} names keep their rows"
    text += f"; {len(dropped)} are dropped: {_shortened(dropped)}" if dropped else ""
    if added:
        logger.warning(f"{text}; {len(added)} start from random numbers and need training: {_shortened(added)}.")
    else:
        logger.info(f"{text}.")


def _warn_of_moved_names(saved: SpeaQConfig, config: SpeaQConfig) -> None:
    """New names on old rows may be a translation, but not when some of them were other rows' names."""
    old, new = _vocabularies(saved), _vocabularies(config)
    for head in _VOCABULARIES:
        moved = [
            (new[head][ours], theirs, ours) for ours, theirs in match_rows(old[head], new[head])[:-1] if ours != theirs
        ]
        if moved:
            name, before, now = moved[0]
            logger.warning(
                f"`{head}` keeps the order of its rows, but {len(moved)} names have moved: row {now}, now {name!r}, was "
                f"{old[head].get(now)!r}, and {name!r} was row {before}. If the rows shall follow their names, pass "
                "`ignore_mismatched_sizes=True`."
            )


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")
