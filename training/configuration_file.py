# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A YAML file and `--section.field value` options to the arguments of a run."""

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub.dataclasses import type_validator
from transformers import CONFIG_MAPPING, HfArgumentParser

from speaq_hf import SpeaQConfig
from speaq_hf.models.speaq.detr_weights_speaq import SHARED_FIELDS

from .arguments import (
    DataArguments,
    DetectionArguments,
    DetectorArguments,
    EvaluationArguments,
    ModelArguments,
    RunArguments,
    TrainingArguments,
)


SECTIONS = {
    "model": ModelArguments,
    "data": DataArguments,
    "training": TrainingArguments,
    "evaluation": EvaluationArguments,
}
DETECTOR_SECTIONS = SECTIONS | {"model": DetectorArguments, "evaluation": DetectionArguments}
# Fields of the model's configuration that come from the data set.
_VOCABULARY_FIELDS = {"id2label", "label2id", "id2predicate", "predicate2id"}
# Fields of the configuration that the section `model` takes next to its own.
_CONFIG_FIELDS = {
    ModelArguments: {field.name for field in dataclasses.fields(SpeaQConfig)} - _VOCABULARY_FIELDS,
    DetectorArguments: {
        *SHARED_FIELDS,
        "backbone_config",
        "freeze_backbone_stages",
        "freeze_batch_norm",
        "num_object_queries",
    },
}


class _Loader(yaml.SafeLoader):
    """YAML 1.2 numbers: `1e-4` is a number, not text as in YAML 1.1."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)$"), list("-+0123456789.")
)


def parse_run(
    config: str | Path, overrides: Sequence[str] = (), sections: Mapping[str, type] = SECTIONS
) -> RunArguments:
    """Read the arguments of a training run.

    Args:
        config: YAML file with the sections `model`, `data`, `training` and `evaluation`, each of them optional.
        overrides: Command line words `--section.field value` or `--section.field=value`; values are YAML.
        sections: The class of each section; those of `train.py`, or `DETECTOR_SECTIONS`.

    Returns:
        The arguments, checked.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A section or field is unknown, or a value has the wrong type or is out of range.
    """
    content = _read_yaml(Path(config))
    for name, value in _split_overrides(overrides):
        _set(content, name, value)
    _check_names(content, sections, "section")
    return RunArguments(**{name: _parse_section(name, cls, content.get(name) or {}) for name, cls in sections.items()})


def describe_options(sections: Mapping[str, type] = SECTIONS) -> str:
    """Every option of every section with its meaning, for `--help`."""
    lines = []
    for name, section in sections.items():
        lines.append(f"\n{section.__doc__}")
        for option in dataclasses.fields(section):
            default = "" if option.default in (dataclasses.MISSING, None) else f" [{option.default}]"
            lines.append(f"  --{name}.{option.name}: {option.metadata['help']}{default}")
    return "\n".join(lines)


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no configuration file {path}; see training/configs for examples.")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a YAML file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold the sections {', '.join(SECTIONS)}, got {type(content).__name__}.")
    return content


def _split_overrides(words: Sequence[str]) -> list[tuple[str, Any]]:
    """`["--a.b", "1", "--c.d=2"]` to `[("a.b", 1), ("c.d", 2)]`."""
    pairs, words = [], list(words)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise ValueError(f"Expected an option --section.field, got {word!r}.")
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not words or re.match(r"--[A-Za-z]", words[0]):
                raise ValueError(f"Option --{name} needs a value.")
            value = words.pop(0)
        pairs.append((name, _parse_value(value)))
    return pairs


def _parse_value(text: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        return text


def _set(sections: dict[str, Any], name: str, value: Any) -> None:
    """Put a value at the dotted name, making the dicts on the way."""
    *parents, last = name.split(".")
    if not parents:
        _check_names([name], SECTIONS, "option", f"--{name}: options are written --section.field. ")
        raise ValueError(f"--{name} is a section; name one of its fields, as in --{name}.field value.")
    for parent in parents:
        if sections.get(parent) is None:
            sections[parent] = {}
        sections = sections[parent]
        if not isinstance(sections, dict):
            raise ValueError(f"--{name}: {parent} holds {sections!r}, which has no fields.")
    sections[last] = value


def _parse_section(name: str, section: type, values: Any) -> Any:
    if not isinstance(values, dict):
        raise ValueError(f"Section {name} must hold fields, got {values!r}.")
    if section in _CONFIG_FIELDS:
        values = _separate_model_config(section, values)
    hints = typing.get_type_hints(section)
    _check_names(values, hints, f"field of section {name}")
    values = {key: _widen(value, hints[key]) for key, value in values.items()}
    for key, value in values.items():
        try:
            type_validator(key, value, hints[key])
        except TypeError as error:
            raise ValueError(f"{name}.{key}: {_describe_mismatch(section, key, value, hints[key])}") from error
    return HfArgumentParser(section).parse_dict(values)[0]


def _separate_model_config(section: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Own options of the section, and under `config` the fields of `SpeaQConfig`."""
    options = {field.name for field in dataclasses.fields(section)} - {"config"}
    _check_names(values, options | _CONFIG_FIELDS[section], "field of section model")
    _check_backbone(values.get("backbone_config"))
    own = {name: value for name, value in values.items() if name in options}
    return own | {"config": {name: value for name, value in values.items() if name not in options}}


def _check_backbone(fields: Any) -> None:
    """A misspelt field would otherwise be kept as an attribute nobody reads, and another network trained."""
    if fields is None:
        return
    if not isinstance(fields, dict):
        raise ValueError(f"model.backbone_config must hold fields, got {fields!r}.")
    model_type = fields.get("model_type", "resnet")
    _check_names([model_type], CONFIG_MAPPING.keys(), "model_type", "model.backbone_config: ")
    config_class = CONFIG_MAPPING[model_type]
    known = {field.name for field in dataclasses.fields(config_class)} | config_class.attribute_map.keys()
    _check_names(
        fields,
        known | {"model_type", "out_features", "out_indices"},
        f"field of a {model_type} backbone",
        "model.backbone_config: ",
    )


def _widen(value: Any, hint: Any) -> Any:
    """Whole numbers are valid wherever a float is expected; and where the word `no` is one, YAML has made False of it."""
    accepted = typing.get_args(hint)
    if value is False and "no" in accepted:
        return "no"
    accepted = accepted if isinstance(hint, types.UnionType) else (hint,)
    return float(value) if type(value) is int and float in accepted and int not in accepted else value


def _describe_mismatch(section: type, name: str, value: Any, hint: Any) -> str:
    meaning = next(option.metadata["help"] for option in dataclasses.fields(section) if option.name == name)
    found = "null" if value is None else f"{type(value).__name__} {value!r}"
    return f"expected {_describe_type(hint)}, got {found}. {meaning}"


def _describe_type(hint: Any) -> str:
    """`list[int] | None` to "list of int or null"."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "one of " + ", ".join(parts)
    if origin in (list, dict):
        return f"{origin.__name__} of {_describe_type(parts[-1])}"
    if parts:
        return " or ".join(_describe_type(part) for part in parts)
    return "null" if hint is types.NoneType else hint.__name__


def _check_names(names: typing.Iterable[str], valid: typing.Iterable[str], what: str, prefix: str = "") -> None:
    valid = sorted(valid)
    for name in names:
        if name not in valid:
            close = difflib.get_close_matches(str(name), valid, n=3) or valid
            raise ValueError(f"{prefix}Unknown {what}: {name!r}. Did you mean {' or '.join(close)}?")
