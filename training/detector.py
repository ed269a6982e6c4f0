# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""DETR detectors of transformers that can be trained, also from random weights.

Three things stand in the way. transformers freezes every parameter of the backbone and replaces its batch norms by frozen
ones, so the backbone is put in here with the parts trainable that should be. With its `auxiliary_loss` each decoder
layer gets the normalised output of the one before, which is another network than DETR; here earlier layers are normalised
for the heads only, the saved detector has `auxiliary_loss=False`, and so it computes what was trained. And its weights
start from a normal distribution, not from Xavier's.
"""

import math
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import (
    AutoBackbone,
    AutoConfig,
    DetrConfig,
    DetrForObjectDetection,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput, replace_batch_norm

from speaq_hf import SpeaQConfig
from speaq_hf.models.speaq.backbone_speaq import backbone_stage
from speaq_hf.models.speaq.detr_weights_speaq import SHARED_FIELDS

from .arguments import DetectorArguments
from .detection_loss import DetectionCriterion
from .loading import naming_option
from .recomputation import enable_checkpointing


class TrainableDetector(nn.Module):
    """A detector with the loss of all its decoder layers.

    Args:
        detector: Its backbone is as it shall be trained.
    """

    def __init__(self, detector: DetrForObjectDetection) -> None:
        super().__init__()
        self.detector = detector
        self.criterion = DetectionCriterion(detector.config)

    @property
    def config(self) -> DetrConfig:
        """The detector's configuration."""
        return self.detector.config

    def activation_checkpointing_enable(self) -> None:
        """Recompute activations in the backward pass."""
        enable_checkpointing(self.detector)

    def forward(
        self, pixel_values: Tensor, pixel_mask: Tensor | None = None, labels: list[dict[str, Any]] | None = None
    ) -> DetrObjectDetectionOutput:
        """Detect objects and, with `labels`, compute the loss.

        Args:
            pixel_values: `(B, 3, H, W)`, normalised, zero-padded at the right and bottom.
            pixel_mask: `(B, H, W)`, 1 = image.
            labels: One dict per image: `class_labels` `(n,)`, `boxes` `(n, 4)` (cx, cy, w, h) in [0, 1] of the un-padded
                image, and optionally `loss_weight`.

        Returns:
            `logits` `(B, Q, C+1)`, background last, `pred_boxes` `(B, Q, 4)`, and `loss` and `loss_dict`.
        """
        if labels is None:
            return self.detector(pixel_values, pixel_mask=pixel_mask)
        network = self.detector.model
        outputs = network(pixel_values, pixel_mask=pixel_mask, output_hidden_states=True)
        # The first hidden state is the input of the first layer, the last one is normalised already.
        earlier = [network.decoder.layernorm(states) for states in outputs.decoder_hidden_states[1:-1]]
        states = torch.stack([*earlier, outputs.last_hidden_state])  # (L, B, Q, D)
        logits = self.detector.class_labels_classifier(states)
        boxes = self.detector.bbox_predictor(states).float().sigmoid()
        loss, losses = self.criterion(logits, boxes, labels)
        return DetrObjectDetectionOutput(loss=loss, loss_dict=losses, logits=logits[-1], pred_boxes=boxes[-1])

    def save_pretrained(self, folder: Path) -> None:
        """Write the detector, for `DetrForObjectDetection.from_pretrained`."""
        # Frozen batch norms do not count batches.
        weights = {k: v for k, v in self.detector.state_dict().items() if not k.endswith("num_batches_tracked")}
        self.detector.save_pretrained(folder, state_dict=weights)


def build_sizes(arguments: DetectorArguments, id2label: dict[int, str]) -> SpeaQConfig:
    """Sizes, rates and freezing of the detector, checked as those of the scene graph model that shall start from it.

    Raises:
        ValueError: Fields have wrong types or contradict each other.
        OSError: There is no backbone of that name.
    """
    fields = {"id2label": id2label, "num_query_groups": 1} | arguments.config
    if arguments.backbone is not None:
        with naming_option("model.backbone", arguments.backbone):
            backbone = AutoConfig.from_pretrained(arguments.backbone)
        if not hasattr(backbone, "stage_names"):
            raise ValueError(f"model.backbone: transformers has no backbone of type {backbone.model_type}.")
        fields["backbone_config"] = backbone.to_dict() | {
            "out_features": backbone.stage_names[-1:],
            "out_indices": None,
        }
    try:
        return SpeaQConfig(**fields)
    except StrictDataclassError as error:
        raise ValueError(f"model: {' '.join(str(error).split())}") from error


def build_detector(arguments: DetectorArguments, sizes: SpeaQConfig) -> TrainableDetector:
    """A new detector; only its backbone can have trained weights."""
    config = DetrConfig(
        backbone_config=sizes.backbone_config.to_dict(),
        num_queries=sizes.num_object_queries,
        id2label=sizes.id2label,
        label2id=sizes.label2id,
        **{name: getattr(sizes, name) for name in SHARED_FIELDS},
    )
    detector = DetrForObjectDetection(config)
    _initialise(detector)
    detector.model.backbone.model = _build_backbone(arguments, sizes)
    return TrainableDetector(detector)


def _build_backbone(arguments: DetectorArguments, sizes: SpeaQConfig) -> PreTrainedModel:
    backbone = AutoBackbone.from_config(sizes.backbone_config)
    if arguments.backbone is not None:
        backbone = _load_backbone(type(backbone), arguments.backbone, sizes.backbone_config)
    if sizes.freeze_batch_norm:
        with torch.no_grad():
            replace_batch_norm(backbone)
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(backbone_stage(name) >= sizes.freeze_backbone_stages)
    return backbone


def _load_backbone(kind: type[PreTrainedModel], path: str, config: PreTrainedConfig) -> PreTrainedModel:
    with naming_option("model.backbone", path):
        backbone, report = kind.from_pretrained(path, config=config, dtype=torch.float32, output_loading_info=True)
    if report["missing_keys"]:
        raise ValueError(f"model.backbone: {path} lacks {sorted(report['missing_keys'])[:3]}; is it a classifier?")
    return backbone


@torch.no_grad()
def _initialise(detector: DetrForObjectDetection) -> None:
    """DETR's start: Xavier for every matrix, queries from a normal distribution, a convolution as PyTorch has it."""
    for module in detector.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
    nn.init.kaiming_uniform_(detector.model.input_projection.weight, a=math.sqrt(5))
