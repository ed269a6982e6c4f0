# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Makes transformers know the models of this package, without importing either before somebody uses them.

The Auto classes and the pipelines take classes, not names, and a model's class needs seconds of imports. A program that
imports speaq_hf and wants something else of it, such as `speaq --help`, should not wait for that.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


# Whoever looks for a model, configuration, image processor or pipeline has imported this module.
_AUTO_CLASSES = "transformers.models.auto.configuration_auto"


class _Imports(threading.local):
    """How deep a thread is in imports that are followed."""

    depth = 0


class RunAfterImport(MetaPathFinder):
    """Calls a function once, when a module has been imported, together with all that is being imported around it.

    Python's own order would be too early: parts of transformers import the Auto classes while they are themselves
    half imported, and cannot be imported from then. So the function is called at the end of the outermost import of
    the module's top-level package.

    Args:
        module: Full name of the module.
        function: What to call.
    """

    def __init__(self, module: str, function: Callable[[], None]) -> None:
        self.module = module
        self.function = function
        self._package = module.split(".")[0] + "."
        self._imports = _Imports()

    def install(self) -> None:
        """Waits for the import; if it has already happened, calls the function at once."""
        sys.meta_path.insert(0, self)
        self._run_when_due()

    def remove(self) -> None:
        """Waits no longer. May be called again."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Finds a module as the other finders do, and follows its import."""
        if not fullname.startswith(self._package):
            return None
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in others if spec is not None), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader.exec_module = self._followed(spec.loader.exec_module)
        return spec

    def _followed(self, execute: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
        def exec_module(module: ModuleType) -> None:
            self._imports.depth += 1
            try:
                execute(module)
            finally:
                self._imports.depth -= 1
            self._run_when_due()

        return exec_module

    def _run_when_due(self) -> None:
        if self._imports.depth == 0 and self.module in sys.modules and self in sys.meta_path:
            self.remove()
            self.function()


def register_now() -> None:
    """Registers models, image processors and pipeline."""
    _waiting.remove()
    # Not above: the models register themselves when they are imported.
    auto = importlib.import_module(".models.auto", __package__)
    task = importlib.import_module(".models.pipeline_task", __package__)
    auto.register_auto_classes()
    task.register_pipeline()


def register_when_needed() -> None:
    """Does so as soon as somebody imports the Auto classes of transformers."""
    _waiting.install()


_waiting = RunAfterImport(_AUTO_CLASSES, lambda: importlib.import_module(".models", __package__))
