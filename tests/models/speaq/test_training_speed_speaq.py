"""Shortcuts for training give the losses and gradients of the plain model."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from speaq_hf import SpeaQForSceneGraphGeneration
from speaq_hf.models.speaq.backbone_speaq import SpeaQFrozenBatchNorm2d
from speaq_hf.models.speaq.folded_norms_speaq import SpeaQFoldingConv2d, restore_frozen_norms
from tests.helpers import random_label, tiny_config
from tests.models.speaq.test_backbone_speaq import FAMILIES


BATCHES = {
    "two images": ((2, 3, 64, 96), [random_label(4, 5), random_label(3, 2, 1)]),
    "one image of an odd size": ((1, 3, 61, 47), [random_label(4, 3)]),
    "no relations": ((2, 3, 33, 40), [random_label(0, 0), random_label(2, 0)]),
}

NARROW_STEPS = """
import torch
from speaq_hf.models.speaq.backbone_speaq import SpeaQFrozenBatchNorm2d
from speaq_hf.models.speaq.folded_norms_speaq import SpeaQFoldingConv2d

torch.set_num_threads(2)
layer = SpeaQFoldingConv2d(torch.nn.Conv2d(8, 16, 1, stride=2, bias=False), SpeaQFrozenBatchNorm2d(16))
for _ in range(30):
    images = torch.randn(1, 8, 16, 16).to(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        features = layer(images)
    features.float().square().sum().backward()
    allocated = [torch.randn(100 * count) for count in range(1, 50)]
"""


def build(config=None) -> SpeaQForSceneGraphGeneration:
    torch.manual_seed(0)
    model = SpeaQForSceneGraphGeneration(config or tiny_config()).train()
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, SpeaQFrozenBatchNorm2d):
            for buffer in module.buffers():
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model.double()  # so that rounding does not switch a ReLU


def step(model: SpeaQForSceneGraphGeneration, batch: str = "two images") -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients of all parameters."""
    size, labels = BATCHES[batch]
    pixel_values = torch.randn(size, generator=torch.Generator().manual_seed(2)).to(model.dtype)
    model.zero_grad()
    torch.manual_seed(3)  # some backbones leave out layers at random
    loss = model(pixel_values=pixel_values, labels=labels).loss
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(found: tuple[Tensor, dict[str, Tensor]], expected: tuple[Tensor, dict[str, Tensor]]) -> None:
    torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=1e-6)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        assert (found[1][name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-7, name


def count(model: torch.nn.Module, kind: type) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


class TestOptimizeForTraining:
    @pytest.mark.parametrize("batch", BATCHES)
    def test_loss_and_gradients_are_those_of_the_plain_model(self, batch):
        plain, fast = build(), build().optimize_for_training()
        assert count(fast, SpeaQFoldingConv2d) == count(plain, SpeaQFrozenBatchNorm2d) > 3
        assert_same(step(fast, batch), step(plain, batch))

    @pytest.mark.parametrize("family", ["resnet-bottleneck", "hgnet-v2", "convnext", "dinov2", "rt-detr-resnet"])
    def test_any_backbone(self, family):
        config = FAMILIES[family].config()
        assert_same(step(build(config).optimize_for_training()), step(build(config)))

    def test_norms_that_are_trained_stay(self):
        model = build(tiny_config(freeze_batch_norm=False)).optimize_for_training()
        assert count(model, SpeaQFoldingConv2d) == 0 and count(model, torch.nn.BatchNorm2d) > 3

    def test_parameters_stay_and_the_checkpoint_is_the_same(self, tmp_path):
        model = build()
        parameters, before = dict(model.named_parameters()), copy.deepcopy(model.state_dict())
        model.optimize_for_training()
        assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
        model.save_pretrained(tmp_path)
        loaded = SpeaQForSceneGraphGeneration.from_pretrained(tmp_path).double().state_dict()
        assert loaded.keys() == before.keys() and all(torch.equal(loaded[name], before[name]) for name in before)

    def test_weights_loaded_and_moved_afterwards_count(self):
        fast, other = build().optimize_for_training(), build()
        with torch.no_grad():
            for tensor in (*other.parameters(), *other.buffers()):
                if tensor.is_floating_point():
                    tensor.mul_(1.1)
        fast.load_state_dict(other.state_dict())
        assert_same(step(copy.deepcopy(fast).float().double()), step(other))

    def test_the_norm_is_computed_in_float32_under_bf16(self):
        plain, fast = build().float(), build().float().optimize_for_training()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, expected = step(fast), step(plain)
        torch.testing.assert_close(found[0], expected[0], rtol=1e-2, atol=1e-2)

    def test_parameters_stay_contiguous(self):
        """FSDP shards no others."""
        assert all(parameter.is_contiguous() for parameter in build().optimize_for_training().parameters())

    def test_narrow_backbones_train_in_bfloat16(self):
        """oneDNN's backward pass of narrow convolutions with a step corrupts the heap, which ends the process sooner or later."""
        run = subprocess.run([sys.executable, "-c", NARROW_STEPS], capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr

    def test_twice_and_back(self):
        model = build()
        expected = step(model)
        fast = model.optimize_for_training().optimize_for_training()
        restore_frozen_norms(fast.model.backbone.model)
        assert count(fast, SpeaQFoldingConv2d) == 0
        assert_same(step(fast), expected)

    def test_a_model_in_training_can_be_optimized_for_inference(self):
        plain, fast = build().eval(), build().optimize_for_training()
        pixel_values = torch.randn(1, 3, 64, 64, dtype=torch.float64)
        with torch.no_grad():
            expected = plain(pixel_values).predicate_logits
            torch.testing.assert_close(fast.optimize_for_inference()(pixel_values).predicate_logits, expected, rtol=1e-4, atol=1e-4)  # fmt: skip
        assert count(fast, SpeaQFoldingConv2d) > 0


class TestCheckpointing:
    @pytest.mark.parametrize("family", ["resnet", "resnet-bottleneck", "convnext", "swin", "dinov2", "hgnet-v2", "focalnet", "pp-lcnet", "rt-detr-resnet"])  # fmt: skip
    def test_gradients_are_the_same_and_the_backbone_is_recomputed(self, family):
        config = FAMILIES[family].config()
        plain, model = build(config), build(config).optimize_for_training()
        model.gradient_checkpointing_enable()
        assert count(model.model.backbone, GradientCheckpointingLayer) >= 2
        passes = []
        for module in model.model.backbone.modules():
            if isinstance(module, GradientCheckpointingLayer):
                for child in module.children():
                    child.register_forward_pre_hook(lambda child, *_: passes.append(child))
        assert_same(step(model), step(plain))
        assert max(map(passes.count, passes)) >= 2

    def test_all_layers_of_the_transformer_are_recomputed(self):
        model = build()
        model.gradient_checkpointing_enable()
        kinds = {
            type(module).__name__ for module in model.modules() if getattr(module, "gradient_checkpointing", False)
        }
        assert kinds >= {
            "SpeaQEncoderLayer",
            "SpeaQDecoderLayer",
            "SpeaQConditionalPosition",
            "SpeaQTripletRefinement",
        }

    def test_trained_norms_see_every_image_once(self):
        plain, model = build(tiny_config(freeze_batch_norm=False)), build(tiny_config(freeze_batch_norm=False))
        model.gradient_checkpointing_enable()
        step(plain), step(model)
        for (name, expected), found in zip(plain.named_buffers(), model.buffers(), strict=True):
            torch.testing.assert_close(found, expected, msg=name)

    def test_it_can_be_saved_copied_and_switched_off(self, tmp_path):
        model = build()
        expected = step(model)
        model.gradient_checkpointing_enable()
        torch.save(model, tmp_path / "whole.pt")
        whole = torch.load(tmp_path / "whole.pt", weights_only=False)
        assert_same(step(whole), expected)
        model = copy.deepcopy(model)
        model.gradient_checkpointing_disable()
        assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
        assert_same(step(model), expected)
        model.save_pretrained(tmp_path)
        assert_same(step(SpeaQForSceneGraphGeneration.from_pretrained(tmp_path).double().train()), expected)
