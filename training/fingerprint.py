# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Whether two data sets are the same, as far as their annotations tell."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from speaq_hf.data import object_names, predicate_names


def data_fingerprint(dataset: Dataset) -> str:
    """A short text that depends on the vocabularies and, row by row, on image numbers, boxes, classes and relations.

    It is the same for the same data in another format, folder or process. The images themselves are not read.

    Args:
        dataset: Rows with `image_id`, `objects` and `relations`.
    """
    digest = hashlib.sha256(repr((object_names(dataset), predicate_names(dataset))).encode())
    table = dataset.select_columns(["image_id", "objects", "relations"]).with_format("arrow")[:]
    for name in sorted(table.column_names):
        for values in _leaves(table[name].combine_chunks()):
            digest.update(values.tobytes())
    return digest.hexdigest()[:16]


def _leaves(values: pa.Array) -> Iterator[np.ndarray]:
    """Numbers inside lists and structs, and the lengths of the lists."""
    if pa.types.is_struct(values.type):
        for name in sorted(field.name for field in values.type):
            yield from _leaves(pc.struct_field(values, name))
    elif pa.types.is_nested(values.type):
        yield np.asarray(pc.list_value_length(values), dtype=np.int64)
        yield from _leaves(pc.list_flatten(values))
    else:
        # Formats store the same numbers in types of other widths.
        yield np.asarray(values).astype(np.float32 if pa.types.is_floating(values.type) else np.int64)
