"""Every model of the package, for the common tests."""

from typing import Any

from transformers import PreTrainedConfig

from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration, SpeaQModel
from speaq_hf.testing import ModelCase
from tests.helpers import tiny_config


def iterative_sgg_config(**overrides: Any) -> SpeaQConfig:
    """The baseline, as small as `tiny_config`."""
    fields = {"relation_query_multiplier": 1, "assignment": "one_to_one", "match_per_layer": False}
    return small_config(**(fields | {"num_query_groups": 1} | overrides))


def small_config(**overrides: Any) -> SpeaQConfig:
    """`tiny_config`, whose counts and groups follow a new vocabulary."""
    if "id2predicate" in overrides:
        overrides = {"group_predicate_counts": None, "num_query_groups": 1} | overrides
    return tiny_config(**overrides)


def speaq_states(config: PreTrainedConfig, batch: dict[str, Any]) -> dict[str, list[tuple[int, ...]]]:
    """What SpeaQ returns for a ResNet of stride 8."""
    images, _, height, width = batch["pixel_values"].shape
    cells, heads, d_model = -(-height // 8) * -(-width // 8), config.encoder_attention_heads, config.d_model
    queries = [config.num_object_queries, config.num_object_queries, config.num_relation_queries]
    queries *= config.decoder_layers
    return {
        "encoder_hidden_states": [(images, cells, d_model)] * (config.encoder_layers + 1),
        "encoder_attentions": [(images, heads, cells, cells)] * config.encoder_layers,
        "decoder_hidden_states": [(images, count, d_model) for count in queries],
        "decoder_attentions": [(images, heads, count, count) for count in queries],
        "cross_attentions": [(images, heads, count, cells) for count in queries],
    }


_SHARED = {
    "base_class": SpeaQModel,
    "head_class": SpeaQForSceneGraphGeneration,
    "states": speaq_states,
    "lora_targets": ["q_proj", "v_proj"],
    "lora_trained": ("class_head", "predicate_head"),
}
MODEL_CASES = {
    "speaq": ModelCase(small_config, **_SHARED),
    "iterative_sgg": ModelCase(iterative_sgg_config, **_SHARED),
}
