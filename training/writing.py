# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What goes wrong when a run writes its files, a full disk above all."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


_FULL = (errno.ENOSPC, errno.EDQUOT)
# A disk with less is full: the writers of PyTorch and safetensors do not say why they fail.
_LEFT_OVER = 2**20


@contextmanager
def naming_target(target: Path) -> Iterator[None]:
    """Errors of writing say what was to be written, and what to do if the disk is full.

    Args:
        target: A file or folder that is written inside the `with` block; the folder that holds it exists.

    Raises:
        OSError: Instead of any other exception.
    """
    try:
        yield
    # What the writers of PyTorch and safetensors raise is no OSError.
    except Exception as error:
        reason = str(error)
        if _is_disk_full(error, target.parent):
            reason = (
                f"the disk of {target.parent} is full. Make room on it; then --training.resume_from auto goes on from the "
                "last checkpoint, which is intact if there was one."
            )
        raise OSError(f"cannot write {target}: {reason}") from error


def _is_disk_full(error: BaseException | None, folder: Path) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__ or error.__context__
    try:
        return shutil.disk_usage(folder).free < _LEFT_OVER
    except OSError:
        return False
