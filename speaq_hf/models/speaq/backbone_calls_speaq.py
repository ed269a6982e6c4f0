# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What follows what in a backbone: which batch norm or ReLU alone reads what a convolution writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from .backbone_speaq import SpeaQFrozenBatchNorm2d, trace_backbone


_NORMS = (SpeaQFrozenBatchNorm2d, nn.BatchNorm2d)


@dataclass(frozen=True)
class _Call:
    """One call of a module in a pass; nodes are those of the graph that autograd records."""

    name: str
    module: nn.Module
    reads: Any
    writes: Any
    reads_view: bool


@dataclass(frozen=True)
class BackboneCalls:
    """Calls of convolutions, batch norms and ReLUs.

    Args:
        calls: In their order.
        num_readers: How many operations read what a node of the graph writes.
        times_called: How often each module is called, by name.
    """

    calls: list[_Call]
    num_readers: Counter
    times_called: Counter

    @cached_property
    def _readers(self) -> dict[Any, _Call]:
        """By the node they read: calls that read alone, of modules that are called once."""
        return {
            call.reads: call
            for call in self.calls
            if self.num_readers[call.reads] == 1 and self.times_called[call.name] == 1
        }

    def only_reader(self, call: _Call) -> _Call | None:
        """The call that alone reads what `call` writes."""
        return self._readers.get(call.writes)

    def normalized_convolutions(self) -> Iterator[tuple[_Call, _Call]]:
        """Convolutions and the batch norms that alone read them."""
        for call in self.calls:
            if (
                type(call.module) is nn.Conv2d
                and is_untouched(call.module)
                and call.module.padding_mode == "zeros"
                and self.times_called[call.name] == 1
            ):
                norm = self.only_reader(call)
                if norm is not None and isinstance(norm.module, _NORMS) and norm.module.running_mean is not None:
                    yield call, norm

    def overwriting_relus(self) -> Iterator[_Call]:
        """ReLUs that may write where they read."""
        for call in self._readers.values():
            if isinstance(call.module, nn.ReLU) and not call.reads_view:
                yield call


def record_calls(backbone: nn.Module) -> BackboneCalls:
    """See in a pass that computes shapes only what follows what.

    Args:
        backbone: A backbone of transformers.
    """
    calls, handles = [], []

    def record(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls.append(_Call(name, module, inputs[0].grad_fn, output.grad_fn, inputs[0]._is_view()))

        return hook

    for name, module in backbone.named_modules():
        if isinstance(module, (nn.Conv2d, nn.ReLU, *_NORMS)):
            handles.append(module.register_forward_hook(record(name)))
    try:
        features = trace_backbone(backbone)
    finally:
        for handle in handles:
            handle.remove()
    return BackboneCalls(calls, _count_readers(features.grad_fn), Counter(call.name for call in calls))


def _count_readers(last: Any) -> Counter:
    num_readers, waiting, seen = Counter(), [last], set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        sources = [source for source, _ in node.next_functions if source is not None]
        num_readers.update(sources)
        waiting += sources
    return num_readers


def is_untouched(module: nn.Module) -> bool:
    """Whether a module computes with its `weight` as it is: pruned, parametrized and quantized ones do not."""
    has_hooks = module._forward_hooks or module._forward_pre_hooks
    return not has_hooks and type(module._parameters.get("weight")) is nn.Parameter
