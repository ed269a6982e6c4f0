"""How the section `model` becomes a model: saved ones are taken whole, and as they were saved."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration
from tests.helpers import tiny_config
from training import model
from training.arguments import ModelArguments
from training.model import build_config, build_model


BASELINE = {
    "relation_query_multiplier": 1,
    "assignment": "one_to_one",
    "match_per_layer": False,
    "num_query_groups": 1,
}
SPEAQ = {"relation_query_multiplier": 2, "assignment": "dynamic", "match_per_layer": True, "num_query_groups": 4}


def vocabularies(config: SpeaQConfig) -> dict:
    return {"id2label": config.id2label, "id2predicate": config.id2predicate}


@pytest.fixture
def saved(tmp_path, request):
    """Folder of a saved model of the parametrised fields, and its vocabularies."""
    config = tiny_config(**getattr(request, "param", SPEAQ))
    SpeaQForSceneGraphGeneration(config).save_pretrained(tmp_path / "model")
    return str(tmp_path / "model"), vocabularies(config)


@pytest.mark.parametrize(
    ("saved", "variant", "changes", "message"),
    [
        (SPEAQ, None, {}, None),
        (SPEAQ, "speaq", {}, None),
        (SPEAQ, "iterative_sgg", {}, "iterative_sgg has relation_query_multiplier 1, but .* saved with 2"),
        (BASELINE, None, {}, None),
        (BASELINE, "iterative_sgg", {}, None),
        (BASELINE, "speaq", {}, "speaq has relation_query_multiplier 2, but .* saved with 1.*--model.variant null"),
        (SPEAQ | {"num_query_groups": 1}, "speaq", {}, "speaq has num_query_groups 4"),
        (SPEAQ | {"num_query_groups": 1}, "speaq", {"num_query_groups": 1}, None),
    ],
    indirect=["saved"],
)
def test_a_saved_model_keeps_its_variant(saved, variant, changes, message):
    path, names = saved
    arguments = ModelArguments(variant=variant, pretrained=path, config=changes)
    if message is None:
        config = build_config(arguments, names)
        assert config.assignment == SpeaQConfig.from_pretrained(path).assignment
        return
    with pytest.raises(ValueError, match=f"model.variant: {message}"):
        build_config(arguments, names)


@pytest.mark.parametrize(("variant", "expected"), [(None, SPEAQ), ("speaq", SPEAQ), ("iterative_sgg", BASELINE)])
def test_a_new_model_has_the_defaults_of_its_variant(variant, expected):
    config = build_config(ModelArguments(variant=variant), {})
    assert {name: getattr(config, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"class_head.weight": None, "box_head.layers.0.bias": None}, {}, "missing: box_head.layers.0.bias, class_he"),
        ({"extra": torch.zeros(1)}, {}, "weights belong to no part of it: extra"),
        ({}, {"decoder_ffn_dim": 48}, "weights have other sizes: .* and 13 more"),
    ],
)
def test_a_saved_model_is_taken_whole(saved, changes, options, message):
    path, names = saved
    weights = load_file(f"{path}/model.safetensors") | changes
    kept = {name: value for name, value in weights.items() if value is not None}
    save_file(kept, f"{path}/model.safetensors", metadata={"format": "pt"})
    arguments = ModelArguments(pretrained=path, config=options)
    with pytest.raises(ValueError, match=f"model.pretrained: .*{message}"):
        build_model(arguments, build_config(arguments, names))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_damaged_files_name_the_option(saved, name):
    path, names = saved
    arguments = ModelArguments(pretrained=path)
    with open(f"{path}/{name}", "r+b") as file:
        file.truncate(1000)
    with pytest.raises((ValueError, OSError), match="^model.pretrained: cannot load [^\n]*$"):
        build_model(arguments, build_config(arguments, names))


def test_a_scene_graph_model_is_no_detector(saved):
    path, names = saved
    with pytest.raises(ValueError, match="^model.detr: cannot load .* is a model of type 'speaq'"):
        build_config(ModelArguments(detr=path), names)


def test_a_detector_that_needs_another_library_is_one_message(monkeypatch):
    def load(name):
        raise ImportError("\nTimmBackbone requires the timm library.\nYou can install it with pip")

    monkeypatch.setattr(model, "load_detr", load)
    config = tiny_config()
    with pytest.raises(ValueError, match=r"model.detr: cannot load owner/detr: ImportError: TimmBackbone requires"):
        build_model(ModelArguments(detr="owner/detr"), config)
