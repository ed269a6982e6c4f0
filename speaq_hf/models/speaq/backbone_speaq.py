# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Any backbone of `AutoBackbone` as feature extractor: frozen batch norms and stages, and which cells see the image.

Nothing is assumed about a family of backbones: where its last feature map lies on the image, how many channels it has
and which parameters it depends on is found out once, by a pass without numbers (`measure_backbone`).
"""

import re
import sys
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoBackbone, PreTrainedConfig

from .configuration_speaq import SpeaQConfig
from .loss_speaq import at_least_float32


class SpeaQFrozenBatchNorm2d(nn.Module):
    """Batch norm with fixed statistics and affine parameters, all of them buffers.

    It computes in float32 or better and returns the dtype of its input: bfloat16 statistics would lose most of their
    digits.
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """What the norm multiplies each channel with and then adds to it, `(channels,)` in float32 or better."""
        weight, bias, mean, variance = map(
            at_least_float32, (self.weight, self.bias, self.running_mean, self.running_var)
        )
        scale = weight * (variance + self.eps).rsqrt()
        return scale, bias - mean * scale

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Normalise `(B, channels, h, w)`."""
        scale, shift = self.scale_and_shift()
        normalised = at_least_float32(hidden_states) * scale[:, None, None] + shift[:, None, None]
        return normalised.to(hidden_states.dtype)


def freeze_batch_norms(module: nn.Module) -> None:
    """Replace every `BatchNorm2d` inside `module` by a [`SpeaQFrozenBatchNorm2d`] with the same values."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = SpeaQFrozenBatchNorm2d(child.num_features, child.eps)
            frozen.load_state_dict(child.state_dict(), strict=False)  # all but `num_batches_tracked`
            setattr(module, name, frozen)
        else:
            freeze_batch_norms(child)


# How the backbones of transformers and timm name what belongs to a stage: stages.0., layers.0. and
# hidden_states_norms.0. count from 0, layer1. and hidden_states_norms.stage1. from 1.
_STAGE_FROM_0 = re.compile(r"^(?:\w+\.)*?(?:stages|resnet_down|layers|layer|blocks|hidden_states_norms)[._](\d+)\.")
_STAGE_FROM_1 = re.compile(r"^(?:\w+\.)*?(?:stage|layer)(\d+)\.")
_AFTER_THE_STAGES = re.compile(r"^(?:_backbone\.)?(?:layernorm|norm|bridge)\.")


def backbone_stage(parameter_name: str) -> int:
    """Stage a backbone parameter belongs to: 0 for the stem, i + 1 for the i-th entry of its stages (or layers).

    What follows the last stage, mostly a norm, belongs to no stage that could be frozen: it gets a number above all.
    """
    if match := _STAGE_FROM_0.match(parameter_name):
        return int(match.group(1)) + 1
    if match := _STAGE_FROM_1.match(parameter_name):
        return int(match.group(1))
    return sys.maxsize if _AFTER_THE_STAGES.match(parameter_name) else 0


@dataclass(frozen=True)
class BackboneGeometry:
    """How a backbone maps images to its last feature map.

    Args:
        channels: Channels of the map.
        stride: Height and width of a cell in pixels.
        multiple: Height and width in pixels of which images must be a multiple for every pixel to be seen and every
            small image to be taken; (1, 1) for backbones that round the number of cells up on their own.
        unused: Names of the parameters that the map does not depend on.
    """

    channels: int
    stride: tuple[int, int]
    multiple: tuple[int, int]
    unused: frozenset[str]


# Divisible by every usual stride (powers of two up to 64, patches of 12 and 14) and by four such patches.
_PROBE_SIZE = 1344


def measure_backbone(model: nn.Module) -> BackboneGeometry:
    """Find out how a backbone's last feature map depends on image and parameters, by passes that compute shapes only.

    Args:
        model: A backbone of transformers; may be on the meta device.

    Returns:
        Its geometry.

    Raises:
        ValueError: When the backbone does not take images of any size, or does not return a feature map.
    """
    windows = _windows_per_side(model)
    size = _PROBE_SIZE * windows
    try:
        features, parameters = _pass_shapes(model, size)
        unused = _unused(features, parameters)
    except (RuntimeError, ValueError) as error:
        raise _unfit(model, f"it fails on an image of {size} x {size} pixels ({error})") from error
    if features.dim() != 4:
        raise _unfit(model, f"it returns {features.dim()} axes, not (batch, channels, height, width)")
    stride = (round(size / features.shape[2]), round(size / features.shape[3]))
    multiple = (1, 1) if _takes_one_pixel(model) else (stride[0] * windows, stride[1] * windows)
    return BackboneGeometry(features.shape[1], stride, multiple, unused)


def trace_backbone(model: nn.Module) -> Tensor:
    """The last feature map of one large image, without numbers: hooks see every call, its `grad_fn` what depends on what.

    Args:
        model: A backbone that `measure_backbone` accepts.

    Returns:
        `(1, channels, h, w)` on the meta device.
    """
    return _pass_shapes(model, _PROBE_SIZE * _windows_per_side(model))[0]


def _windows_per_side(model: nn.Module) -> int:
    """Into how many windows, of equal numbers of cells, the vision transformers of detectors cut each side."""
    if model.config.model_type == "rf_detr_dinov2" and model.config.num_windows > 1:
        raise _unfit(model, "its windows mix up rows and columns of images that are not square; set `num_windows=1`")
    return getattr(model.config, "num_windows_side", 1)


def _pass_shapes(model: nn.Module, size: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Last feature map of a square image and the parameters it was computed with, all without content."""
    parameters = {name: torch.empty_like(p, device="meta", requires_grad=True) for name, p in model.named_parameters()}
    buffers = {name: torch.empty_like(buffer, device="meta") for name, buffer in model.named_buffers()}
    was_training = model.training
    model.eval()
    try:
        with torch.device("meta"), torch.inference_mode(False), torch.enable_grad():
            dtype = next(model.parameters()).dtype
            images = (torch.empty(1, 3, size, size, dtype=dtype),)
            features = torch.func.functional_call(model, parameters | buffers, images).feature_maps[-1]
    finally:
        model.train(was_training)
    return features, parameters


def _takes_one_pixel(model: nn.Module) -> bool:
    """Whether one pixel makes one cell, as it does where every layer rounds up."""
    try:
        features, _ = _pass_shapes(model, 1)
    except (RuntimeError, ValueError):
        return False
    return tuple(features.shape[2:]) == (1, 1)


def _unused(features: Tensor, parameters: dict[str, Tensor]) -> frozenset[str]:
    gradients = torch.autograd.grad(features, list(parameters.values()), torch.empty_like(features), allow_unused=True)
    return frozenset(name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None)


def _unfit(model: nn.Module, reason: str) -> ValueError:
    return ValueError(
        f"`backbone_config` of type {model.config.model_type!r} cannot be used: {reason}. It must map images of any size, as "
        "resnet, swin, convnext, dinov2 and most others do."
    )


def downsample_pixel_mask(pixel_mask: Tensor, map_size: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """Mark the cells of a feature map that see the image: indices below ceil(size / stride).

    Nearest-neighbour scaling of the mask, which is common, differs from this by up to one row or column.

    Args:
        pixel_mask: `(B, H, W)`, non-zero on the image, which fills the top left of the canvas.
        map_size: Height and width of the feature map in cells.
        stride: Height and width of a cell in pixels.

    Returns:
        `(B, h, w)` bool.
    """
    pixel_mask = pixel_mask.bool()
    rows = _valid_cells(pixel_mask.any(dim=2).sum(dim=1), map_size[0], stride[0])
    columns = _valid_cells(pixel_mask.any(dim=1).sum(dim=1), map_size[1], stride[1])
    return rows[:, :, None] & columns[:, None, :]


def _valid_cells(valid_pixels: Tensor, map_size: int, stride: int) -> Tensor:
    cells = (valid_pixels + stride - 1) // stride
    return torch.arange(map_size, device=valid_pixels.device) < cells[:, None]


class SpeaQBackbone(nn.Module):
    """Any `AutoBackbone`; gives its last feature map and which of its cells see the image.

    Args:
        config: Model configuration.

    Raises:
        ValueError: When the backbone takes images of one size only.
    """

    def __init__(self, config: SpeaQConfig) -> None:
        super().__init__()
        self.model = AutoBackbone.from_config(_without_unsupported_attention(config.backbone_config))
        if config.freeze_batch_norm:
            with torch.no_grad():
                freeze_batch_norms(self.model)
        self.geometry = measure_backbone(self.model)
        self.num_frozen_stages = config.freeze_backbone_stages
        self.freeze_stages()

    def freeze_stages(self) -> None:
        """Exclude from training the first stages, and what never gets a gradient."""
        for name, parameter in self.model.named_parameters():
            if backbone_stage(name) < self.num_frozen_stages or name in self.geometry.unused:
                parameter.requires_grad_(False)

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Map `(B, 3, H, W)` to features `(B, channels, h, w)` and their mask `(B, h, w)`, `None` without padding.

        Args:
            pixel_values: Images on a common canvas.
            pixel_mask: `(B, H, W)`, non-zero on the image.

        Returns:
            The features, h = ceil(H / stride), and their mask.
        """
        features = self._map(pixel_values)
        if pixel_mask is None:
            return features, None
        return features, downsample_pixel_mask(pixel_mask, features.shape[-2:], self.geometry.stride)

    def _map(self, pixel_values: Tensor) -> Tensor:
        if self.geometry.multiple == (1, 1):
            return self.model(pixel_values).feature_maps[-1]
        # Most vision transformers drop the pixels of an incomplete patch: complete it.
        height, width = pixel_values.shape[-2:]
        below, right = -height % self.geometry.multiple[0], -width % self.geometry.multiple[1]
        features = self.model(nn.functional.pad(pixel_values, (0, right, 0, below))).feature_maps[-1]
        rows, columns = -(-height // self.geometry.stride[0]), -(-width // self.geometry.stride[1])
        return features[:, :, :rows, :columns]


def _without_unsupported_attention(backbone_config: PreTrainedConfig) -> PreTrainedConfig:
    # An attention implementation asked for the whole model also reaches the backbone, and convolutional backbones,
    # which have no attention at all, refuse to be built with it.
    if backbone_config._attn_implementation == "sdpa" and not supports_sdpa(backbone_config):
        backbone_config._attn_implementation = None
    return backbone_config


def supports_sdpa(backbone_config: PreTrainedConfig) -> bool:
    """Whether a backbone has attention that torch's fused kernel can compute."""
    return AutoBackbone._model_mapping[type(backbone_config)]._supports_sdpa
