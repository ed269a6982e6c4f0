# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Batches without padding: a graph must not depend on which images stand beside its own in the batch.

A convolutional backbone that sees padding computes other features at the image's edge than without, by more than
rounding. So images of one size are computed together, others one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .post_processing_speaq import OUTPUT_NAMES


def predict_size_by_size(model: PreTrainedModel, images: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What a scene graph model says of images of any sizes.

    Args:
        model: The model.
        images: The model's inputs for each of B images, without the batch axis: `pixel_values` `(3, H, W)` and, from most
            processors, `pixel_mask` `(H, W)`; on the model's device.

    Returns:
        The outputs that graphs are made of, each `(B, ...)`, in the order of `images`.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(tuple(image["pixel_values"].shape), []).append(index)
    outputs = [_predict(model, [images[index] for index in group]) for group in groups.values()]
    order = torch.tensor([index for group in groups.values() for index in group]).argsort()
    return {name: torch.cat([output[name] for output in outputs])[order] for name in OUTPUT_NAMES}


def without_full_mask(image: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inputs of one image without a `pixel_mask` that hides nothing.

    To be called before the inputs are moved: a model that is given a mask has to look whether it hides something, and an
    accelerator would have to be waited for.

    Args:
        image: The model's inputs, without the batch axis.
    """
    hides = not image.get("pixel_mask", torch.ones(())).all()
    return {name: values for name, values in image.items() if hides or name != "pixel_mask"}


def _predict(model: PreTrainedModel, images: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    inputs = {name: torch.stack([image[name] for image in images]) for name in images[0]}
    inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
    outputs = model(**inputs)
    return {name: outputs[name] for name in OUTPUT_NAMES}
