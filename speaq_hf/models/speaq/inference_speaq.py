# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Exact shortcuts that only inference can take: batch norms inside the convolutions before them, ReLU inside whatever comes
before it, joint projections, and oneDNN's kernels on the CPU.

Modules are replaced by others that hold the same parameters and buffers under the same names, and what was computed from
these in buffers that are not saved: a checkpoint of the fast model is one of the ordinary model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.resnet.modeling_resnet import ResNetBasicLayer, ResNetBottleNeckLayer

from .backbone_calls_speaq import is_untouched, record_calls
from .backbone_speaq import SpeaQFrozenBatchNorm2d
from .onednn_speaq import fused_linear, runs_on_onednn


class SpeaQAbsorbed(nn.Module):
    """A module whose work another one does: it keeps its tensors for the checkpoint, and lets everything through.

    Args:
        module: What was absorbed, a module without parts.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._parameters, self._buffers = module._parameters, module._buffers

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return the input."""
        return hidden_states


class SpeaQFusedConv2d(nn.Module):
    """A convolution that has absorbed the batch norm, and if there was one the ReLU, behind it.

    Args:
        convolution: The convolution; its parameters stay here for the checkpoint.
        norm: The batch norm behind it.
        with_relu: Whether a ReLU follows.
    """

    def __init__(self, convolution: nn.Conv2d, norm: SpeaQFrozenBatchNorm2d | nn.BatchNorm2d, with_relu: bool) -> None:
        super().__init__()
        self._parameters, self.with_relu = convolution._parameters, with_relu
        self.geometry = (convolution.stride, convolution.padding, convolution.dilation, convolution.groups)
        weight, bias = _fold(convolution, norm)
        self.register_buffer("folded_weight", weight, persistent=False)
        self.register_buffer("folded_bias", bias, persistent=False)
        self._packed: Tensor | None = None  # the weight as oneDNN wants it, once that is known

    def forward(self, hidden_states: Tensor, summand: Tensor | None = None) -> Tensor:
        """Map `(B, in, H, W)` to `(B, out, h, w)`, to which the `summand` of that shape is added before the ReLU."""
        padding = self.geometry[1]
        if not isinstance(padding, str) and runs_on_onednn(hidden_states, self.folded_weight):
            return self._convolve_on_onednn(hidden_states, summand)
        convolved = nn.functional.conv2d(hidden_states, self.folded_weight, self.folded_bias, *self.geometry)
        convolved = convolved if summand is None else convolved + summand
        return convolved.relu_() if self.with_relu else convolved

    def _convolve_on_onednn(self, hidden_states: Tensor, summand: Tensor | None) -> Tensor:
        stride, padding, dilation, groups = self.geometry
        geometry, activation = (padding, stride, dilation, groups), "relu" if self.with_relu else "none"
        if self._packed is None:
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(
                self.folded_weight, *geometry, hidden_states.shape
            )
        weights, convolve = (self._packed, self.folded_bias, *geometry), torch.ops.mkldnn._convolution_pointwise
        if summand is None:
            return convolve(hidden_states, *weights, activation, [], "")
        return convolve.binary(hidden_states, summand, *weights, "add", 1.0, activation, [], "")

    def _apply(self, *args: Any, **kwargs: Any) -> SpeaQFusedConv2d:
        self._packed = None  # elsewhere, or in another number format, it is packed anew
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_packed": None}  # torch can neither copy nor save it


def _fold(convolution: nn.Conv2d, norm: SpeaQFrozenBatchNorm2d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that does both, computed in float64."""
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    scale = (variance + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    bias = -mean if convolution.bias is None else convolution.bias.detach().double() - mean
    bias = bias * scale if norm.bias is None else bias * scale + norm.bias.detach().double()
    weight = convolution.weight.detach().double() * scale[:, None, None, None]
    return weight.to(convolution.weight.dtype), bias.to(convolution.weight.dtype)


class SpeaQFusedResidual(nn.Module):
    """A residual block of transformers' ResNets whose last convolution adds the shortcut and applies the ReLU.

    Args:
        block: The block, of which every convolution has absorbed its batch norm.
    """

    def __init__(self, block: ResNetBasicLayer | ResNetBottleNeckLayer) -> None:
        super().__init__()
        self._modules = dict(block._modules)
        self.activation = nn.Identity()
        block.layer[-1].convolution.with_relu = True

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Map `(B, in, H, W)` to `(B, out, h, w)`."""
        residual = self.shortcut(hidden_states)
        for layer in self.layer[:-1]:
            hidden_states = layer(hidden_states)
        return self.layer[-1].convolution(hidden_states, residual)


class SpeaQFusedLinear(nn.Linear):
    """A linear layer, and if there was one the ReLU behind it, in oneDNN's kernel where that can be used.

    Args:
        linear: The layer whose parameters it takes over.
        with_relu: Whether a ReLU follows.
    """

    def __init__(self, linear: nn.Linear, with_relu: bool = False) -> None:
        nn.Module.__init__(self)
        self._parameters, self.with_relu = linear._parameters, with_relu
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Map `(…, in_features)` to `(…, out_features)`."""
        if type(self.weight) is nn.Parameter:
            return fused_linear(hidden_states, self.weight, self.bias, self.with_relu)
        mapped = super().forward(hidden_states)  # quantization has put a tensor of its own kind in the weight's place
        return mapped.relu_() if self.with_relu else mapped


class SpeaQComposedLinear(nn.Module):
    """Two linear layers with nothing in between, as one product.

    Args:
        first: The layer whose parameters stay here for the checkpoint.
        second: The one behind it, not changed.
    """

    def __init__(self, first: nn.Linear, second: nn.Linear) -> None:
        super().__init__()
        self._parameters = first._parameters
        weights = second.weight.detach().double()
        bias = weights @ first.bias.detach().double() + second.bias.detach().double()
        weight = weights @ first.weight.detach().double()
        self.register_buffer("composed_weight", weight.to(first.weight.dtype), persistent=False)
        self.register_buffer("composed_bias", bias.to(first.weight.dtype), persistent=False)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Map `(…, in)` to `(…, out)` of the second layer."""
        return fused_linear(hidden_states, self.composed_weight, self.composed_bias)


class SpeaQJointLinear(nn.Module):
    """Several linear layers of one input, and of equal widths, as one product.

    Args:
        layers: The layers, each with a bias; they are not changed.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.num_layers = len(layers)
        self.register_buffer("weight", torch.cat([layer.weight.detach() for layer in layers]), persistent=False)
        self.register_buffer("bias", torch.cat([layer.bias.detach() for layer in layers]), persistent=False)

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, ...]:
        """Map `(…, in)` to what each of the layers says of it, `(…, out)`."""
        return fused_linear(hidden_states, self.weight, self.bias).chunk(self.num_layers, dim=-1)


class SpeaQJointTripletLinear(nn.Module):
    """Several linear layers of triplets, and of equal widths, as one product; entities are projected before they are repeated.

    Args:
        layers: The layers, each of `(…, 3·D)` and with a bias; they are not changed.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.num_layers, dim = len(layers), layers[0].in_features // 3
        weight = torch.cat([layer.weight.detach() for layer in layers])
        self.register_buffer("entity_weight", weight[:, : 2 * dim].contiguous(), persistent=False)
        self.register_buffer("relation_weight", weight[:, 2 * dim :].contiguous(), persistent=False)
        self.register_buffer("bias", torch.cat([layer.bias.detach() for layer in layers]), persistent=False)

    def forward(self, subject: Tensor, object_: Tensor, relation: Tensor) -> tuple[Tensor, ...]:
        """Map `(B, N, D)`, `(B, N, D)`, `(B, R, D)` to what each of the layers says of the triplets, `(B, R, out)`."""
        entities = fused_linear(torch.cat((subject, object_), dim=-1), self.entity_weight, self.bias)
        repeats = relation.shape[1] // subject.shape[1]
        relations = fused_linear(relation, self.relation_weight, None).unflatten(1, (-1, repeats))
        return (relations + entities[:, :, None]).flatten(1, 2).chunk(self.num_layers, dim=-1)


def fuse_backbone(backbone: nn.Module) -> None:
    """Let the convolutions of a backbone do what the batch norms and ReLUs behind them do, where nothing else reads what is
    in between. What follows what is seen in a pass that computes shapes only.

    Args:
        backbone: A backbone of transformers in evaluation mode; changed in place.
    """
    calls = record_calls(backbone)
    absorbed = set()
    for convolution, norm in calls.normalized_convolutions():
        relu = calls.only_reader(norm)
        has_relu = relu is not None and isinstance(relu.module, nn.ReLU)
        backbone.set_submodule(convolution.name, SpeaQFusedConv2d(convolution.module, norm.module, has_relu))
        backbone.set_submodule(norm.name, SpeaQAbsorbed(norm.module))
        if has_relu:
            absorbed.add(relu.name)
            backbone.set_submodule(relu.name, nn.Identity())
    for relu in calls.overwriting_relus():
        if relu.name not in absorbed:
            backbone.set_submodule(relu.name, nn.ReLU(inplace=True))
    for name, module in list(backbone.named_modules()):
        if type(module) in (ResNetBasicLayer, ResNetBottleNeckLayer) and _can_add(module):
            backbone.set_submodule(name, SpeaQFusedResidual(module))


def _can_add(block: ResNetBasicLayer | ResNetBottleNeckLayer) -> bool:
    """Whether the last convolution of a residual block can do what follows it there."""
    last = block.layer[-1]
    is_bare = isinstance(last.normalization, SpeaQAbsorbed) and type(last.activation) is nn.Identity
    return is_bare and isinstance(block.activation, nn.ReLU) and type(last.convolution) is SpeaQFusedConv2d


def is_plain_linear(module: nn.Module) -> bool:
    """Whether a module computes with its `weight` as it is: adapters, quantized, pruned and parametrized layers do not."""
    is_linear = isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward
    return is_linear and is_untouched(module)


def fuse_linears(module: nn.Module) -> None:
    """Give every plain linear layer inside `module` oneDNN's kernel, in place."""
    for name, child in list(module.named_modules()):
        if is_plain_linear(child):
            module.set_submodule(name, SpeaQFusedLinear(child))
