import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import DetrConfig, DetrForObjectDetection

from speaq_hf import SpeaQForSceneGraphGeneration
from speaq_hf.models.speaq.detr_weights_speaq import _new_names
from tests.helpers import tiny_config


JOINTS = ("_positions.", "_refinements.", "predicate_head.")


@pytest.fixture
def detr() -> DetrForObjectDetection:
    config = tiny_config()
    names = ("d_model", "encoder_layers", "decoder_layers", "encoder_ffn_dim", "decoder_ffn_dim")
    names += ("encoder_attention_heads", "decoder_attention_heads", "dropout", "attention_dropout")
    sizes = {name: getattr(config, name) for name in names}
    backbone = config.backbone_config.to_dict()
    torch.manual_seed(0)
    detr = DetrForObjectDetection(
        DetrConfig(backbone_config=backbone, num_queries=10, id2label=config.id2label, auxiliary_loss=False, **sizes)
    ).eval()
    with torch.no_grad():
        for parameter in detr.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return detr


def fields() -> dict:
    config = tiny_config()
    return {"id2predicate": config.id2predicate, "group_predicate_counts": [5, 3, 2, 1, 1], "num_query_groups": 2}


def test_starts_as_the_detector_three_times(detr):
    model = SpeaQForSceneGraphGeneration.from_detr(detr, **fields()).eval()
    pixel_values = torch.randn(2, 3, 64, 64)
    expected, found = detr(pixel_values), model(pixel_values)
    for stream in ("subject", "object"):
        logits, boxes = found[f"{stream}_logits"][:, ::2], found[f"{stream}_boxes"][:, ::2]
        torch.testing.assert_close(logits, expected.logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(boxes, expected.pred_boxes, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.relation_boxes.shape, torch.Size((2, 20, 4)))


def test_everything_of_the_detector_is_used(detr):
    from speaq_hf.models.speaq.detr_weights_speaq import convert_detr_weights

    model = SpeaQForSceneGraphGeneration.from_detr(detr, **fields())
    converted = convert_detr_weights(detr, model.config, model.class_head.state_dict())
    missing = model.state_dict().keys() - converted.keys()
    assert not converted.keys() - model.state_dict().keys()
    assert missing and all(any(joint in name for joint in JOINTS) for name in missing)
    values = {tensor.double().sum().item() for tensor in converted.values()}
    for name, tensor in detr.state_dict().items():
        if not name.startswith("model.query_position") and "num_batches" not in name:
            assert tensor.double().sum().item() in values, name


def test_classes_move_by_name(detr, caplog):
    SpeaQForSceneGraphGeneration.from_detr(detr, **fields())
    assert not caplog.messages
    names = {0: "tree", 1: "zebra", 2: "person"}
    model = SpeaQForSceneGraphGeneration.from_detr(detr, **(fields() | {"id2label": names}))
    theirs = detr.class_labels_classifier.weight
    for row, name in ((0, 5), (2, 0), (3, 6)):
        assert torch.equal(model.class_head.weight[row], theirs[name])
    assert not any(torch.equal(model.class_head.weight[1], row) for row in theirs)
    assert "does not know 1 of 3 object classes, e.g. zebra" in caplog.text


def test_from_a_directory(detr, tmp_path):
    detr.save_pretrained(tmp_path)
    model = SpeaQForSceneGraphGeneration.from_detr(tmp_path, **fields())
    assert torch.equal(model.box_head.layers[0].weight, detr.bbox_predictor.layers[0].weight)


@pytest.mark.parametrize(
    ("dropped", "resized", "message"),
    [
        ("class_labels_classifier.", None, None),
        ("bbox_predictor.layers.0.", None, "not a whole DETR detector: 2 .* e.g. bbox_predictor.layers.0.bias"),
        ("model.", None, "not a whole DETR detector: .* weights are missing"),
        (None, "bbox_predictor.layers.0.bias", "1 weights are missing or have other sizes"),
    ],
)
def test_a_saved_detector_is_taken_whole(detr, tmp_path, caplog, dropped, resized, message):
    detr.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: value for name, value in weights.items() if dropped is None or not name.startswith(dropped)}
    kept |= {} if resized is None else {resized: torch.zeros(3)}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    if message is None:
        SpeaQForSceneGraphGeneration.from_detr(tmp_path, **fields())
        assert "has no classifier" in caplog.text
        return
    with pytest.raises(ValueError, match=message):
        SpeaQForSceneGraphGeneration.from_detr(tmp_path, **fields())


def test_another_kind_of_model_is_refused(tmp_path):
    SpeaQForSceneGraphGeneration(tiny_config()).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a model of type 'speaq', expected a DETR detector"):
        SpeaQForSceneGraphGeneration.from_detr(tmp_path, **fields())


@pytest.mark.parametrize("change", [{"depths": [2, 1]}, {"hidden_sizes": [8, 32]}])
def test_another_backbone_is_refused(detr, change):
    backbone = tiny_config().backbone_config.to_dict() | change
    with pytest.raises(ValueError, match="backbone_config"):
        SpeaQForSceneGraphGeneration.from_detr(detr, **(fields() | {"backbone_config": backbone}))


def test_sizes_that_differ_are_named(detr):
    with pytest.raises(ValueError, match="`d_model` is 64 but the detector has 32.*`num_object_queries` is 12"):
        SpeaQForSceneGraphGeneration.from_detr(detr, tiny_config(d_model=64, num_object_queries=12))
    with pytest.raises(ValueError, match="not both"):
        SpeaQForSceneGraphGeneration.from_detr(detr, tiny_config(), dropout=0.1)


def test_backbones_of_timm_are_wrapped():
    """timm is not installed for tests: detectors keep its network bare, `AutoBackbone` keeps it in `_backbone`."""
    name = "model.backbone.model.layer1.0.conv1.weight"
    assert list(_new_names(name, is_timm=True)) == ["model.backbone.model._backbone.layer1.0.conv1.weight"]
    assert list(_new_names(name, is_timm=False)) == [name]
