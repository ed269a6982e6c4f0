# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""oneDNN's fused kernels on the CPU, and whether they can be used.

torch computes float32 products with MKL, which on processors of other makers than its own reaches half of oneDNN's speed.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn


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


# With fewer multiplications a call of oneDNN takes longer than the product.
_LEAST_PRODUCTS = 2**20


def fused_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None, with_relu: bool = False) -> Tensor:
    """A linear map, and if wanted a ReLU behind it, by the fastest kernel that can compute it.

    Args:
        inputs: `(…, in)`.
        weight: `(out, in)`.
        bias: `(out,)`.
        with_relu: Whether a ReLU follows.

    Returns:
        `(…, out)`.
    """
    # The size is asked for last: not by compilers, which would make it a condition of what they make.
    if runs_on_onednn(inputs, weight) and inputs.numel() * weight.shape[0] >= _LEAST_PRODUCTS:
        return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "relu" if with_relu else "none", [], "")
    mapped = nn.functional.linear(inputs, weight, bias)
    return mapped.relu_() if with_relu else mapped
