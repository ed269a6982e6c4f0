# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""How long importing speaq_hf takes, beside what it cannot do without: torch and transformers.

python -m benchmarks.import_time [--repeats N]

Every measurement is a fresh process, and all take turns. `import transformers` alone loads almost nothing, since transformers
imports its classes when they are used, so the comparison is made with the classes that every model needs, too. Run it
with the Python of an environment without extras to see what a plain `pip install` has.
"""

import argparse
import statistics
import subprocess
import sys
import time


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


def seconds(arguments: list[str]) -> float:
    """Wall-clock seconds of a Python process.

    Raises:
        subprocess.CalledProcessError: It fails.
    """
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def main(repeats: int) -> None:
    """Prints the median and the smallest time of every program.

    Args:
        repeats: How often each is run, after a first time that fills the caches of the system.
    """
    rounds = [{name: seconds(arguments) for name, arguments in PROGRAMS.items()} for _ in range(repeats + 1)][1:]
    print(f"{'seconds of ' + str(repeats) + ' processes':40} median  smallest")
    for name in PROGRAMS:
        times = [times[name] for times in rounds]
        print(f"{name:40} {statistics.median(times):6.2f} {min(times):9.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="processes per program (default 5)")
    main(parser.parse_args().repeats)
