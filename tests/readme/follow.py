"""Does what the README says, block by block, as somebody who has just cloned the project.

python -m tests.readme.follow

The clone, the folder of Hugging Face's caches and the computer are fresh, and nothing outside it is asked: the Hub is served on the
loopback. What takes hours is cut short by `shortened.sh`, which says how; what a reader must have (photos, Visual Genome, published
weights) is made up by `belongings.py`. The environment is that of the Python that runs this.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

from ..hub.machine import environment
from ..hub.server import serve
from .belongings import provide
from .blocks import Block, read_blocks
from .reader import Interpreter


ROOT = Path(__file__).parents[2]
logger = logging.getLogger(__name__)
PRELUDE = Path(__file__).parent / "shortened.sh"


def follow(clone: Path, home: Path) -> tuple[int, list[str]]:
    """Runs every block of a clone's README that is Python or shell, in order, also after one has failed.

    Args:
        clone: Folder of the clone.
        home: Folder for Hugging Face's caches.

    Returns:
        How many blocks ran, and what those that failed printed.
    """
    blocks = [block for block in read_blocks(clone / "README.md") if block.language in ("bash", "python")]
    failures = []
    with (
        serve() as hub,
        mock.patch.dict(os.environ, reader_environment(clone, home, hub.endpoint, hub.token), clear=True),
    ):
        provide(clone)
        with Interpreter(clone) as python:
            for block in blocks:
                try:
                    run_block(block, clone, python)
                except RuntimeError as error:
                    failures.append(str(error))
    return len(blocks), failures


def run_block(block: Block, clone: Path, python: Interpreter) -> None:
    """Writes a block to the file it belongs to, if any, and runs it.

    Raises:
        RuntimeError: It failed; the message names its line and holds what it printed.
    """
    logger.info("README.md:%d", block.line)
    if block.file:
        (clone / block.file).write_text(block.code)
    if block.file and block.file.startswith("test_"):
        run_shell(replace(block, code=f"python -m pytest {block.file}"), clone)
    elif block.language == "python":
        python.run(block)
    else:
        run_shell(block, clone)


def reader_environment(clone: Path, home: Path, endpoint: str, token: str) -> dict[str, str]:
    """The programs of this Python first, the clone's code before what is installed, one thread."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return environment(endpoint, token, home) | {
        "PATH": path,
        "PYTHONPATH": str(clone),
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "MPLBACKEND": "agg",
    }


def run_shell(block: Block, clone: Path) -> None:
    """Runs a block of shell in the clone."""
    script = f"source {PRELUDE}\n{block.code}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=clone,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise RuntimeError(
            f"README.md:{block.line} ended with {done.returncode}:\n{block.code}\n{done.stdout[-4000:]}"
        )


def main() -> None:
    """Run the program."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "speaq_hf"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        num_blocks, failures = follow(clone, Path(folder) / "home")
    if failures:
        raise SystemExit("\n".join(failures) + f"\n{len(failures)} of {num_blocks} blocks failed")
    print(f"{num_blocks} blocks of the README ran")


if __name__ == "__main__":
    main()
