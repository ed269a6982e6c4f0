"""One step of the published optimizer, against the recorded one."""

import pytest
import torch

from tests.helpers import read_reference
from tests.models.speaq.test_loss_speaq import criterion_labels, disable_dropout, names_of
from training.arguments import TrainingArguments
from training.optimization import build_optimizer


def test_recorded_step(model, variant, batch):
    expected = read_reference("criterion.json")[f"{variant}/A"]["optimizer"]
    disable_dropout(model)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, TrainingArguments(output_dir="unused"))
    assert sorted(group["lr"] for group in optimizer.param_groups) == [1e-5, 1e-4]
    assert {group["weight_decay"] for group in optimizer.param_groups} == {1e-4}
    model(**batch, labels=criterion_labels("A", batch)).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), TrainingArguments(output_dir="unused").max_grad_norm)
    gradients = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    assert torch.stack(gradients).norm().item() == pytest.approx(expected["clipped_grad_norm"], rel=1e-4)
    optimizer.step()
    change = {name: parameter.detach() - before[name] for name, parameter in model.named_parameters()}
    for original, norm in expected["delta_norms"].items():
        ours = torch.cat([change[name].flatten() for name in names_of(original)]).norm().item()
        assert ours == pytest.approx(norm, rel=1e-2), original
