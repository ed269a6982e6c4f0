# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Train an arm of a study: `training/train.py`, with a log that also tells how relations are shared out among queries.

python training/experiments/train_arm.py --config training/experiments/scene_world.yaml [--training.seed 1]
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn


if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from training.experiments.assignment_observer import AssignmentObserver  # noqa: E402
from training.scene_graph_task import SceneGraphTask  # noqa: E402
from training.train import build_trainer, parse_arguments, run  # noqa: E402


class ObservedTask(SceneGraphTask):
    """Scene graph generation whose validations tell what `AssignmentObserver` saw, too. For one process."""

    def evaluate(self, model: nn.Module, accelerator: Accelerator) -> dict[str, Any]:
        """See `Task`."""
        observer = AssignmentObserver()
        results = self.measure(model, accelerator, observer)
        return results | observer.compute(self.config)


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    run(lambda words: build_trainer(parse_arguments(words), ObservedTask), words)


if __name__ == "__main__":
    main()
