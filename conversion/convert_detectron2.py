# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Convert a checkpoint of the Detectron2 program of SpeaQ or Iterative SGG.

python conversion/convert_detectron2.py --checkpoint model.pth --config config.yaml --output speaq-r101-vg150
"""

import json
import logging
import os
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import Tensor


# Run as a script, Python knows only this file's folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conversion.detectron2_checkpoint import load_checkpoint  # noqa: E402
from conversion.detectron2_settings import (  # noqa: E402
    assumed_settings,
    build_config,
    complete_settings,
    is_rgb,
    processor_fields,
    read_settings,
)
from conversion.detectron2_weights import ConversionReport, convert_state_dict  # noqa: E402
from speaq_hf import SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil  # noqa: E402


logger = logging.getLogger(__name__)

_HEADS = "MODEL.DETR.NHEADS"
_STEM = "model.backbone.model.embedder.embedder.convolution.weight"


def convert(
    checkpoint: Path, config: Path, output: Path, categories: Path | None = None
) -> tuple[SpeaQForSceneGraphGeneration, ConversionReport]:
    """Convert a checkpoint and its settings into a directory that `from_pretrained` loads.

    Args:
        checkpoint: `.pth` file.
        config: Its settings, JSON of dotted keys or YAML.
        output: New directory for model, processor and `conversion_report.json`; written completely or not at all.
        categories: Vocabulary in the format of `VG-SGG-dicts.json`, where it is not VG150's.

    Returns:
        The converted model and what became of every tensor.

    Raises:
        FileNotFoundError: When an input is missing.
        ValueError: When the checkpoint lacks weights, its settings do not fit, or `output` is not empty or cannot be
            written.
    """
    output = Path(os.path.realpath(output))  # a link to an empty directory stays, and its target is filled
    _check_output(output)
    given = read_settings(config)
    settings = complete_settings(given)
    tensors, ignored = load_checkpoint(checkpoint)
    report = ConversionReport(ignored=ignored, assumed=assumed_settings(given))
    if _HEADS in report.assumed:
        logger.warning(
            "%s is not in %s, and the tensors do not tell it: %s is assumed, the default of the original programs. A "
            "model trained with another number would predict nonsense; then add the key.",
            *(_HEADS, config, report.assumed[_HEADS]),
        )
    model = _build_model(settings, tensors, report, _read_categories(categories))
    vocabulary = {"id2label": model.config.id2label, "id2predicate": model.config.id2predicate}
    processor = SpeaQImageProcessorPil(**processor_fields(settings), **vocabulary)
    _save(model, processor, report, output)
    return model, report


def _check_output(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output} exists and is not an empty directory: choose another one or remove it.")
    parent = next(parent for parent in output.parents if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ValueError(f"{output} cannot be written: {parent} is not a directory in which files can be made.")


def _build_model(
    settings: dict[str, Any], tensors: dict[str, Tensor], report: ConversionReport, vocabularies: dict[str, Any]
) -> SpeaQForSceneGraphGeneration:
    config = build_config(settings, tensors, **vocabularies)
    state_dict = convert_state_dict(tensors, report)
    if not is_rgb(settings):
        state_dict[_STEM] = state_dict[_STEM].flip(1)
    expected = {name: value.shape for name, value in SpeaQForSceneGraphGeneration(config).state_dict().items()}
    report.missing = sorted(expected.keys() - state_dict.keys())
    unexpected = sorted(state_dict.keys() - expected.keys())
    if report.missing or unexpected:
        raise ValueError(
            f"The checkpoint does not fit the network. Missing: {report.missing}; too much: {unexpected}."
        )
    wrong = [f"{name}: {tuple(state_dict[name].shape)} instead of {tuple(shape)}" for name, shape in expected.items()
             if state_dict[name].shape != shape]  # fmt: skip
    if wrong:
        raise ValueError(f"The checkpoint has tensors of unexpected shape: {wrong}.")
    return SpeaQForSceneGraphGeneration.from_pretrained(None, config=config, state_dict=state_dict)


def _read_categories(path: Path | None) -> dict[str, dict[int, str]]:
    if path is None:
        return {}
    if not path.is_file():
        raise FileNotFoundError(f"There is no categories file {path}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold an object with names and numbers, got {type(content).__name__}.")
    fields = {"id2label": "label_to_idx", "id2predicate": "predicate_to_idx"}
    return {name: _read_names(path, content, field) for name, field in fields.items()}


def _read_names(path: Path, content: dict[str, Any], field: str) -> dict[int, str]:
    """The file counts from 1, as 0 is its background."""
    names = content.get(field)
    if not isinstance(names, dict) or not all(type(index) is int for index in names.values()):
        raise ValueError(f"{path}: `{field}` must map names to whole numbers from 1 on, got {str(names)[:60]}.")
    return {index - 1: label for label, index in names.items()}


def _save(
    model: SpeaQForSceneGraphGeneration, processor: SpeaQImageProcessorPil, report: ConversionReport, output: Path
) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as temporary:
        folder = Path(temporary) / "model"
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        (folder / "conversion_report.json").write_text(json.dumps(asdict(report), indent=2))
        if output.exists():  # an empty directory, checked at the start
            output.rmdir()
        shutil.move(folder, output)


def main(
    checkpoint: Annotated[Path, typer.Option(help="Detectron2-style .pth file.")],
    config: Annotated[Path, typer.Option(help="Its settings: JSON of dotted keys, or the published YAML.")],
    output: Annotated[Path, typer.Option(help="New directory for the converted model.")],
    categories: Annotated[Path | None, typer.Option(help="Vocabulary JSON, if not VG150's.")] = None,
) -> None:
    """Convert a Detectron2 checkpoint of SpeaQ or Iterative SGG."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        _, report = convert(checkpoint, config, output, categories)
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(code=1) from error
    typer.echo(report.summary())
    typer.echo(f"written: {output}")


if __name__ == "__main__":
    typer.run(main)
