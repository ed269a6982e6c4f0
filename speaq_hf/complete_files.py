# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Files that are complete or not there: they are written under another name, and get their own in the end."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TypeVar


_Writer = TypeVar("_Writer", bound="CompleteFileWriter")


def unfinished_name(path: Path) -> Path:
    """Where a file is written that `complete_file` makes."""
    return path.with_name(path.name + ".tmp")


@contextmanager
def complete_file(path: str | os.PathLike) -> Iterator[Path]:
    """A place for what shall become a file, if the block ends well; else nothing of it remains.

        with complete_file("graph.png") as unfinished:
            figure.savefig(unfinished, format="png")

    Args:
        path: The file, in a folder that exists; one that is there is replaced in the end.

    Yields:
        The file to write.
    """
    path = Path(path)
    unfinished = unfinished_name(path)
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


class CompleteFileWriter(ABC):
    """Writes a file piece by piece, in a `with` block: its end closes the file, an error in it discards what was written."""

    @abstractmethod
    def close(self) -> None:
        """Finishes the file and gives it its name."""

    @abstractmethod
    def discard(self) -> None:
        """Removes what was written."""

    def __enter__(self: _Writer) -> _Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
