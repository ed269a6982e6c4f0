# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The files of a Hugging Face Space that runs the web app."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import SpaceCardData
from huggingface_hub.utils import validate_repo_id

from ..text_files import write_text


_PROGRAM = """\
from speaq_hf.app import build_app, launch_app


app = build_app({models})

if __name__ == "__main__":
    launch_app(app)
    app.block_thread()
"""
_README = """\
---
{metadata}
---

# {title}

Objects of a picture and the relations between them, found by {models}. The files of this Space were written by
`speaq app --write-space`.
"""


def write_space(
    folder: str | os.PathLike,
    models: Sequence[str] = (),
    *,
    title: str = "Scene graphs",
    requirement: str = "speaq_hf[app]",
) -> Path:
    """Writes `app.py`, `requirements.txt` and `README.md` with the metadata of a Space.

    Args:
        folder: Made if missing.
        models: Hub names of the models to choose from; the packaged one is always there, too.
        title: Of the Space.
        requirement: What pip installs the package from, as in a requirements file: name, version or address.

    Returns:
        The folder.

    Raises:
        FileExistsError: One of the files is there already.
        ValueError: A model is a folder of this machine, or no name that the Hub knows.
    """
    folder = Path(folder)
    for model in models:
        _check_hub_name(model)
    files = {
        "app.py": _PROGRAM.format(models=json.dumps(list(models)) if models else ""),
        "requirements.txt": f"{requirement}\n",
        "README.md": _readme(models, title),
    }
    present = [name for name in files if (folder / name).exists()]
    if present:
        raise FileExistsError(f"{folder} has {', '.join(present)} already; name an empty folder")
    for name, content in files.items():
        write_text(folder / name, content)
    return folder


def _check_hub_name(model: str) -> None:
    if Path(model).exists():
        raise ValueError(
            f"{model} is a folder of this machine; a Space loads models of the Hub: push it, and name that"
        )
    validate_repo_id(model)


def _readme(models: Sequence[str], title: str) -> str:
    import gradio

    data = SpaceCardData(
        title=title,
        sdk="gradio",
        sdk_version=gradio.__version__,
        python_version="3.12",
        app_file="app.py",
        license="apache-2.0",
        models=list(models) or None,
        emoji="\N{SPIDER WEB}\N{VARIATION SELECTOR-16}",
        colorFrom="blue",
        colorTo="green",
    )
    named = ", ".join(f"[{model}](https://huggingface.co/{model})" for model in models)
    return _README.format(metadata=data.to_yaml(), title=title, models=named or "the small model of speaq_hf")
