# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Convert a checkpoint of the Detectron2 program of SpeaQ or Iterative SGG.

python conversion/convert_detectron2.py --checkpoint model.pth --config config.yaml --output speaq-r101-vg150
"""

import json
import logging
import pickle
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor


# Run as a script, Python knows only this file's folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conversion.detectron2_settings import build_config, is_rgb, processor_fields, read_settings  # noqa: E402
from conversion.detectron2_weights import ConversionReport, convert_state_dict  # noqa: E402
from speaq_hf import SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil  # noqa: E402


logger = logging.getLogger(__name__)

_STEM = "model.backbone.model.embedder.embedder.convolution.weight"


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a `.pth` file without executing anything that it contains.

    Args:
        path: `{"model": state dict, …}` or a plain state dict.

    Returns:
        The state dict, and the entries beside it with the reason why they are not needed.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When it is corrupt, holds more than tensors and plain values, or no state dict.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {path}.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} was refused: it holds more than tensors and plain values, and loading that could execute code. "
            f"Save its state dict alone with `torch.save` and convert that. The loader says: {error}"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{path} is not a readable PyTorch checkpoint: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a dict, got {type(content).__name__}.")
    state_dict = content.get("model", content)
    if not isinstance(state_dict, dict):
        raise ValueError(f"{path}: the entry 'model' must be a state dict, got {type(state_dict).__name__}.")
    outside = {} if state_dict is content else {name: "not a weight" for name in content if name != "model"}
    wrong = {name: "not a tensor" for name, value in state_dict.items() if not isinstance(value, Tensor)}
    return {name: value for name, value in state_dict.items() if name not in wrong}, outside | wrong


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
        ValueError: When the checkpoint lacks weights, its settings do not fit, or `output` is not empty.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output} exists and is not an empty directory: choose another one or remove it.")
    settings = read_settings(config)
    tensors, ignored = load_checkpoint(checkpoint)
    report = ConversionReport(ignored=ignored)
    model = _build_model(settings, tensors, report, _read_categories(categories))
    vocabulary = {"id2label": model.config.id2label, "id2predicate": model.config.id2predicate}
    processor = SpeaQImageProcessorPil(**processor_fields(settings), **vocabulary)
    _save(model, processor, report, output)
    return model, report


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
    try:
        content = json.loads(path.read_text())
        fields = {"id2label": content["label_to_idx"], "id2predicate": content["predicate_to_idx"]}
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError) as error:
        raise ValueError(f"{path} must be JSON with `label_to_idx` and `predicate_to_idx`: {error!r}") from error
    return {name: {index - 1: label for label, index in names.items()} for name, names in fields.items()}


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
    except (ValueError, FileNotFoundError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(code=1) from error
    typer.echo(report.summary())
    typer.echo(f"written: {output}")


if __name__ == "__main__":
    typer.run(main)
