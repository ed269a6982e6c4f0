"""Detector pre-training: what is trained, what is saved, and that scene graph models start from it exactly."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from transformers import (
    AutoImageProcessor,
    DetrConfig,
    DetrForObjectDetection,
    DetrImageProcessorPil,
    ResNetConfig,
    ResNetForImageClassification,
)

from speaq_hf import SpeaQForSceneGraphGeneration
from tests.training.micro_run import MICRO_RUN
from training import pretrain_detector, train
from training.configuration_file import DETECTOR_SECTIONS, parse_run
from training.detector import TrainableDetector


DROPOUT = {"dropout": 0.1, "attention_dropout": 0.1}
DETECTION = {"best_metric": "recall@10"}


@pytest.fixture
def micro_detector(micro_run):
    """Command line words of a short run."""

    def words(name, *overrides, **sections):
        sections["evaluation"] = DETECTION | sections.get("evaluation", {})
        return micro_run(name, *overrides, **sections)

    return words


def run(words, program=pretrain_detector):
    program.main(words)
    return Path(words[words.index("--training.output_dir") + 1])


def weights(folder):
    return DetrForObjectDetection.from_pretrained(folder / "final").state_dict()


def entries(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def images(seed=0, size=(2, 3, 64, 48)):
    """Images and a mask with padding, as large as the stride divides: there both networks' masks agree."""
    pixels = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    mask = torch.ones(size[0], *size[2:], dtype=torch.int64)
    mask[1, 41:], mask[1, :, 30:] = 0, 0
    return pixels * mask[:, None], mask


def perturb(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator))


def test_pretrained_detector_starts_scene_graph_training(micro_detector, micro_run):
    folder = run(micro_detector("detector", "--evaluation.steps", "2"))
    assert {path.name for path in folder.iterdir()} == {
        ".lock",
        "best",
        "checkpoints",
        "config.yaml",
        "final",
        "log.jsonl",
    }
    log = entries(folder)
    assert [(entry["step"], entry["type"]) for entry in log] == [
        (1, "train"), (2, "train"), (2, "evaluation"), (3, "train"), (4, "train"), (4, "evaluation"),
    ]  # fmt: skip
    for name in ("loss", "loss_class", "loss_bbox", "loss_giou", "gradient_norm", "images_per_second"):
        assert log[0][name] > 0
    assert 0 <= log[2]["recall@10"] <= log[2]["recall@100"] <= 1 and log[2]["num_images"] == 6

    detector = DetrForObjectDetection.from_pretrained(folder / "final").eval()
    assert detector.config.auxiliary_loss is False and detector.config.architectures == ["DetrForObjectDetection"]
    processor = AutoImageProcessor.from_pretrained(folder / "final", backend="pil")
    assert isinstance(processor, DetrImageProcessorPil) and processor.size["shortest_edge"] == 64
    detections = processor.post_process_object_detection(detector(*images()), target_sizes=[(64, 48)] * 2)
    assert len(detections) == 2

    started = train.build_trainer(train.parse_arguments(micro_run("start", "--model.detr", str(folder / "final"))))
    assert_three_detectors(started.model.eval(), detector)
    graphs = run(micro_run("graphs", "--model.detr", str(folder / "final"), "--training.max_steps", "2"), train)
    assert SpeaQForSceneGraphGeneration.from_pretrained(graphs / "final").config.num_labels == 150


def assert_three_detectors(model, detector):
    pixels, mask = images()
    with torch.no_grad():
        expected, found = detector(pixels, pixel_mask=mask), model(pixels, pixel_mask=mask)
    repeats = model.config.relation_query_multiplier
    for name in ("subject_boxes", "object_boxes", "relation_boxes"):
        boxes = expected.pred_boxes.repeat_interleave(repeats, dim=1)
        torch.testing.assert_close(found[name], boxes, rtol=0, atol=1e-5)
    ours, theirs = model.config.label2id, detector.config.label2id
    shared = [name for name in ours if name in theirs]
    columns = [ours[name] for name in shared] + [-1], [theirs[name] for name in shared] + [-1]
    logits = expected.logits.repeat_interleave(repeats, dim=1)[..., columns[1]]
    for name in ("subject_logits", "object_logits"):
        torch.testing.assert_close(found[name][..., columns[0]], logits, rtol=0, atol=1e-5)
    assert not torch.allclose(expected.pred_boxes[:, 0], expected.pred_boxes[:, 1], atol=1e-3)
    return shared


@pytest.mark.parametrize("vocabulary", ["same", "other"])
def test_three_decoders_reproduce_the_saved_detector(micro_detector, tmp_path, vocabulary):
    trainer = pretrain_detector.build_trainer(micro_detector("run"))
    perturb(trainer.model)
    trainer.save_model(tmp_path / "detector")
    detector = DetrForObjectDetection.from_pretrained(tmp_path / "detector").eval()
    fields = {}
    if vocabulary == "other":
        names = list(detector.config.id2label.values())
        fields = {"id2label": dict(enumerate(["zebra crossing", *reversed(names[::2]), "abacus"]))}
    model = SpeaQForSceneGraphGeneration.from_detr(tmp_path / "detector", **fields).eval()
    shared = assert_three_detectors(model, detector)
    assert len(shared) == (150 if vocabulary == "same" else 75)


@pytest.mark.parametrize("freeze", [True, False])
def test_saved_detector_computes_what_was_trained(micro_detector, tmp_path, freeze):
    words = micro_detector("run", model={"freeze_batch_norm": freeze, "decoder_layers": 3})
    trainer = pretrain_detector.build_trainer(words)
    perturb(trainer.model)
    trained = trainer.model
    pixels, mask = images()
    with torch.no_grad():
        trained.train()(pixels, mask)  # moves the running statistics, if they are not frozen
        trained.eval()
        no_objects = [{"class_labels": torch.zeros(0, dtype=torch.int64), "boxes": torch.zeros(0, 4)}] * 2
        expected = trained(pixels, mask, labels=no_objects)
        trainer.save_model(tmp_path / "detector")
        found = DetrForObjectDetection.from_pretrained(tmp_path / "detector").eval()(pixels, pixel_mask=mask)
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.pred_boxes, expected.pred_boxes, rtol=0, atol=1e-5)


def test_earlier_layers_are_trained_as_if_they_were_the_last(micro_detector, monkeypatch):
    trained = pretrain_detector.build_trainer(micro_detector("run", model={"decoder_layers": 3})).model.eval()
    perturb(trained)
    seen = []
    monkeypatch.setattr(trained, "criterion", lambda logits, boxes, labels: seen.append((logits, boxes)) or (0, {}))
    pixels, mask = images()
    with torch.no_grad():
        trained(pixels, mask, labels=[])
        layers = trained.detector.model.decoder.layers
        for layer, (logits, boxes) in enumerate(zip(*seen[0], strict=True)):
            trained.detector.model.decoder.layers = layers[: layer + 1]
            expected = trained.detector(pixels, pixel_mask=mask)
            torch.testing.assert_close(logits, expected.logits, rtol=0, atol=1e-5)
            torch.testing.assert_close(boxes, expected.pred_boxes, rtol=0, atol=1e-5)


def test_backbone_trains_as_told(micro_detector):
    before = pretrain_detector.build_trainer(micro_detector("before")).model.detector.state_dict()
    after = weights(run(micro_detector("after")))
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    backbone = {name for name in after if name.startswith("model.backbone.")}
    assert backbone <= moved and any("running_mean" in name for name in backbone)
    frozen = {"freeze_batch_norm": True, "freeze_backbone_stages": 2}
    before = pretrain_detector.build_trainer(micro_detector("before", model=frozen)).model.detector.state_dict()
    after = weights(run(micro_detector("frozen", model=frozen)))
    still = {name for name in backbone if torch.equal(before[name], after[name])}
    assert {name for name in backbone if "normalization" in name} <= still
    trained = {name for name in backbone - still if "convolution" in name}
    assert trained == {name for name in backbone if "stages.1" in name and "convolution" in name}


def test_backbone_from_a_classifier(micro_detector, tmp_path):
    sizes = {
        name: MICRO_RUN["model"]["backbone_config"][name]
        for name in ("layer_type", "embedding_size", "hidden_sizes", "depths")
    }
    classifier = ResNetForImageClassification(ResNetConfig(**sizes, num_labels=3))
    perturb(classifier)
    classifier.save_pretrained(tmp_path / "classifier")
    words = [*micro_detector("run"), "--model.backbone", str(tmp_path / "classifier")]
    config = parse_without_backbone_config(words)
    trainer = train.build_trainer(config, pretrain_detector.DetectionTask)
    found = trainer.model.detector.model.backbone.model.eval()
    pixels, _ = images()
    torch.testing.assert_close(found(pixels).feature_maps[-1], classifier.eval().resnet(pixels).last_hidden_state)


def parse_without_backbone_config(words):
    path = Path(words[words.index("--config") + 1])
    content = yaml.safe_load(path.read_text())
    del content["model"]["backbone_config"]
    path.write_text(yaml.safe_dump(content))
    return pretrain_detector.parse_arguments(words)


def test_stopped_and_resumed_equals_uninterrupted(micro_detector):
    options = ("--training.max_steps", "8", "--evaluation.steps", "3")
    whole = run(micro_detector("whole", *options, model=DROPOUT))
    parts = run(micro_detector("parts", *options, "--training.max_steps", "5", model=DROPOUT))
    run(micro_detector("parts", *options, "--training.resume_from", "auto", model=DROPOUT))
    first, second = weights(whole), weights(parts)
    assert first.keys() == second.keys()
    assert not [name for name in first if not torch.equal(first[name], second[name])]


def test_detector_learns(micro_detector):
    words = ("--training.max_steps", "60", "--training.log_steps", "20", "--training.learning_rate", "3e-3")
    log = entries(run(micro_detector("run", *words, training={"milestones": []})))
    first, *_, last = (entry["loss"] for entry in log)
    assert last < 0.8 * first


def test_mixed_sources_train(micro_detector, genome):
    mix = {"synthetic_root": str(genome), "ratios": {"real": 0.75, "synthetic": 0.25}}
    log = entries(run(micro_detector("run", "--training.max_steps", "2", data=mix)))
    assert len(log) == 2 and log[0]["loss"] > 0


def test_gradient_checkpointing_changes_nothing(micro_detector):
    plain = run(micro_detector("plain", "--training.max_steps", "2"))
    lean = run(micro_detector("lean", "--training.max_steps", "2", "--training.gradient_checkpointing", "true"))
    first, second = weights(plain), weights(lean)
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-5)


MISTAKES = [
    (("--model.num_query_groups", "2"), "Unknown field of section model: 'num_query_groups'"),
    (("--model.detr", "somewhere"), "Unknown field of section model: 'detr'"),
    (("--evaluation.best_metric", "R@50"), "evaluation.best_metric must be one of recall@10, recall@50, recall@100"),
    (("--model.d_model", "15"), "`d_model` (15) must be a multiple of"),
    (("--model.dropout", "high"), "model: Validation error for field 'dropout'"),
    (("--model.backbone", "./nowhere"), "model.backbone and model.backbone_config exclude each other"),
    (("--data.root", "nowhere"), "data.root: there is no folder nowhere"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"), MISTAKES, ids=lambda value: value[0] if isinstance(value, tuple) else ""
)
def test_mistakes_end_with_one_message(micro_detector, assert_refused, words, message):
    assert_refused(pretrain_detector, micro_detector("run", *words), message)


def test_a_detector_as_backbone_is_refused(micro_detector, tmp_path):
    other = ResNetConfig(layer_type="basic", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    DetrForObjectDetection(
        DetrConfig(backbone_config=other, d_model=16, encoder_layers=1, decoder_layers=1)
    ).save_pretrained(tmp_path / "detr")
    words = [*micro_detector("run"), "--model.backbone", str(tmp_path / "detr")]
    with pytest.raises(ValueError, match="model.backbone: transformers has no backbone of type detr"):
        train.build_trainer(parse_without_backbone_config(words), pretrain_detector.DetectionTask)


def test_non_finite_steps_are_skipped_and_stop_the_run(micro_detector, capsys, monkeypatch):
    forward = TrainableDetector.forward

    def broken(self, pixel_values, **inputs):
        return forward(self, pixel_values * float("nan"), **inputs)

    monkeypatch.setattr(TrainableDetector, "forward", broken)
    with pytest.raises(SystemExit):
        pretrain_detector.main(micro_detector("run", "--training.max_skipped_steps", "2"))
    assert "not finite for 2 steps in a row" in capsys.readouterr().err


def test_missing_backbone_is_named(micro_detector, tmp_path):
    words = [*micro_detector("run"), "--model.backbone", str(tmp_path / "nowhere")]
    with pytest.raises(OSError, match="model.backbone: cannot load .*nowhere"):
        train.build_trainer(parse_without_backbone_config(words), pretrain_detector.DetectionTask)


def test_the_tiny_detector_fits_the_tiny_model():
    configs = Path(__file__).parents[2] / "training" / "configs"
    detector = parse_run(configs / "detr_tiny.yaml", sections=DETECTOR_SECTIONS)
    assert detector.model.config == parse_run(configs / "tiny.yaml").model.config
