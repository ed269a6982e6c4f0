# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""How long importing speaq_hf takes, beside what it cannot do without: torch and transformers.

python -m benchmarks.import_time [--repeats 5] [--output FILE.json]

Every measurement is a fresh process, and all take turns. `import transformers` alone loads almost nothing, since transformers
imports its classes when they are used, so the comparison is made with the classes that every model needs, too. Run it
with the Python of an environment without extras to see what a plain `pip install` has.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.comparison import as_json, compare, environment, say, timing_table, write_report


_CLASSES = "from transformers import AutoConfig, AutoImageProcessor, AutoModel, Pipeline, PreTrainedModel"
_NAMES = (
    "from speaq_hf import SceneGraph, SceneGraphGenerationPipeline, SpeaQForSceneGraphGeneration, SpeaQImageProcessor"
)
_PREDICTION = (
    "import numpy; from transformers import pipeline; import speaq_hf; "
    "pipeline('scene-graph-generation')(numpy.zeros((64, 64, 3), numpy.uint8))"
)
PROGRAMS = {
    "nothing": ["-c", ""],
    "import speaq_hf": ["-c", "import speaq_hf"],
    "speaq --help": ["-m", "speaq_hf.cli", "--help"],
    "torch and transformers": ["-c", "import torch, transformers"],
    "torch, transformers and speaq_hf": ["-c", "import torch, transformers, speaq_hf"],
    "classes of transformers": ["-c", f"import torch; {_CLASSES}"],
    "classes of transformers and of speaq_hf": ["-c", f"import torch; {_CLASSES}; {_NAMES}"],
    "a prediction of the packaged model": ["-c", _PREDICTION],
}


def run(arguments: list[str]) -> None:
    """A Python process.

    Raises:
        subprocess.CalledProcessError: It fails.
    """
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="Processes per program.")
    parser.add_argument("--quick", action="store_true", help="The fastest two programs, once.")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args(words)
    repeats = 1 if arguments.quick else arguments.repeats
    names = list(PROGRAMS)[:2] if arguments.quick else list(PROGRAMS)
    # The rounds before those that count fill the caches of the system.
    timings = compare({name: partial(run, PROGRAMS[name]) for name in names}, repeats)
    say(timing_table(timings, names[-1]))
    write_report({"environment": environment(), "processes": as_json(timings, names[-1])}, arguments.output)


if __name__ == "__main__":
    main()
