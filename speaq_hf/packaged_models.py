# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The small model that comes with the package, so that a graph can be predicted without a network."""

from pathlib import Path


_ASSETS = Path(__file__).resolve().parent / "assets"


def packaged_model(name: str = "speaq-tiny") -> Path:
    """Folder of a model that comes with the package, for every `from_pretrained`.

    Args:
        name: Its name.

    Raises:
        ValueError: No such model comes with the package.
    """
    names = sorted(path.name for path in _ASSETS.iterdir() if (path / "config.json").is_file())
    if name not in names:
        raise ValueError(f"no model {name!r} comes with the package, only {', '.join(names)}")
    return _ASSETS / name
