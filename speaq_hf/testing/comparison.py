# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Comparing what two models predict, and what they are made of."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .model_case import PREDICTIONS


def assert_same_predictions(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], rtol: float = 1e-4, atol: float = 1e-5
) -> None:
    """Every prediction is equal up to the order of additions.

    Args:
        found: Output of a model with heads.
        expected: Output of another one.
        rtol: Tolerance relative to the expected value.
        atol: Tolerance in logits and in shares of the image.

    Raises:
        AssertionError: Something differs; the message names it.
    """
    for name in PREDICTIONS:
        torch.testing.assert_close(
            found[name], expected[name], rtol=rtol, atol=atol, msg=lambda text, name=name: f"`{name}`: {text}"
        )


def assert_same_tensors(found: nn.Module, expected: nn.Module) -> None:
    """Parameters and buffers, saved or not, have the same names, bits and place in training.

    Args:
        found: A model.
        expected: Another one.

    Raises:
        AssertionError: Something differs; the message names it.
    """
    assert found.state_dict().keys() == expected.state_dict().keys()
    for kind in ("named_parameters", "named_buffers"):
        others = dict(getattr(expected, kind)())
        for name, value in getattr(found, kind)():
            assert torch.equal(value, others[name]), f"`{name}` has another value"
            assert value.dtype == others[name].dtype, f"`{name}` is {value.dtype}, not {others[name].dtype}"
            assert value.requires_grad == others[name].requires_grad, f"`{name}` is frozen in one of them only"
