# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The files of a saved model, in a folder or on the Hub, of which only what is asked for is read."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from huggingface_hub import get_local_safetensors_metadata, get_safetensors_metadata, try_to_load_from_cache
from huggingface_hub.errors import NotASafetensorsRepoError, OfflineModeIsEnabled, SafetensorsParsingError
from huggingface_hub.utils import SafetensorsRepoMetadata
from transformers.utils import cached_file


_CONFIG, _PROCESSOR, _CARD = "config.json", "preprocessor_config.json", "README.md"
_WEIGHTS, _WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class Weights:
    """What the headers of the weight files say.

    Args:
        num_values: Numbers by data type in the notation of safetensors ("F32"), buffers included.
        num_bytes: Size of all tensors.
        num_files: Number of files.
    """

    num_values: dict[str, int]
    num_bytes: int
    num_files: int


@dataclass(frozen=True)
class CheckpointFiles:
    """A model as `save_pretrained` writes it.

    Args:
        name: Folder or Hub name.
        revision: Branch, tag or commit on the Hub.
    """

    name: str
    revision: str | None = None

    @classmethod
    def of(cls, name: str | os.PathLike, revision: str | None = None) -> CheckpointFiles:
        """The model of a folder, a run's folder (its `final`, else its `best` model) or a Hub repository.

        Raises:
            FileNotFoundError: The folder exists but holds no model, or there is none and no repository is named so.
        """
        path = Path(name).expanduser()
        if not path.is_dir():
            if path.exists() or str(name).count("/") > 1 or str(name).startswith((".", "~", "/")):
                raise FileNotFoundError(f"there is no folder {name}; a model on the Hub is written owner/name")
            return cls(str(name), revision)
        for folder in (path, path / "final", path / "best"):
            if (folder / _CONFIG).is_file():
                return cls(str(folder), revision)
        raise FileNotFoundError(f"{path} holds no model: neither {_CONFIG} nor a run's folder final or best")

    @property
    def folder(self) -> Path | None:
        """None for a model on the Hub."""
        return Path(self.name) if Path(self.name).is_dir() else None

    @cached_property
    def config(self) -> dict[str, Any]:
        """The fields of `config.json`.

        Raises:
            OSError: There is no such model or file, or the Hub does not answer.
            ValueError: It is not JSON.
        """
        return self.read_json(_CONFIG, required=True)

    @cached_property
    def processor(self) -> dict[str, Any]:
        """The fields of `preprocessor_config.json`; empty if there is none."""
        return self.read_json(_PROCESSOR) or {}

    @cached_property
    def card(self) -> str | None:
        """The text of `README.md`, None if there is none."""
        path = self.find(_CARD)
        return None if path is None else path.read_text(encoding="utf-8", errors="replace")

    @cached_property
    def weights(self) -> Weights | None:
        """Read without the weights themselves; None if there are none in safetensors.

        Raises:
            OSError: The Hub does not answer.
            ValueError: A file is damaged.
        """
        try:
            found = self._read_headers()
        except NotASafetensorsRepoError:
            return None
        except SafetensorsParsingError as error:
            raise ValueError(f"{self.name}: the weights cannot be read: {error}") from error
        ends = [max((t.data_offsets[1] for t in f.tensors.values()), default=0) for f in found.files_metadata.values()]
        return Weights(dict(found.parameter_count), sum(ends), len(ends))

    def read_json(self, file: str, required: bool = False) -> dict[str, Any] | None:
        """A JSON file with an object; None if it is missing and not required.

        Raises:
            OSError: It is required and missing, or the Hub does not answer.
            ValueError: It is not JSON.
        """
        path = self.find(file, required)
        if path is None:
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not a JSON file: {error}") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path} must hold an object, got {type(content).__name__}")
        return content

    def find(self, file: str, required: bool = False) -> Path | None:
        """Where a file of the model lies on this machine, fetched from the Hub if need be; None if it is missing.

        Raises:
            OSError: It is required and missing, there is no such repository, or the Hub does not answer.
        """
        if self.folder is not None:
            path = self.folder / file
            if required and not path.is_file():
                raise FileNotFoundError(f"there is no file {path}")
            return path if path.is_file() else None
        found = cached_file(
            self.name,
            file,
            revision=self.revision,
            _raise_exceptions_for_missing_entries=required,
            _raise_exceptions_for_connection_errors=required,
        )
        return None if found is None else Path(found)

    def _read_headers(self) -> SafetensorsRepoMetadata:
        if self.folder is not None:
            return get_local_safetensors_metadata(self.folder)
        try:
            return get_safetensors_metadata(self.name, revision=self.revision)
        except (OfflineModeIsEnabled, httpx.TransportError) as error:
            cached = self._cached_weights()
            if cached is None:
                raise OSError(
                    f"{self.name}: the Hub does not answer ({error}), and the weights are not in the cache"
                ) from error
            return get_local_safetensors_metadata(cached)

    def _cached_weights(self) -> Path | None:
        """The folder of a downloaded model."""
        for file in (_WEIGHTS, _WEIGHTS_INDEX):
            found = try_to_load_from_cache(self.name, file, revision=self.revision)
            if isinstance(found, str):
                return Path(found).parent
        return None
