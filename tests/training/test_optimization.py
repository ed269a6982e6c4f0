"""Learning rates, and steps that non-finite numbers cannot reach."""

import copy
import math

import pytest
import torch
from accelerate import Accelerator

from speaq_hf import SpeaQForSceneGraphGeneration
from tests.helpers import random_label, tiny_config
from training.arguments import TrainingArguments
from training.optimization import build_optimizer, build_scheduler, learning_rate_factor
from training.optimization_step import OptimizationStep


def test_step_schedule_drops_at_the_milestones():
    arguments = TrainingArguments(max_steps=10, milestones=[4, 8], decay=0.1)
    factors = [learning_rate_factor(step, arguments) for step in range(10)]
    assert factors == pytest.approx([1] * 4 + [0.1] * 4 + [0.01] * 2)


def test_cosine_schedule_rises_and_falls_to_zero():
    arguments = TrainingArguments(max_steps=100, schedule="cosine", warmup_ratio=0.1)
    factors = [learning_rate_factor(step, arguments) for step in range(101)]
    assert factors[:11] == pytest.approx([(step + 1) / 11 for step in range(11)])
    assert factors[55] == pytest.approx(0.5)
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(0, abs=1e-12)


def test_backbone_has_its_own_learning_rate_and_frozen_parameters_none():
    model = SpeaQForSceneGraphGeneration(tiny_config())
    optimizer = build_optimizer(model, TrainingArguments(learning_rate=1e-3, backbone_learning_rate_factor=0.1))
    rate_of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        expected = (1e-4 if "backbone" in name else 1e-3) if parameter.requires_grad else None
        assert rate_of.get(id(parameter)) == (pytest.approx(expected) if expected else None), name
    assert any("backbone" in name and not p.requires_grad for name, p in model.named_parameters())
    assert all(group["weight_decay"] == 1e-4 for group in optimizer.param_groups)


def build_step(accumulation=1, scaler=None, **options):
    torch.manual_seed(0)
    accelerator = Accelerator(gradient_accumulation_steps=accumulation)
    if scaler is not None:  # what Accelerate sets up where there is fp16
        accelerator.scaler, accelerator.native_amp, accelerator.state._mixed_precision = scaler, True, "fp16"
    model = SpeaQForSceneGraphGeneration(tiny_config())
    arguments = TrainingArguments(mixed_precision="fp16" if scaler else "no", **options)
    optimizer = build_optimizer(model, arguments)
    scheduler = build_scheduler(optimizer, arguments)
    prepared = accelerator.prepare(model, optimizer)
    return OptimizationStep(*prepared, scheduler, accelerator, arguments.max_grad_norm)


def make_batch(seed=0, scale=1.0):
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * scale
    labels = [random_label(3, 2, seed=seed), random_label(2, 0, seed=seed + 1)]
    return {"pixel_values": pixels, "pixel_mask": torch.ones(2, 64, 64, dtype=torch.int64), "labels": labels}


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_non_finite_numbers_do_not_reach_the_optimizer(broken, monkeypatch):
    step = build_step()
    step([make_batch()])
    weights, moments = copy.deepcopy(step.model.state_dict()), copy.deepcopy(step.optimizer.state_dict())
    forward = type(step.model).forward

    def break_it(self, **inputs):
        outputs = forward(self, **inputs)
        if broken == "loss":
            outputs.loss = outputs.loss + math.nan
        else:  # finite loss, infinite gradient
            outputs.loss = outputs.loss + (outputs.subject_logits * 0).clamp(min=0).sqrt().sum()
        return outputs

    with monkeypatch.context() as patch:
        patch.setattr(step.model, "forward", break_it.__get__(step.model))
        result = step([make_batch()])
    assert not result.is_finite
    assert math.isfinite(result.losses["loss"]) == (broken == "gradient")
    assert all(torch.equal(value, weights[name]) for name, value in step.model.state_dict().items())
    assert str(step.optimizer.state_dict()["state"]) == str(moments["state"])
    assert step([make_batch()]).is_finite
    assert not all(torch.equal(value, weights[name]) for name, value in step.model.state_dict().items())


def test_overflow_of_fp16_gradients_lowers_their_scale():
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    step = build_step(scaler=scaler, learning_rate=1e-3)
    weights = copy.deepcopy(step.model.state_dict())
    results = [step([make_batch()])]
    assert not results[0].is_finite and scaler.get_scale() == 2.0**15
    assert all(torch.equal(value, weights[name]) for name, value in step.model.state_dict().items())
    while not results[-1].is_finite:
        results.append(step([make_batch()]))
    assert len(results) < 25
    assert not torch.equal(step.model.class_head.weight, weights["class_head.weight"])
    assert step.model.class_head.weight.isfinite().all()


def test_accumulation_takes_the_mean_gradient():
    def gradients(*windows):
        step = build_step(accumulation=len(windows), max_grad_norm=None)
        seen = {}
        step.optimizer.step = lambda: seen.update(
            {n: p.grad.clone() for n, p in step.model.named_parameters() if p.grad is not None}
        )
        step(list(windows))
        return seen

    first, second = gradients(make_batch(0)), gradients(make_batch(5))
    both = gradients(make_batch(0), make_batch(5))
    for name, value in both.items():
        torch.testing.assert_close(value, (first[name] + second[name]) / 2, rtol=1e-4, atol=1e-6)


def test_clipping_is_over_the_whole_model():
    step = build_step(max_grad_norm=0.01)
    norms = []
    step.optimizer.step = lambda: norms.append(
        torch.stack([p.grad.norm() for p in step.model.parameters() if p.grad is not None]).norm().item()
    )
    result = step([make_batch()])
    assert result.gradient_norm > 1
    assert norms == [pytest.approx(0.01, rel=1e-3)]
