"""The detector's loss: transformers' numbers where those are right, and what they are not."""

import torch
from transformers import DetrConfig
from transformers.loss.loss_for_object_detection import ForObjectDetectionLoss

from tests.helpers import random_label
from training.detection_loss import DetectionCriterion


CONFIG = DetrConfig(
    backbone_config={"model_type": "resnet", "depths": [1], "hidden_sizes": [8], "out_features": ["stage1"]},
    num_labels=6,
    decoder_layers=3,
)
COUNTS = (4, 0, 7, 1)


def predictions(layers=3, queries=9):
    images, generator = len(COUNTS), torch.Generator().manual_seed(0)
    logits = torch.randn(layers, images, queries, 7, generator=generator)
    boxes = 0.1 + 0.5 * torch.rand(layers, images, queries, 4, generator=generator)
    return logits.requires_grad_(), boxes.requires_grad_()


def labels(**extra):
    return [random_label(count, 0, seed, **extra) for seed, count in enumerate(COUNTS)]


def criterion(logits, boxes, labels):
    return DetectionCriterion(CONFIG)(logits, boxes, labels)


def test_equals_the_loss_of_transformers():
    logits, boxes = predictions()
    config = DetrConfig(**(CONFIG.to_dict() | {"auxiliary_loss": True}))
    expected, terms, _ = ForObjectDetectionLoss(logits[-1], labels(), "cpu", boxes[-1], config, logits, boxes)
    loss, losses = criterion(logits, boxes, labels())
    torch.testing.assert_close(loss, expected)
    for ending in ("", "_0", "_1"):
        for ours, theirs in (("class", "ce"), ("bbox", "bbox"), ("giou", "giou")):
            torch.testing.assert_close(losses[f"loss_{ours}{ending}"], terms[f"loss_{theirs}{ending}"])
    assert len(losses) == 9


def test_every_layer_gets_gradients_from_all_its_terms():
    logits, boxes = predictions()
    criterion(logits, boxes, labels())[0].backward()
    assert (logits.grad.abs().sum(dim=(1, 2, 3)) > 0).all() and (boxes.grad.abs().sum(dim=(1, 2, 3)) > 0).all()


def test_nan_becomes_the_loss_instead_of_an_error():
    logits, boxes = predictions()
    with torch.no_grad():
        boxes[1, 2, 3] = float("nan")
        logits[0] = float("inf")
    assert not criterion(logits, boxes, labels())[0].isfinite()


def test_batches_without_objects_train_background_only():
    logits, boxes = predictions()
    loss, losses = criterion(logits, boxes, [random_label(0, 0) for _ in COUNTS])
    loss.backward()
    assert losses["loss_class"] > 0 and losses["loss_bbox"] == losses["loss_giou"] == 0
    assert logits.grad.isfinite().all() and boxes.grad.isfinite().all()


def test_more_objects_than_queries():
    logits, boxes = predictions(queries=3)
    loss, losses = criterion(logits, boxes, labels())
    assert loss.isfinite() and losses["loss_giou"] > 0


def test_loss_weights_scale_all_terms_of_an_image():
    logits, boxes = predictions()
    plain, _ = criterion(logits, boxes, labels())
    halved, _ = criterion(logits, boxes, labels(loss_weight=torch.tensor(0.5)))
    torch.testing.assert_close(halved, plain / 2)
    only_first = labels(loss_weight=torch.tensor(0.0))
    only_first[0]["loss_weight"] = torch.tensor(1.0)
    loss, _ = criterion(logits, boxes, only_first)
    gradients = torch.autograd.grad(loss, (logits, boxes))
    assert all(gradient[:, 0].any() and not gradient[:, 1:].any() for gradient in gradients)


def test_mean_over_processes_is_the_loss_of_the_whole_batch(monkeypatch):
    logits, boxes = predictions()
    whole, _ = criterion(logits, boxes, labels())
    shares, divisors = (slice(0, 1), slice(1, 4)), []

    def share_losses():
        return [criterion(logits[:, share], boxes[:, share], labels()[share])[0] for share in shares]

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda values: divisors.append(values.clone()))
    share_losses()
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda values: values.copy_(sum(divisors)))
    torch.testing.assert_close(sum(share_losses()) / 2, whole)


def test_coefficients_are_the_configuration_s():
    logits, boxes = predictions()
    loss, losses = criterion(logits, boxes, labels())
    weights = {"class": 1, "bbox": 5, "giou": 2}
    total = sum(weights[name.split("_")[1]] * value for name, value in losses.items())
    torch.testing.assert_close(loss, total)
