"""A model of a user, as the README shows it: SpeaQ whose predicates also see subject and object."""

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


class PairConfig(SpeaQConfig):
    model_type = "pair"
    pair_dim: int = 8


class PairModel(SpeaQModel):
    config: PairConfig


class PairForSceneGraphGeneration(SpeaQForSceneGraphGeneration):
    config: PairConfig

    def __init__(self, config: PairConfig) -> None:
        super().__init__(config)
        self.pair = nn.Linear(2 * config.d_model, config.pair_dim)
        self.pair_output = nn.Linear(config.pair_dim, config.d_model)
        self.post_init()

    def predict_layers(self, outputs) -> list[dict[str, Tensor]]:
        layers = super().predict_layers(outputs)
        pairs = torch.cat((outputs.subject_states, outputs.object_states), dim=-1)[-len(layers) :]
        pairs = self.pair_output(self.pair(pairs).relu())
        pairs = pairs.repeat_interleave(self.config.relation_query_multiplier, dim=2)
        for layer, states in zip(layers, pairs, strict=True):
            layer["predicate_logits"] = layer["predicate_logits"] + self.predicate_head(states)
        return layers


AutoConfig.register("pair", PairConfig)
AutoModel.register(PairConfig, PairModel)
AutoModelForSceneGraphGeneration.register(PairConfig, PairForSceneGraphGeneration)


CASE = ModelCase(functools.partial(small_config, config_class=PairConfig), PairModel, PairForSceneGraphGeneration)


class TestPairModel(LoadingTests, PredictionTests, TrainingTests):
    case = CASE


@pytest.mark.slow
class TestPairModelCompiled(CompilationTests, QuantizationTests):
    case = CASE
