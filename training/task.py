# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What the training loop does not know: which model it trains, how that is measured and saved."""

from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator
from torch import nn
from transformers import BaseImageProcessor

from speaq_hf.checkpoints.training_record import TrainingRecord


class Task(Protocol):
    """A model and its evaluation.

    Args:
        processor: Makes the model's inputs.
        main_loss: The loss that the progress bar shows beside the total.
    """

    processor: BaseImageProcessor
    main_loss: str

    def build_model(self) -> nn.Module:
        """The model in the state that training starts from. It returns `loss` and `loss_dict` for a batch."""

    def network(self, model: nn.Module) -> nn.Module:
        """The part of the model without heads and loss, which `training.compile` compiles."""

    def evaluate(self, model: nn.Module, accelerator: Accelerator) -> dict[str, Any]:
        """Metrics of the unwrapped model on the validation split. Every process must call it."""

    def save(self, model: nn.Module, folder: Path, record: TrainingRecord) -> None:
        """Write the unwrapped model and its processor, for `from_pretrained`, and how it came about. One process calls it."""
