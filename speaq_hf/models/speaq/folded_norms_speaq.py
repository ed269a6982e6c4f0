# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Frozen batch norms inside the convolutions before them while these are trained.

Parameters and buffers keep their places and names: optimizers, checkpoints and saved models do not notice.
"""

import torch
from torch import Tensor, nn

from .backbone_calls_speaq import record_calls
from .backbone_speaq import SpeaQFrozenBatchNorm2d
from .inference_speaq import SpeaQAbsorbed


_CHANNELS_OF_A_REGISTER = 16


class SpeaQFoldingConv2d(nn.Module):
    """A trained convolution that applies the frozen norm behind it to its weight, in every pass anew.

    Four passes over activations and their gradients become two over the weight.

    Args:
        convolution: The convolution.
        norm: The frozen norm behind it.
    """

    def __init__(self, convolution: nn.Conv2d, norm: SpeaQFrozenBatchNorm2d) -> None:
        super().__init__()
        self._parameters = convolution._parameters
        self.originals = (convolution, norm)  # in a tuple they are not parts of this module

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Map `(B, in, H, W)` to `(B, out, h, w)`."""
        convolution, norm = self.originals
        # Where the model was replicated, the norm stayed on the first device.
        scale, shift = (values.to(self.weight.device) for values in norm.scale_and_shift())
        # Parameters keep their layout, which FSDP asks for.
        weight = self.weight * scale[:, None, None, None]
        weight = weight.to(self.weight.dtype, memory_format=torch.channels_last)
        if self.bias is not None:
            shift = shift + self.bias * scale
        stride = convolution.stride
        if _overruns_memory(convolution):
            hidden_states, stride = hidden_states[..., :: stride[0], :: stride[1]], (1, 1)
        geometry = (stride, convolution.padding, convolution.dilation, convolution.groups)
        return nn.functional.conv2d(hidden_states, weight, shift.to(weight.dtype), *geometry)


def _overruns_memory(convolution: nn.Conv2d) -> bool:
    """Whether oneDNN, up to 3.14 at least, writes where it must not in the backward pass of a convolution with channels last
    (its issue 6035): with a step, a kernel of one cell, and fewer channels than a register holds."""
    is_pointwise = convolution.kernel_size == (1, 1) and convolution.padding == (0, 0)
    return is_pointwise and convolution.stride != (1, 1) and convolution.in_channels < _CHANNELS_OF_A_REGISTER


def fold_frozen_norms(backbone: nn.Module) -> None:
    """Replace the convolutions and frozen norms of a backbone between which nothing else reads, in place; let ReLUs write
    where they read."""
    calls = record_calls(backbone)
    for convolution, norm in calls.normalized_convolutions():
        if isinstance(norm.module, SpeaQFrozenBatchNorm2d):
            backbone.set_submodule(convolution.name, SpeaQFoldingConv2d(convolution.module, norm.module))
            backbone.set_submodule(norm.name, SpeaQAbsorbed(norm.module))
    for relu in calls.overwriting_relus():
        backbone.set_submodule(relu.name, nn.ReLU(inplace=True))


def restore_frozen_norms(backbone: nn.Module) -> None:
    """Put convolutions and norms back that [`fold_frozen_norms`] replaced."""
    modules = dict(backbone.named_modules())
    norms = {id(module._buffers): name for name, module in modules.items() if isinstance(module, SpeaQAbsorbed)}
    for name, module in modules.items():
        if isinstance(module, SpeaQFoldingConv2d):
            convolution, norm = module.originals
            backbone.set_submodule(norms[id(norm._buffers)], norm)
            backbone.set_submodule(name, convolution)
