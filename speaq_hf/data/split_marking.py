# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Whether the array `split` of a Visual Genome file names its validation images.

Visual Genome's own file has two flags only, and its first training images validate. A file with this mark is split by its
flags, also when it has no validation images.
"""

from __future__ import annotations

import h5py


_ATTRIBUTE = "validation_flag"
_VALIDATION_FLAG = 1


def mark_validation_flag(file: h5py.File) -> None:
    """Says in the file that its validation images are those flagged 1, and no others."""
    file.attrs[_ATTRIBUTE] = _VALIDATION_FLAG


def names_validation_images(file: h5py.File) -> bool:
    """Whether the file says so."""
    return _ATTRIBUTE in file.attrs
