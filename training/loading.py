# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Load saved models completely or not at all; what is wrong with one is said with the option that named it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging


# What reading a damaged or foreign configuration or weight file ends in, or one of a library that is not installed.
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, ImportError, SafetensorError, StrictDataclassError)
_PROBLEMS = {
    "missing_keys": "weights are missing",
    "unexpected_keys": "weights belong to no part of it",
    "mismatched_keys": "weights have other sizes",
}


def load_complete(model_class: Any, option: str, path: str, **options: Any) -> PreTrainedModel:
    """Load a model whose file holds exactly its weights.

    Args:
        model_class: Class with `from_pretrained`.
        option: Name of the option that asks for the model.
        path: Folder or Hub name.
        options: Of `from_pretrained`.

    Raises:
        OSError: There is no such model.
        ValueError: Its configuration or weights cannot be read, or weights are missing, unexpected or of other sizes.
    """
    with naming_option(option, path), without_loading_report():
        # Weights of other sizes are listed below, with the others.
        options |= {"ignore_mismatched_sizes": True, "output_loading_info": True}
        model, found = model_class.from_pretrained(path, **options)
    problems = [f"{what}: {_list_names(found[kind])}" for kind, what in _PROBLEMS.items() if found[kind]]
    if problems:
        raise ValueError(f"{option}: {path} does not fit its configuration. {'; '.join(problems)}.")
    return model


@contextmanager
def naming_option(option: str, path: str) -> Iterator[None]:
    """Errors of loading become one line that says which option asked for what.

    Raises:
        OSError: Instead of another `OSError`.
        ValueError: Instead of what damaged files end in.
    """
    try:
        yield
    except OSError as error:
        raise OSError(f"{option}: cannot load {path}: {_one_line(error)}") from error
    except _UNREADABLE as error:
        raise ValueError(f"{option}: cannot load {path}: {type(error).__name__}: {_one_line(error)}") from error


@contextmanager
def without_loading_report() -> Iterator[None]:
    """The library's table of the weights that do not fit has a line for each of them."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(max(verbosity, transformers_logging.ERROR))
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _list_names(keys: Any) -> str:
    """The first five, in alphabetic order; a weight of another size comes with both sizes."""
    names = sorted(key if isinstance(key, str) else f"{key[0]} {tuple(key[1])} for {tuple(key[2])}" for key in keys)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
