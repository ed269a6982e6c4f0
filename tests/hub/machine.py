"""Computers that know a Hub: fresh processes with a Hugging Face folder of their own."""

import os
import sys
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock


_SECONDS = 120


def environment(endpoint: str, token: str | None, home: Path) -> dict[str, str]:
    """Environment variables of a process that uses a Hub; `huggingface_hub` reads them when it is imported.

    Args:
        endpoint: Address of the Hub.
        token: None: nobody is logged in.
        home: The folder of Hugging Face's caches.
    """
    unwanted = ("HF_", "HUGGING_FACE_", "TRANSFORMERS_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(unwanted) and not name.lower().endswith("_proxy")
    }
    own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return kept | own | ({} if token is None else {"HF_TOKEN": token})


class Machine:
    """A process that runs functions of modules, one after the other.

    Args:
        connection: Where it takes them from.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """The function's result; it and the arguments can be pickled.

        Raises:
            RuntimeError: The function raised an exception; the message is its traceback.
        """
        self._connection.send((function, arguments, keywords))
        if not self._connection.poll(_SECONDS):
            raise TimeoutError(f"{function.__name__} takes more than {_SECONDS} s")
        result, failure = self._connection.recv()
        if failure is not None:
            raise RuntimeError(failure)
        return result


class NotInstalled:
    """Finds no package of some names, as if they were not installed.

    Args:
        names: Of the packages.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@contextmanager
def start(
    endpoint: str, token: str | None, home: Path, without: Collection[str] = (), also: Path | None = None
) -> Iterator[Machine]:
    """Runs a machine until the block ends.

    Args:
        endpoint: Address of its Hub.
        token: Of its user; None: nobody is logged in.
        home: The folder of Hugging Face's caches.
        without: Packages that are not installed there.
        also: Folder with packages that are installed there only.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, without, also))
    with mock.patch.dict(os.environ, environment(endpoint, token, home), clear=True):
        process.start()
    theirs.close()
    try:
        yield Machine(ours)
    finally:
        ours.close()
        process.join(_SECONDS)
        process.kill()


def message_of(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> str:
    """Type and message of the exception that a call raises, for `Machine.run`."""
    try:
        function(*arguments, **keywords)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError(f"{function.__name__} raised nothing")


def _work(connection: Connection, without: Collection[str], also: Path | None) -> None:
    sys.meta_path.insert(0, NotInstalled(without))
    sys.path[:0] = [] if also is None else [str(also)]
    while True:
        try:
            function, arguments, keywords = connection.recv()
        except EOFError:  # the block is over, and there is nothing to tidy up
            os._exit(0)
        try:
            answer = function(*arguments, **keywords), None
        except Exception:
            answer = None, traceback.format_exc()
        connection.send(answer)
