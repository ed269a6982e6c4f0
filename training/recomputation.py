# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Activations computed again in the backward pass instead of kept."""

from torch import nn


def enable_checkpointing(model: nn.Module) -> None:
    """Let a model of transformers, of whatever version, recompute its activations."""
    # Its name before transformers 5.23 is deprecated since.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()
