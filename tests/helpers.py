"""Paths and small factories shared by the tests."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil


REFERENCE = Path(__file__).parent / "reference"

# Where the original program's predictions of a layer are found under our names.
ORIGINAL_OUTPUTS = {
    "subject_logits": "relation_subject_logits",
    "subject_boxes": "relation_subject_boxes",
    "object_logits": "relation_object_logits",
    "object_boxes": "relation_object_boxes",
    "predicate_logits": "relation_logits",
    "relation_boxes": "relation_boxes",
}


def read_reference(name: str) -> Any:
    """Content of a recorded JSON file."""
    return json.loads((REFERENCE / name).read_text())


def tiny_config(config_class: type[SpeaQConfig] = SpeaQConfig, **overrides: Any) -> SpeaQConfig:
    """A network of some 100,000 parameters with six object classes and five predicates."""
    backbone = {
        "model_type": "resnet",
        "layer_type": "basic",
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "out_features": ["stage2"],
    }
    fields = {
        "backbone_config": backbone,
        "freeze_backbone_stages": 1,
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "num_object_queries": 10,
        "num_query_groups": 2,
        "id2label": dict(enumerate(["person", "horse", "hat", "table", "cup", "tree"])),
        "id2predicate": dict(enumerate(["on", "near", "wearing", "riding", "behind"])),
        "group_predicate_counts": [50, 30, 10, 5, 5],
    }
    return config_class(**(fields | overrides))


def random_label(objects: int, relations: int, seed: int = 0, **extra: Any) -> dict[str, Any]:
    """A label of `tiny_config`'s vocabulary with random boxes inside the image."""
    generator = torch.Generator().manual_seed(seed)
    sizes = 0.1 + 0.4 * torch.rand(objects, 2, generator=generator)
    centres = sizes / 2 + (1 - sizes) * torch.rand(objects, 2, generator=generator)
    ends = torch.randint(max(objects, 1), (relations, 2), generator=generator)
    predicates = torch.randint(5, (relations, 1), generator=generator)
    return {
        "class_labels": torch.randint(6, (objects,), generator=generator),
        "boxes": torch.cat((centres, sizes), dim=1),
        "relations": torch.cat((ends, predicates), dim=1),
        **extra,
    }


def random_layers(num_layers: int = 2, images: int = 2, queries: int = 20, seed: int = 0) -> list[dict[str, Tensor]]:
    """Outputs of `tiny_config`'s network, made up."""
    generator = torch.Generator().manual_seed(seed)
    classes = {"subject_logits": 7, "object_logits": 7, "predicate_logits": 6}
    layers = []
    for _ in range(num_layers):
        layer = {name: torch.randn(images, queries, size, generator=generator) for name, size in classes.items()}
        for name in ("subject_boxes", "object_boxes", "relation_boxes"):
            layer[name] = 0.1 + 0.5 * torch.rand(images, queries, 4, generator=generator)
        layers.append(layer)
    return layers


def save_tiny_model(folder: Path) -> Path:
    """Writes `tiny_config`'s network with random weights, and an image processor; the folder."""
    SpeaQForSceneGraphGeneration(tiny_config()).save_pretrained(folder)
    SpeaQImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 100}).save_pretrained(folder)
    return folder
