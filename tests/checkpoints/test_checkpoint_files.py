"""What is in a checkpoint is told from its headers, and what is wrong with one in a sentence."""

import json

import pytest
import torch

from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil
from speaq_hf.checkpoints.checkpoint_files import CheckpointFiles
from speaq_hf.checkpoints.model_facts import ModelFacts
from speaq_hf.inspection.checkpoint_report import checkpoint_report
from tests.helpers import tiny_config


@pytest.fixture(scope="module")
def model():
    return SpeaQForSceneGraphGeneration(tiny_config())


@pytest.fixture
def saved(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    SpeaQImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 100}).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_weights_are_counted_without_reading_them(model, saved, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", None)
    weights = CheckpointFiles.of(saved).weights
    state = model.state_dict().values()
    assert sum(weights.num_values.values()) == sum(tensor.numel() for tensor in state)
    assert weights.num_values["F32"] == sum(tensor.numel() for tensor in state if tensor.dtype == torch.float32)
    assert weights.num_bytes == sum(tensor.nbytes for tensor in state) and weights.num_files == 1


def test_shards_are_one_model(model, saved, tmp_path):
    model.save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    whole, shards = (CheckpointFiles.of(folder).weights for folder in (saved, tmp_path / "shards"))
    assert shards.num_files > 1
    assert (shards.num_values, shards.num_bytes) == (whole.num_values, whole.num_bytes)


def test_the_model_of_a_run_is_its_final_one(saved, tmp_path):
    run = tmp_path / "run"
    saved.rename(tmp_path / "best")
    run.mkdir()
    (tmp_path / "best").rename(run / "best")
    assert CheckpointFiles.of(run).folder == run / "best"
    (run / "final").mkdir()
    (run / "final" / "config.json").write_text("{}")
    assert CheckpointFiles.of(run).folder == run / "final"


def test_a_report_says_what_the_model_is(model, saved):
    report = checkpoint_report(CheckpointFiles.of(saved))
    assert json.loads(json.dumps(report)) == report
    assert report["architecture"] == "SpeaQForSceneGraphGeneration"
    told = report["model"]
    assert told["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert told["trainable_parameters"] == trainable < told["parameters"]
    assert told["objects"] == list(model.config.id2label.values()) and told["predicates"][3] == "riding"
    assert (told["object_queries"], told["relation_queries"]) == (10, 20)
    assert told["images"] == "short edge 64 pixels, long edge at most 100"


def test_a_model_of_another_package_is_described_as_far_as_it_goes(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "detr", "architectures": ["DetrForObjectDetection"]}')
    report = checkpoint_report(CheckpointFiles.of(tmp_path))
    assert report["architecture"] == "DetrForObjectDetection" and report["weights"] is None and "model" not in report
    with pytest.raises(ValueError, match="no scene graph model: its model_type is 'detr'"):
        ModelFacts.of(CheckpointFiles.of(tmp_path))


@pytest.mark.parametrize(
    ("config", "variant", "backbone"),
    [
        (SpeaQConfig(), "speaq", "ResNet-101"),
        (SpeaQConfig.iterative_sgg(backbone_config={"depths": [3, 4, 6, 3]}), "iterative_sgg", "ResNet-50"),
        (SpeaQConfig(num_query_groups=1), None, "ResNet-101"),
        (SpeaQConfig(backbone_config={"layer_type": "basic", "depths": [2, 2, 2, 2]}), "speaq", "ResNet-18"),
        (tiny_config(), "speaq", "resnet (stages of 1, 1 layers)"),
    ],
)
def test_variants_and_backbones_have_their_names(config, variant, backbone):
    facts = ModelFacts(config, {})
    assert (facts.variant, facts.backbone, facts.image_size) == (variant, backbone, None)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "{", "config.json is not a JSON file"),
        ("config.json", "[]", "config.json must hold an object, got list"),
        ("model.safetensors", "weights", "the weights cannot be read"),
        ("training_run.json", '{"step": 3}', "training_run.json is not a record of this package: 'sources'"),
    ],
)
def test_a_damaged_file_is_named(saved, file, content, message):
    (saved / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        checkpoint_report(CheckpointFiles.of(saved))


@pytest.mark.parametrize("name", ["/nowhere/model", "./model", "one/two/three", "~/no_such_model"])
def test_what_is_no_model_is_not_looked_for_on_the_hub(name):
    with pytest.raises(FileNotFoundError, match="written owner/name"):
        CheckpointFiles.of(name)


def test_a_folder_without_a_model_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no model"):
        CheckpointFiles.of(tmp_path)
