# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Scene graph generation as what the training loop trains."""

from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from speaq_hf import SpeaQForSceneGraphGeneration
from speaq_hf.checkpoints.training_record import TrainingRecord
from speaq_hf.data import predicate_names
from speaq_hf.metrics import SceneGraphRecall

from .arguments import RunArguments
from .data import TrainingData
from .model import build_config, build_model, build_processor
from .prediction import LoadingOptions, Predictor, evaluate_recall
from .run_record import write_card


class SceneGraphTask:
    """SpeaQ or Iterative SGG, measured by its SGDet recall with the published protocol; see `Task`.

    Args:
        arguments: All of them.
        data: Its vocabularies and statistics go into the model's configuration.

    Raises:
        ValueError: The section `model` is wrong, or the data has no predicates.
    """

    main_loss = "loss_predicate"

    def __init__(self, arguments: RunArguments, data: TrainingData) -> None:
        self.arguments, self.data = arguments, data
        if not predicate_names(data.train):
            raise ValueError(
                f"data.root: there are no relations in {arguments.data.root}: expected rel_annotations or relations in its "
                "COCO files; boxes alone train a detector (pretrain_detector.py)."
            )
        self.config = build_config(arguments.model, data.config_fields())
        self.processor = build_processor(arguments.data, self.config)

    def build_model(self) -> SpeaQForSceneGraphGeneration:
        """See `Task`."""
        return build_model(self.arguments.model, self.config).optimize_for_training()

    def network(self, model: SpeaQForSceneGraphGeneration) -> nn.Module:
        """See `Task`."""
        return model.model

    def evaluate(self, model: nn.Module, accelerator: Accelerator) -> dict[str, Any]:
        """See `Task`."""
        return self.measure(model, accelerator)

    def measure(self, model: nn.Module, accelerator: Accelerator, predict: Predictor | None = None) -> dict[str, Any]:
        """Recall on the validation split, with another way to predict if there is one; see `evaluate_recall`."""
        metric = SceneGraphRecall(self.config.num_predicates, zero_shot_triplets=self.data.zero_shot_triplets)
        loading = LoadingOptions.from_arguments(self.arguments)
        return evaluate_recall(model, self.processor, self.data.validation, metric, accelerator, loading, predict)

    def save(self, model: nn.Module, folder: Path, record: TrainingRecord) -> None:
        """See `Task`."""
        model.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        record.write(folder)
        write_card(folder)
