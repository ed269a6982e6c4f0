# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Object detection as what the training loop trains."""

import logging
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn
from transformers import DetrImageProcessorPil

from speaq_hf import SpeaQImageProcessorPil
from speaq_hf.checkpoints.training_record import TrainingRecord
from speaq_hf.data import object_names

from .arguments import RunArguments
from .data import TrainingData
from .detector import TrainableDetector, build_detector, build_sizes
from .object_recall import ObjectRecall
from .prediction import LoadingOptions, evaluate_recall, predict_objects


logger = logging.getLogger(__name__)


class DetectionTask:
    """A DETR detector, measured by its recall of objects; see `Task`.

    Args:
        arguments: All of them.
        data: Its object classes are the detector's.

    Raises:
        ValueError: The section `model` is wrong.
        OSError: The backbone it names cannot be found.
    """

    main_loss = "loss_class"

    def __init__(self, arguments: RunArguments, data: TrainingData) -> None:
        self.arguments, self.data = arguments, data
        id2label = dict(enumerate(object_names(data.train)))
        self.sizes = build_sizes(arguments.model, id2label)
        size = {"shortest_edge": arguments.data.test_short_edge, "longest_edge": arguments.data.longest_edge}
        self.processor = SpeaQImageProcessorPil(id2label=id2label, size=size)

    def build_model(self) -> TrainableDetector:
        """See `Task`."""
        if self.sizes.freeze_batch_norm and self.arguments.model.backbone is None:
            logger.warning(
                "The backbone starts from random weights with frozen batch norms, which learns badly: set "
                "model.backbone, or train them (model.freeze_batch_norm=false, model.freeze_backbone_stages=0)."
            )
        return build_detector(self.arguments.model, self.sizes)

    def network(self, model: TrainableDetector) -> nn.Module:
        """See `Task`."""
        return model.detector.model

    def evaluate(self, model: TrainableDetector, accelerator: Accelerator) -> dict[str, Any]:
        """See `Task`."""
        loading = LoadingOptions.from_arguments(self.arguments)
        rows = self.data.validation
        return evaluate_recall(model, self.processor, rows, ObjectRecall(), accelerator, loading, predict_objects)

    def save(self, model: TrainableDetector, folder: Path, record: TrainingRecord) -> None:
        """See `Task`. The processor is DETR's, which knows how to read a detector's outputs."""
        model.save_pretrained(folder)
        DetrImageProcessorPil(size=self.processor.size).save_pretrained(folder)
        record.write(folder)
