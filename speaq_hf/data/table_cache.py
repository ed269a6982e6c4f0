# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Tables made from annotation files, kept on disk: read once, then memory-mapped by every process."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import xxhash
from datasets import Dataset, NamedSplit


logger = logging.getLogger(__name__)

# Smaller annotation files are read faster than anyone could notice, and leave nothing behind.
MIN_BYTES = 16 * 2**20
_VERSION = 1  # of what the tables hold: raise it when the reader changes
_CHUNK = 2**24


def cached_dataset(
    files: Sequence[Path],
    options: Mapping[str, Any],
    build: Callable[[], Dataset],
    split: NamedSplit,
    folder: Path | None = None,
) -> Dataset:
    """The dataset that `build` makes from files, from disk if it was made before.

    It is made again when the content of a file or an option changes. Several processes may ask for it at once: each
    sees a whole table or none. A cache that cannot be written is done without.

    Args:
        files: What the dataset is made from. If all are small, or one is missing, nothing is cached.
        options: What else it depends on; JSON.
        build: Makes the dataset.
        split: Its name.
        folder: Where tables are kept; default a folder in the cache of `datasets`.
    """
    if not all(file.is_file() for file in files) or max(file.stat().st_size for file in files) < MIN_BYTES:
        return build()
    folder = folder or Path(datasets.config.HF_DATASETS_CACHE) / "speaq_hf"
    table = folder / f"{_fingerprint(files, options)}.arrow"
    if not table.is_file():
        dataset = build()
        if not _write(dataset, table):
            return dataset
    try:
        return Dataset.from_file(str(table), split=split)
    except (OSError, pa.ArrowInvalid) as error:
        logger.warning("%s cannot be read (%s) and is made again.", table, error)
        dataset = build()
        _write(dataset, table)
        return dataset


def _fingerprint(files: Sequence[Path], options: Mapping[str, Any]) -> str:
    state = xxhash.xxh3_128(json.dumps([_VERSION, dict(options)], sort_keys=True).encode())
    for file in files:
        status = file.stat()
        state.update(_content_hash(file, status.st_size, status.st_ctime_ns, status.st_ino))
    return state.hexdigest()


@lru_cache(maxsize=64)
def _content_hash(file: Path, *_status: int) -> bytes:
    """Hash of a file's bytes. The status is there to hash a file once per process, unless it was touched since."""
    state = xxhash.xxh3_128()
    with open(file, "rb") as handle:
        while chunk := handle.read(_CHUNK):
            state.update(chunk)
    return state.digest()


def _write(dataset: Dataset, target: Path) -> bool:
    """Write the table under a name of its own and rename it when it is complete; False if that is not possible."""
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(suffix=".tmp", dir=target.parent)
        table = dataset.data.table
        with os.fdopen(handle, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=1000)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # a shared cache serves all its users
        os.replace(temporary, target)
    except OSError as error:
        logger.warning("The prepared annotations cannot be kept in %s: %s", target.parent, error)
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        return False
    return True
