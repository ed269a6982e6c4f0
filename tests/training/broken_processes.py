"""Started by `torchrun` in two processes: training in which the second one has a broken image, then a broken weight.

python -m torch.distributed.run --nproc_per_node 2 tests/training/broken_processes.py --config FILE …
"""

import os

import torch

from training import train
from training.optimization_step import Batch, OptimizationStep


plain = OptimizationStep._forward


def break_numbers(step: OptimizationStep, batch: Batch) -> torch.Tensor:
    """Makes the second forward pass see a broken image and the third one a broken weight."""
    number = step.scheduler.last_epoch + 1
    if os.environ["RANK"] == "1" and number == 2:
        batch["pixel_values"][0, 0, 0, 0] = torch.nan
    if os.environ["RANK"] == "1" and number == 3:
        next(parameter for parameter in step.model.parameters() if parameter.requires_grad).data[0] = torch.nan
    return plain(step, batch)


if __name__ == "__main__":
    OptimizationStep._forward = break_numbers
    train.main()
