# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Packages whose names are imported when they are first used, so that importing a package costs nothing."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Makes the functions that Python asks for the names of a module.

    Args:
        package: Its `__name__`.
        modules: Public name -> the module below the package that defines it.

    Returns:
        The package's `__getattr__` and `__dir__`.

    Example:
        >>> get, names = lazy_names("os", {"join": "path"})
        >>> get("join")("a", "b"), names()
        ('a/b', ['join'])
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    def names() -> list[str]:
        return sorted(modules)

    return get, names
