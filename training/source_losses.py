# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Relation losses of each source of a mixed batch, before their weights: is the model learning from both?"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from speaq_hf.models.speaq.loss_speaq import SpeaQCriterion


LAYER_FIELDS = (
    "subject_logits",
    "subject_boxes",
    "object_logits",
    "object_boxes",
    "predicate_logits",
    "relation_boxes",
)
_LOGGED = {
    "loss_relation": "loss_predicate",
    "loss_bbox_relation": "loss_bbox_relation",
    "loss_giou_relation": "loss_giou_relation",
}


@torch.no_grad()
def source_losses(
    criterion: SpeaQCriterion, outputs: Any, labels: Sequence[dict[str, Any]], sources: Sequence[str]
) -> dict[str, Tensor]:
    """Compute the last layer's relation losses of each source on its own, with weight 1.

    Every process must call it, with the same sources in the same order: normalisers are sums over all of them.

    Args:
        criterion: The model's.
        outputs: What the model returned for B images.
        labels: The B labels, each with its `source`.
        sources: Names of the sources; each has an image in the batch.

    Returns:
        `loss_relation_<source>`, `loss_bbox_relation_<source>` and `loss_giou_relation_<source>`.
    """
    losses = {}
    layers = [*(outputs.auxiliary_outputs or []), {name: getattr(outputs, name) for name in LAYER_FIELDS}]
    for source in sources:
        rows = [index for index, label in enumerate(labels) if label["source"] == source]
        unweighted = [{name: value for name, value in labels[row].items() if name != "loss_weight"} for row in rows]
        _, terms = criterion([{name: layer[name][rows] for name in LAYER_FIELDS} for layer in layers], unweighted)
        losses |= {f"{name}_{source}": terms[term] for name, term in _LOGGED.items()}
    return losses
