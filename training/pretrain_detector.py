# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Train a DETR detector on the boxes of a scene graph data set, for `model.detr` of train.py to start from.

accelerate launch training/pretrain_detector.py --config training/configs/detr_tiny.yaml [--training.max_steps 10]
"""

import sys
from collections.abc import Sequence
from pathlib import Path


# Run as a script, Python looks for modules in this file's folder first, where `evaluate` is not the library.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from training import train  # noqa: E402
from training.arguments import RunArguments  # noqa: E402
from training.configuration_file import DETECTOR_SECTIONS  # noqa: E402
from training.detection_task import DetectionTask  # noqa: E402
from training.trainer import Trainer  # noqa: E402


def parse_arguments(words: Sequence[str]) -> RunArguments:
    """Command line to arguments."""
    return train.parse_arguments(words, DETECTOR_SECTIONS, "Train a detector.", "training/configs/detr_vg.yaml")


def build_trainer(words: Sequence[str]) -> Trainer:
    """Everything that can go wrong because of the arguments or the files, before any step is taken."""
    return train.build_trainer(parse_arguments(words), DetectionTask)


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    train.run(build_trainer, words)


if __name__ == "__main__":
    main()
