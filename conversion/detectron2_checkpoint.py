# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Read a `.pth` file of the Detectron2 programs without executing anything that it contains."""

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


# What `torch.save` writes begins with one of these: a zip archive or, in the format of before 2020, a pickle.
_MAGIC = (b"PK\x03\x04", b"\x80")
# Beginnings of what is often found in a checkpoint's place.
_HINTS = {
    b"version https://git-lfs": "It is a Git LFS pointer: fetch the file itself with `git lfs pull`.",
    b"<": "It looks like a web page: download the file itself.",
    b"\x1f\x8b": "It is compressed: unpack it with `gunzip`.",
    b"{": "It looks like JSON.",
}


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a checkpoint.

    Args:
        path: File with `{"model": state dict, …}` or a plain state dict.

    Returns:
        The state dict, and the entries beside it with the reason why they are not needed.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When it is no PyTorch checkpoint, is corrupt, holds more than tensors and plain values, or no state
            dict of dense tensors.
    """
    content = _load(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a dict, got {type(content).__name__}.")
    state_dict = content.get("model", content)
    if not isinstance(state_dict, dict):
        raise ValueError(f"{path}: the entry 'model' must be a state dict, got {type(state_dict).__name__}.")
    _check_entries(path, state_dict)
    outside = {} if state_dict is content else {str(name): "not a weight" for name in content if name != "model"}
    wrong = {name: "not a tensor" for name, value in state_dict.items() if not isinstance(value, Tensor)}
    return {name: value for name, value in state_dict.items() if name not in wrong}, outside | wrong


def _load(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint file {path}.")
    _check_magic(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} was refused: it holds more than tensors and plain values, and loading that could execute code. "
            f"Save its state dict alone with `torch.save` and convert that. The loader says: {error}"
        ) from error
    except Exception as error:  # in a corrupt pickle any instruction can fail, and in its own way
        raise ValueError(f"{path} is not a readable PyTorch checkpoint: {error!r}") from error


def _check_magic(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(64)
    if not head.startswith(_MAGIC):
        hint = next((hint for start, hint in _HINTS.items() if head.lstrip().startswith(start)), "")
        begins = f"it begins with {head[:16]!r}" if head else "it is empty"
        raise ValueError(f"{path} is no PyTorch checkpoint: {begins}. {hint}".rstrip())


def _check_entries(path: Path, state_dict: dict[Any, Any]) -> None:
    for name, value in state_dict.items():
        if not isinstance(name, str):
            raise ValueError(f"{path}: the names in the state dict must be text, got {name!r}.")
        if isinstance(value, Tensor) and (value.layout != torch.strided or value.is_quantized or value.is_meta):
            raise ValueError(f"{path}: {name} must be a dense tensor, got {value.layout} on {value.device}.")
