# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Activation checkpointing for backbones that have none of their own: convolutional ones, mostly."""

import functools
import re
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers.modeling_layers import GradientCheckpointingLayer

from .backbone_speaq import backbone_stage


def make_blocks_checkpointable(backbone: nn.Module) -> None:
    """Let the repeated blocks of a backbone's stages obey `gradient_checkpointing_enable`.

    Blocks that obey already stay as they are, and so do blocks with batch norms that are trained, which would count every
    image twice.
    """
    for stage in _stages(backbone):
        if not any(hasattr(module, "gradient_checkpointing") for module in stage.modules()):
            for block in _blocks(stage):
                if not any(isinstance(module, _BatchNorm) for module in block.modules()):
                    block.__class__ = _checkpointing(type(block))


def _stages(backbone: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules that are a stage, or a layer where these are not put together to stages."""
    found: list[str] = []
    for name, module in backbone.named_modules():
        ends_like_stage = re.search(r"[A-Za-z_]\d+$|[._]\d+$", name) and 0 < backbone_stage(f"{name}.") < 1000
        if ends_like_stage and not any(name.startswith(f"{other}.") for other in found):
            found.append(name)
            yield module


def _blocks(stage: nn.Module) -> Iterator[nn.Module]:
    """The elements of lists of one kind of modules; of nested lists the outer ones'."""
    for module in (stage, *stage.children()):
        if isinstance(module, (nn.ModuleList, nn.Sequential)) and len({type(block) for block in module}) == 1:
            yield from module


@functools.cache
def _checkpointing(kind: type[nn.Module]) -> type[nn.Module]:
    return type(f"Checkpointed{kind.__name__}", (GradientCheckpointingLayer, kind), {"__reduce_ex__": _reduce})


def _reduce(block: nn.Module, protocol: int) -> tuple[Any, ...]:
    """What pickle needs to make a block again: its class has no name that could be imported."""
    return _new_block, (type(block).__bases__[1],), block.__getstate__()


def _new_block(kind: type[nn.Module]) -> nn.Module:
    checkpointing = _checkpointing(kind)
    return checkpointing.__new__(checkpointing)
