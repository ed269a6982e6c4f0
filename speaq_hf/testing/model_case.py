# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""A model under test: its classes, a tiny configuration and inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from ..models.speaq.modeling_speaq import PREDICTIONS as PREDICTIONS


Batch = dict[str, Any]
# By name of the output, the shapes of a tuple of states, or of attention maps, for one batch.
StateShapes = Mapping[str, list[tuple[int, ...]]]


@dataclass(frozen=True)
class ModelCase:
    """What the common tests need to know about a model.

    Args:
        config: Returns a configuration of a network so small that a training step takes milliseconds, without dropout;
            keyword arguments replace its fields. It must have `num_labels`, `num_predicates` and the vocabularies
            `id2label` and `id2predicate`.
        base_class: The model without heads.
        head_class: The model with heads, which returns `PREDICTIONS` and, with labels, a loss.
        batch: Returns inputs for a configuration: `batch(config, images=2, size=(64, 96), canvas=(64, 96))`.
        states: Returns, for a configuration and a batch, the shapes of what `output_hidden_states` and
            `output_attentions` shall return, by name of the output. Nothing is expected when missing.
        lora_targets: Modules that get adapters, as `peft.LoraConfig` takes them.
        lora_trained: Modules that are trained and saved as a whole beside the adapters.
        canvases: Two sizes on which a picture of 64 x 64 pixels gives the same predictions, because what lies outside
            is hidden by the mask and beyond the reach of the backbone's cells. `None` where a backbone sees everything.
    """

    config: Callable[..., PreTrainedConfig]
    base_class: type[PreTrainedModel]
    head_class: type[PreTrainedModel]
    batch: Callable[..., Batch] | None = None
    states: Callable[[PreTrainedConfig, Batch], StateShapes] | None = None
    lora_targets: str | list[str] = "all-linear"
    lora_trained: tuple[str, ...] = ()
    canvases: tuple[tuple[int, int], tuple[int, int]] | None = ((160, 224), (256, 192))

    def build(self, model_class: type[PreTrainedModel] | None = None, **overrides: Any) -> PreTrainedModel:
        """A model in evaluation mode whose parameters all lie away from their initial values, which hide errors.

        Args:
            model_class: Class to build; the one with heads when missing.
            overrides: Fields of the configuration.

        Returns:
            The model; the same one each time.
        """
        torch.manual_seed(0)
        model = (model_class or self.head_class)(self.config(**overrides)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        return model

    def inputs(self, config: PreTrainedConfig, **sizes: Any) -> Batch:
        """Inputs without labels.

        Args:
            config: Configuration of the model.
            sizes: As for `batch`.

        Returns:
            Keyword arguments of the model.
        """
        batch = self.labelled(config, **sizes)
        return {name: value for name, value in batch.items() if name != "labels"}

    def labelled(self, config: PreTrainedConfig, **sizes: Any) -> Batch:
        """Inputs with labels; arguments as for `inputs`."""
        return (self.batch or image_batch)(config, **sizes)


def image_batch(
    config: PreTrainedConfig,
    images: int = 2,
    size: tuple[int, int] = (64, 96),
    canvas: tuple[int, int] | None = None,
    seed: int = 0,
) -> Batch:
    """Random images at the top left of a canvas, with their masks and labels.

    Args:
        config: Gives the numbers of classes and predicates.
        images: Number of images B.
        size: Height and width of the first image in pixels; each further image is 8 pixels lower and narrower.
        canvas: Height and width of the canvas; `size` when missing.
        seed: Of the random numbers.

    Returns:
        `pixel_values` `(B, 3, H, W)`, `pixel_mask` `(B, H, W)` and `labels`, one dict for each image.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = canvas or size
    pixel_values = torch.zeros(images, 3, height, width)
    pixel_mask = torch.zeros(images, height, width, dtype=torch.long)
    labels = []
    for image in range(images):
        h, w = max(size[0] - 8 * image, 8), max(size[1] - 8 * image, 8)
        pixel_values[image, :, :h, :w] = torch.randn(3, h, w, generator=generator)
        pixel_mask[image, :h, :w] = 1
        labels.append(_random_label(config, generator))
    return {"pixel_values": pixel_values, "pixel_mask": pixel_mask, "labels": labels}


def _random_label(config: PreTrainedConfig, generator: torch.Generator) -> dict[str, Tensor]:
    sizes = 0.1 + 0.4 * torch.rand(3, 2, generator=generator)
    centres = sizes / 2 + (1 - sizes) * torch.rand(3, 2, generator=generator)
    predicates = torch.randint(config.num_predicates, (2, 1), generator=generator)
    return {
        "class_labels": torch.randint(config.num_labels, (3,), generator=generator),
        "boxes": torch.cat((centres, sizes), dim=1),
        "relations": torch.cat((torch.tensor([[0, 1], [2, 0]]), predicates), dim=1),
    }
