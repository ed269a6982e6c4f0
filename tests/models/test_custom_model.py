"""A model of a user, as the README shows it: SpeaQ whose predicates also depend on the pair of classes."""

import functools

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from speaq_hf import AutoModelForSceneGraphGeneration, SpeaQConfig, SpeaQForSceneGraphGeneration, SpeaQModel
from speaq_hf.testing import (
    CompilationTests,
    LoadingTests,
    ModelCase,
    PredictionTests,
    QuantizationTests,
    TrainingTests,
)
from tests.models.registry import small_config


class PairBiasConfig(SpeaQConfig):
    model_type = "pair_bias"
    pair_dim: int = 8


class PairBiasModel(SpeaQModel):
    config: PairBiasConfig


class PairBiasForSceneGraphGeneration(SpeaQForSceneGraphGeneration):
    config: PairBiasConfig

    def __init__(self, config: PairBiasConfig) -> None:
        super().__init__(config)
        self.pair = nn.Linear(2 * (config.num_labels + 1), config.pair_dim)
        self.pair_bias = nn.Linear(config.pair_dim, config.num_predicates + 1)
        self.post_init()

    def predict_layers(self, outputs) -> list[dict[str, Tensor]]:
        layers = super().predict_layers(outputs)
        for layer in layers:
            classes = [layer[f"{role}_logits"].softmax(dim=-1) for role in ("subject", "object")]
            pairs = self.pair(torch.cat(classes, dim=-1)).relu()
            layer["predicate_logits"] = layer["predicate_logits"] + self.pair_bias(pairs)
        return layers


AutoConfig.register("pair_bias", PairBiasConfig)
AutoModel.register(PairBiasConfig, PairBiasModel)
AutoModelForSceneGraphGeneration.register(PairBiasConfig, PairBiasForSceneGraphGeneration)


CASE = ModelCase(
    functools.partial(small_config, config_class=PairBiasConfig), PairBiasModel, PairBiasForSceneGraphGeneration
)


class TestPairBias(LoadingTests, PredictionTests, TrainingTests):
    case = CASE


@pytest.mark.slow
class TestPairBiasCompiled(CompilationTests, QuantizationTests):
    case = CASE
