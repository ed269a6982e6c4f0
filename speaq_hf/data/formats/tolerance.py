# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What a reader does about an entry that it cannot use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np

from ..defects import DefectLog, Place


NOTED = np.iinfo(np.int64).min  # stands for a class that was noted as a defect
_UNGUARDED = nullcontext()


class Tolerance:
    """Strict readers raise at the first mistake; tolerant ones note it and go on.

    Args:
        log: Takes the mistakes; None: strict.
    """

    def __init__(self, log: DefectLog | None = None) -> None:
        self._log = log

    @property
    def is_strict(self) -> bool:
        """Whether the first mistake ends the reading."""
        return self._log is None

    def of(self, kind: str, place: Place) -> AbstractContextManager[None]:
        """Guards the reading of one thing, which is left out if it fails with a ValueError or FileNotFoundError.

        Args:
            kind: Of the defect that a failure is.
            place: Where the thing is; what the error says of it is left out of the defect's message.
        """
        return _UNGUARDED if self._log is None else self._noted(kind, place)

    @contextmanager
    def _noted(self, kind: str, place: Place) -> Iterator[None]:
        try:
            yield
        except (ValueError, FileNotFoundError) as error:
            self._log.add_at(kind, place, str(error).removeprefix(str(place)).lstrip(":, "))


STRICT = Tolerance()
