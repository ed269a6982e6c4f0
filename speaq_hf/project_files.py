# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Where the files of the project lie that are no modules of the package: programs, their configurations, the citation."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path


# What a folder of the project holds; another project's clone has a folder `training`, too.
_MARKS = ("CITATION.cff", "training/train.py", "conversion/convert_detectron2.py")
_INSTALLED = "share/speaq_hf"


def project_folder() -> Path:
    """The folder that holds `training`, `conversion` and `CITATION.cff`: the clone, or where an installation put them.

    Raises:
        FileNotFoundError: There is none.
    """
    package = Path(__file__).resolve().parent
    beside = package.parent  # of `pip install --target` the folder that was named
    for folder in (beside, *_installed_folders(), beside / _INSTALLED):
        if all((folder / mark).is_file() for mark in _MARKS):
            return folder
    raise FileNotFoundError(
        f"the programs `training` and `conversion`, which belong to the package in {package}, cannot be found; install "
        "speaq_hf again with pip, or work in a clone of its repository"
    )


def configuration_file(name: str) -> Path:
    """A training configuration.

    Args:
        name: Path of a YAML file, or the name of one that comes with the package: "speaq_vg".

    Raises:
        FileNotFoundError: There is none; the message lists the names.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    known = {file.stem: file for file in sorted((project_folder() / "training" / "configs").glob("*.yaml"))}
    if name not in known:
        raise FileNotFoundError(f"there is no configuration file {name}, and by name there are {', '.join(known)}")
    return known[name]


def _installed_folders() -> list[Path]:
    """Where the installer says that it put the programs; no file list, no folder."""
    try:
        files = metadata.files("speaq_hf") or []
    except metadata.PackageNotFoundError:
        return []
    marks = [file for file in files if file.as_posix().endswith(f"{_INSTALLED}/{_MARKS[0]}")]
    return [Path(mark.locate()).resolve().parent for mark in marks]
