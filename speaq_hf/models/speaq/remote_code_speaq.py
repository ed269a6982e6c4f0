# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The code that travels with a checkpoint, so that it loads with `trust_remote_code=True` where speaq_hf is missing.

Every saved model and processor gets the modules of this folder that it needs. Where speaq_hf is imported its own
classes are used and the copies are not looked at.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_relative_import_files
from transformers.utils import TRANSFORMERS_DYNAMIC_MODULE_NAME


_FOLDER = Path(__file__).parent

# Without speaq_hf there is no `AutoModelForSceneGraphGeneration`: of the Auto classes that everybody has, the one for
# detectors is nearest. The custom name tells `get_class_from_dynamic_module` where the class is.
_MODEL_CLASSES = {
    "AutoConfig": "configuration_speaq.SpeaQConfig",
    "AutoModel": "modeling_speaq.SpeaQModel",
    "AutoModelForObjectDetection": "modeling_speaq.SpeaQForSceneGraphGeneration",
    "AutoModelForSceneGraphGeneration": "modeling_speaq.SpeaQForSceneGraphGeneration",
}
_PROCESSOR_CLASSES = {
    "pil": "image_processing_speaq.SpeaQImageProcessorPil",
    "torchvision": "image_processing_speaq.SpeaQImageProcessor",
}
_PIPELINE_CLASS = "pipeline_speaq.SpeaQSceneGraphPipeline"
_PIPELINES = {
    "scene-graph-generation": {"impl": _PIPELINE_CLASS, "pt": ["AutoModelForObjectDetection"], "type": "image"}
}


def model_entries() -> dict[str, Any]:
    """Entries of `config.json` that name the classes of the code beside it; without those whose module is not here."""
    classes = {name: reference for name, reference in _MODEL_CLASSES.items() if _is_here(reference)}
    return {"auto_map": classes} | ({"custom_pipelines": _PIPELINES} if _is_here(_PIPELINE_CLASS) else {})


def processor_entries() -> dict[str, Any]:
    """Entries of `preprocessor_config.json`, likewise; which of the two classes is taken depends on the machine."""
    return {"auto_map": {"AutoImageProcessor": dict(_PROCESSOR_CLASSES)}}


def add_entries(saved: Mapping[str, Any], entries: Mapping[str, Any]) -> dict[str, Any]:
    """`saved` with entries of this module; those that name somebody else's classes stay."""
    merged = {}
    for name, entry in entries.items():
        old = saved.get(name) or {}
        merged[name] = {**old, **entry, **_of_others(old)}
    return {**saved, **merged}


def drop_model_entries(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a saved configuration as a configuration holds them.

    The entries describe the files beside `config.json`, and are written anew with them. transformers needs them where
    it loads those files; in speaq_hf they would make it ask for `trust_remote_code=True` before it starts a pipeline.
    """
    if __name__.startswith(f"{TRANSFORMERS_DYNAMIC_MODULE_NAME}."):
        return dict(fields)
    others = {name: _of_others(fields.get(name)) for name in ("auto_map", "custom_pipelines")}
    return {name: others.get(name, value) for name, value in fields.items() if others.get(name, True)}


def _of_others(entries: Mapping[str, Any] | None) -> dict[str, Any]:
    """Entries that name classes of somebody else."""
    own = (*_MODEL_CLASSES.values(), *_PROCESSOR_CLASSES.values(), _PIPELINE_CLASS)
    others = {}
    for name, entry in (entries or {}).items():
        references = entry.values() if isinstance(entry, Mapping) else [entry]
        if not any(reference in own for reference in references):
            others[name] = entry
    return others


def copy_model_code(folder: str | os.PathLike) -> None:
    """Writes the modules of configuration, models and pipeline, and all that they import from here, to a checkpoint."""
    _copy_modules([*_MODEL_CLASSES.values(), _PIPELINE_CLASS], folder)


def copy_processor_code(folder: str | os.PathLike) -> None:
    """Writes the module of the image processors, and all that it imports from here, to a checkpoint."""
    _copy_modules(_PROCESSOR_CLASSES.values(), folder)


def _file(reference: str) -> Path:
    """The file of a class that is given as "module.Class"."""
    return _FOLDER / f"{reference.split('.')[0]}.py"


def _is_here(reference: str) -> bool:
    # Where this file itself came with a checkpoint, only the modules that were needed so far lie beside it.
    return _file(reference).exists()


def _copy_modules(references: Iterable[str], folder: str | os.PathLike) -> None:
    needed = {_file(reference) for reference in references if _is_here(reference)}
    needed |= {Path(name) for file in needed for name in get_relative_import_files(file)}
    for file in needed:
        written = Path(folder) / f".{file.name}.tmp"
        shutil.copyfile(file, written)
        os.replace(written, Path(folder) / file.name)
