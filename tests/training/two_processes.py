"""Started by `torchrun` in several processes: gradients of one forward pass, with each process holding its share.

python -m torch.distributed.run --nproc_per_node 2 tests/training/two_processes.py OUTPUT
"""

import sys

import torch
from accelerate import Accelerator
from torch import nn

from speaq_hf import SpeaQForSceneGraphGeneration
from tests.helpers import random_label, tiny_config
from training.arguments import DetectorArguments
from training.detector import build_detector


# Images without relations, unequal counts and weights: the first two images together have 5 relations, the others 1.
OBJECTS, RELATIONS, WEIGHTS = (4, 2, 5, 4), (4, 1, 0, 1), (1.0, 0.5, 0.25, 2.0)
MODELS = ("static", "dynamic", "detector")
SIZES = ((64, 96), (40, 64), (64, 33), (1, 96))


def make_batch(images: slice) -> dict:
    """The same four images in every process, cut to its share."""
    pixels = torch.randn(4, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    mask = torch.zeros(4, 64, 96, dtype=torch.int64)
    for image, (height, width) in enumerate(SIZES):
        mask[image, :height, :width] = 1
    labels = [
        random_label(objects, relations, seed=seed, loss_weight=torch.tensor(weight))
        for seed, (objects, relations, weight) in enumerate(zip(OBJECTS, RELATIONS, WEIGHTS, strict=True))
    ]
    return {"pixel_values": pixels[images], "pixel_mask": mask[images], "labels": labels[images]}


def deviation_from_weighted_sum(accelerator: Accelerator) -> float:
    """How far the gradient of a mixed batch is from the weighted sum of its images' gradients, relative to its norm.

    In float64, accumulated over two forward passes. Each image's gradient is that of the batch with the other weights 0.
    """
    share = 4 // accelerator.num_processes
    start = accelerator.process_index * share
    halves = [slice(start, start + share // 2), slice(start + share // 2, start + share)]

    def gradient(*weights: float) -> torch.Tensor:
        torch.manual_seed(0)
        model = accelerator.prepare(SpeaQForSceneGraphGeneration(tiny_config()).double())
        for images in halves:
            batch = make_batch(images)
            for label, weight in zip(batch["labels"], weights[images], strict=True):
                label["loss_weight"] = torch.tensor(weight, dtype=torch.float64)
            accelerator.backward(model(**batch).loss)
        parameters = accelerator.unwrap_model(model).parameters()
        return torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])

    weights = (1.0, 0.5, 0.25, 2.0)
    mixed = gradient(*weights)
    parts = [gradient(*(float(image == other) for other in range(4))) for image in range(4)]
    weighted = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    return float((mixed - weighted).norm() / mixed.norm())


def build_model(name: str) -> nn.Module:
    """A scene graph model with the assignment of that name, or a detector for it to start from."""
    torch.manual_seed(0)
    if name != "detector":
        return SpeaQForSceneGraphGeneration(tiny_config(assignment=name))
    return build_detector(DetectorArguments(), tiny_config())


def loss_and_gradients(accelerator: Accelerator, name: str) -> dict[str, torch.Tensor]:
    """Loss of all four images and its gradients, computed by the processes together."""
    model = accelerator.prepare(build_model(name))
    share = 4 // accelerator.num_processes
    batch = make_batch(slice(accelerator.process_index * share, (accelerator.process_index + 1) * share))
    loss = model(**batch).loss
    accelerator.backward(loss)
    named = accelerator.unwrap_model(model).named_parameters()
    gradients = {name: parameter.grad for name, parameter in named if parameter.grad is not None}
    return {"loss": accelerator.reduce(loss.detach(), reduction="mean")} | gradients


if __name__ == "__main__":
    accelerator = Accelerator(cpu=True)
    result = {name: loss_and_gradients(accelerator, name) for name in MODELS}
    result["deviation"] = deviation_from_weighted_sum(accelerator)
    if accelerator.is_main_process:
        torch.save(result, sys.argv[1])
    accelerator.end_training()
