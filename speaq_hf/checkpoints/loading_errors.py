# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What is wrong with a saved model, in one sentence that names it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError


@contextmanager
def damage_named(model: str | os.PathLike) -> Iterator[None]:
    """Turns what libraries raise over damaged weights and configurations inside the block into one kind of error.

    Args:
        model: Folder or Hub name.

    Raises:
        ValueError: The weights are damaged or do not fit the configuration, or a field of it is wrong.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except SafetensorError as error:
        raise ValueError(f"{model}: the weights cannot be read, the file may be cut off: {_line(error)}") from error
    except (StrictDataclassError, AttributeError, KeyError, RecursionError) as error:
        raise ValueError(f"{model}: its configuration is wrong: {_line(error)}") from error
    except RuntimeError as error:  # of transformers, about sizes
        raise ValueError(f"{model}: the weights do not fit the configuration: {_line(error)}") from error


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"unknown {text}" if isinstance(error, KeyError) else text
