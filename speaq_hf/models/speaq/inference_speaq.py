# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Exact shortcuts that only inference can take: batch norms inside the convolutions before them, ReLU inside whatever comes
before it, joint projections, and oneDNN's kernels on the CPU.

Modules are replaced by others that hold the same parameters and buffers under the same names, and what was computed from
these in buffers that are not saved: a checkpoint of the fast model is one of the ordinary model.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .backbone_calls_speaq import is_untouched, record_calls
from .backbone_speaq import SpeaQFrozenBatchNorm2d


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


def runs_on_onednn(inputs: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN's fused kernels can compute this: on a CPU, in one number format, and with nobody who wants gradients
    or the graph (compilers and exporters fuse on their own)."""
    return (
        not torch.compiler.is_compiling()  # first: compilers cannot see through the questions below
        and inputs.device.type == "cpu"
        and inputs.dtype == weight.dtype
        and inputs.numel() > 0
        and _knows(inputs.dtype)
        and not (torch.is_grad_enabled() and (inputs.requires_grad or weight.requires_grad))
        and not torch.is_autocast_enabled("cpu")
        and not torch.jit.is_tracing()
    )


# They are not part of torch's public interface; where one is missing, the ordinary operations take its place.
_KERNELS = (
    "_convolution_pointwise",
    "_linear_pointwise",
    "_reorder_convolution_weight",
    "_is_mkldnn_bf16_supported",
)


@functools.cache
def _has_kernels() -> bool:
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in _KERNELS)


def _knows(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.enabled or not _has_kernels():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and _knows_bfloat16())


@functools.cache
def _knows_bfloat16() -> bool:
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


# Bytes of attention scores that are computed at once: they stay in the cache of a core or two.
_BLOCK_OF_SCORES = 2**21


def attends_in_blocks(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether `attention_in_blocks` is what computes attention fastest."""
    return query.dtype == torch.bfloat16 and runs_on_onednn(query, key) and runs_on_onednn(query, value)


def attention_in_blocks(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Attention without mask in plain steps, as many heads at once as have few scores. torch's own kernel is fast in float32,
    but on a CPU takes as long in bfloat16, where products take a third.

    Args:
        query: `(B, heads, Tq, d)`.
        key: `(B, heads, Tk, d)`.
        value: `(B, heads, Tk, d)`.
        scaling: What products are multiplied with.

    Returns:
        `(B, Tq, heads, d)`.
    """
    batch_size, num_heads, num_queries, _ = query.shape
    queries, keys, values = (query * scaling).flatten(0, 1), key.transpose(2, 3).flatten(0, 1), value.flatten(0, 1)
    states = torch.empty_like(queries, memory_format=torch.contiguous_format)
    heads_at_once = max(1, _BLOCK_OF_SCORES // (num_queries * key.shape[2] * query.element_size()))
    for first in range(0, len(queries), heads_at_once):
        heads = slice(first, first + heads_at_once)
        torch.bmm((queries[heads] @ keys[heads]).softmax(dim=-1), values[heads], out=states[heads])
    return states.view(batch_size, num_heads, num_queries, -1).transpose(1, 2)


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

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Map `(B, in, H, W)` to `(B, out, h, w)`."""
        stride, padding, dilation, groups = self.geometry
        if not isinstance(padding, str) and runs_on_onednn(hidden_states, self.folded_weight):
            activation, rest = "relu" if self.with_relu else "none", (padding, stride, dilation, groups)
            if self._packed is None:
                self._packed = torch.ops.mkldnn._reorder_convolution_weight(
                    self.folded_weight, *rest, hidden_states.shape
                )
            return torch.ops.mkldnn._convolution_pointwise(
                hidden_states, self._packed, self.folded_bias, *rest, activation, [], ""
            )
        convolved = nn.functional.conv2d(hidden_states, self.folded_weight, self.folded_bias, *self.geometry)
        return convolved.relu_() if self.with_relu else convolved

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


# With fewer multiplications a call of oneDNN takes longer than the product.
_LEAST_PRODUCTS = 2**20


class SpeaQFusedLinear(nn.Linear):
    """A linear layer, and if there was one the ReLU behind it, in oneDNN's kernel where that can be used.

    torch computes float32 products with MKL, which on processors of other makers than its own reaches half of oneDNN's
    speed.

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
        # Quantization puts a tensor of its own kind in the weight's place. The size is asked for last: not by compilers, which
        # would make it a condition of what they make.
        is_plain = type(self.weight) is nn.Parameter and runs_on_onednn(hidden_states, self.weight)
        if is_plain and hidden_states.numel() * self.out_features >= _LEAST_PRODUCTS:
            activation = "relu" if self.with_relu else "none"
            return torch.ops.mkldnn._linear_pointwise(hidden_states, self.weight, self.bias, activation, [], "")
        mapped = super().forward(hidden_states)
        return mapped.relu_() if self.with_relu else mapped


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
        if runs_on_onednn(hidden_states, self.weight):
            joint = torch.ops.mkldnn._linear_pointwise(hidden_states, self.weight, self.bias, "none", [], "")
        else:
            joint = nn.functional.linear(hidden_states, self.weight, self.bias)
        return joint.chunk(self.num_layers, dim=-1)


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


def is_plain_linear(module: nn.Module) -> bool:
    """Whether a module computes with its `weight` as it is: adapters, quantized, pruned and parametrized layers do not."""
    is_linear = isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward
    return is_linear and is_untouched(module)


def fuse_linears(module: nn.Module) -> None:
    """Give every plain linear layer inside `module` oneDNN's kernel, in place."""
    for name, child in list(module.named_modules()):
        if is_plain_linear(child):
            module.set_submodule(name, SpeaQFusedLinear(child))
