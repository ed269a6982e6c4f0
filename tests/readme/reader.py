"""Runs the README's blocks of Python one after the other in one process, as in a notebook."""

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from .blocks import Block


_DONE = "\x00done "
# Reads one JSON line per block and answers with the mark; what the blocks print comes before it.
_LOOP = f"""
import json, sys, traceback
names = {{"__name__": "__main__"}}
for request in sys.stdin:
    code, line = json.loads(request)
    failed = False
    try:
        exec(compile("\\n" * (line - 1) + code, "README.md", "exec"), names)
    except BaseException:
        failed = True
        traceback.print_exc(file=sys.stdout)
    print({_DONE!r} + str(int(failed)), flush=True)
"""


class Interpreter:
    """A Python that keeps its names from block to block.

    Args:
        folder: Where it runs.
    """

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LOOP],
            cwd=folder,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, block: Block) -> str:
        """Runs a block.

        Returns:
            What it printed.

        Raises:
            RuntimeError: It raised an exception; the message has the line in the README.
        """
        self._process.stdin.write(json.dumps([block.code, block.line]) + "\n")
        self._process.stdin.flush()
        printed = []
        for line in self._process.stdout:
            if line.startswith(_DONE):
                if line.strip().endswith("1"):
                    raise RuntimeError(f"README.md:{block.line} failed:\n{''.join(printed)[-4000:]}")
                return "".join(printed)
            printed.append(line)
        raise RuntimeError(f"README.md:{block.line} ended Python:\n{''.join(printed)[-4000:]}")

    def __enter__(self) -> "Interpreter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
