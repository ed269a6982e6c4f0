# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What there is to compute with: versions, extras of the package, devices and memory."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from typing import Any

import torch
import transformers

from .. import __version__


_LIBRARIES = ("huggingface_hub", "safetensors", "numpy", "scipy", "pillow", "torchvision")
_OURS = "speaq_hf"


def system_report() -> dict[str, Any]:
    """Versions, extras, devices, memory and threads, ready for JSON."""
    return {
        "versions": _versions(),
        "extras": {name: missing_libraries(name) for name in extras()},
        "devices": [device_report(device) for device in _devices()],
        "memory": _memory(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def extras() -> list[str]:
    """The extras that the package declares; none if it runs from a clone that is not installed."""
    try:
        return metadata.metadata(_OURS).get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        return []


def missing_libraries(extra: str) -> list[str]:
    """What an extra needs that is not installed, as pip would be told."""
    needed = [requirement for requirement in metadata.requires(_OURS) or () if _belongs_to(requirement, extra)]
    return [requirement.partition(";")[0].strip() for requirement in needed if not _is_installed(requirement)]


def device_report(device: torch.device) -> dict[str, Any]:
    """Type, name and memory in bytes (None: not known) of a device."""
    if device.type == "cpu":
        return {"type": "cpu", "name": platform.processor() or platform.machine(), "memory": _memory()}
    module = torch.get_device_module(device)
    properties = module.get_device_properties(device) if hasattr(module, "get_device_properties") else None
    return {
        "type": str(device),
        "name": getattr(properties, "name", device.type),
        "memory": getattr(properties, "total_memory", None),
    }


def _versions() -> dict[str, str | None]:
    """None: not installed."""
    versions = {"python": platform.python_version(), _OURS: __version__, "torch": torch.__version__}
    return versions | {"transformers": transformers.__version__} | {name: _version(name) for name in _LIBRARIES}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _belongs_to(requirement: str, extra: str) -> bool:
    return re.search(rf"""extra == ["']{re.escape(extra)}["']""", requirement) is not None


def _is_installed(requirement: str) -> bool:
    """Whether there is any version; that it is the wanted one is pip's to check."""
    return _version(re.match(r"[\w.-]+", requirement).group()) is not None


def _devices() -> list[torch.device]:
    """The CPU, then all accelerators."""
    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    others = (
        [] if kind is None else [torch.device(kind.type, index) for index in range(torch.accelerator.device_count())]
    )
    return [torch.device("cpu"), *others]


def _memory() -> int | None:
    """Bytes of this machine, None if it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None
