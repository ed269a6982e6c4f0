# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Common tests: a model can be trained, by hand, with the Trainer of transformers, and with adapters of peft."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .comparison import assert_same_predictions, assert_same_tensors
from .model_case import ModelCase


class TrainingTests:
    """The loss reaches every parameter that is to be trained, and falls."""

    case: ModelCase

    def test_every_trained_parameter_gets_a_gradient(self) -> None:
        """Others would stop training on several processes; frozen ones get none."""
        model = self.case.build().train()
        model(**self.case.labelled(model.config)).loss.backward()
        without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not without
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        assert all(p.grad is None for p in model.parameters() if not p.requires_grad)

    def test_images_without_relations_train(self) -> None:
        """Labels may be empty."""
        model = self.case.build().train()
        batch = self.case.labelled(model.config)
        for label in batch["labels"]:
            label.update({name: value[:0] for name, value in label.items() if isinstance(value, Tensor)})
        loss = model(**batch).loss
        loss.backward()
        assert loss.isfinite()

    def test_learns_one_batch(self) -> None:
        """Some steps on two images reduce the loss by a third."""
        torch.manual_seed(0)
        model = self.case.head_class(self.case.config()).train()
        batch = self.case.labelled(model.config)
        optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=2e-3)
        losses = []
        for _ in range(30):
            losses.append(_step(model, batch, optimizer))
        assert losses[-1] < 0.67 * losses[0], losses

    def test_gradient_checkpointing_changes_nothing(self) -> None:
        """Computing activations twice gives the same loss and gradients, and switching it off again, too."""
        model = self.case.build().train()
        assert model.supports_gradient_checkpointing
        batch = self.case.labelled(model.config)
        results = []
        for switch in (None, model.activation_checkpointing_enable, model.activation_checkpointing_disable):
            if switch is not None:
                switch()
            assert model.is_activation_checkpointing == (switch == model.activation_checkpointing_enable)
            model.zero_grad()
            loss = model(**batch).loss
            loss.backward()
            results.append(
                (loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
            )
        torch.testing.assert_close(results[1], results[0])
        torch.testing.assert_close(results[2], results[0])

    def test_trainer(self, tmp_path: Path) -> None:
        """The Trainer of transformers trains, evaluates, predicts, saves and goes on from a checkpoint."""
        import pytest

        pytest.importorskip("accelerate", reason="the Trainer needs accelerate")
        from transformers import Trainer

        torch.manual_seed(0)
        model = self.case.head_class(self.case.config())
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        rows = _rows(self.case.labelled(model.config, images=2))
        trainer = Trainer(
            model, _training_arguments(tmp_path), data_collator=_collate, train_dataset=rows * 2, eval_dataset=rows
        )
        assert trainer.train().training_loss > 0
        changed = {name for name, p in model.named_parameters() if not torch.equal(p.cpu(), before[name])}
        assert changed and changed <= {name for name, p in model.named_parameters() if p.requires_grad}
        assert trainer.evaluate()["eval_loss"] > 0
        assert len(trainer.predict(rows).predictions) == 1
        trainer.save_model(tmp_path / "final")
        assert_same_tensors(self.case.head_class.from_pretrained(tmp_path / "final"), model.cpu())
        assert (
            Trainer(model, _training_arguments(tmp_path, max_steps=3), data_collator=_collate, train_dataset=rows * 2)
            .train(resume_from_checkpoint=True)
            .global_step
            == 3
        )

    def test_lora(self, tmp_path: Path) -> None:
        """Adapters of peft are all that is trained; saved, loaded and merged they predict the same."""
        import pytest

        peft = pytest.importorskip("peft")
        settings = peft.LoraConfig(
            r=2, target_modules=self.case.lora_targets, modules_to_save=list(self.case.lora_trained) or None
        )
        adapted = peft.get_peft_model(self.case.build(), settings).train()
        trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
        assert trained and all("lora_" in name or "modules_to_save" in name for name in trained)
        before = {name: p.detach().clone() for name, p in adapted.named_parameters()}
        batch = self.case.labelled(adapted.config)
        optimizer = torch.optim.AdamW((p for p in adapted.parameters() if p.requires_grad), lr=1e-2)
        losses = [_step(adapted, batch, optimizer) for _ in range(5)]
        assert losses[-1] < losses[0]
        changed = {name for name, p in adapted.named_parameters() if not torch.equal(p, before[name])}
        assert changed and changed <= trained
        adapted.eval().save_pretrained(tmp_path)
        inputs = self.case.inputs(adapted.config)
        expected = adapted(**inputs)
        loaded = peft.PeftModel.from_pretrained(self.case.build(), tmp_path).eval()
        assert_same_predictions(loaded(**inputs), expected)
        merged = loaded.merge_and_unload()
        assert type(merged) is self.case.head_class
        assert_same_predictions(merged(**inputs), expected, rtol=1e-3, atol=1e-4)


def _step(model: PreTrainedModel, batch: dict[str, Any], optimizer: torch.optim.Optimizer) -> float:
    loss = model(**batch).loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()
    return loss.item()


def _training_arguments(folder: Path, max_steps: int = 2) -> Any:
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=folder,
        max_steps=max_steps,
        save_steps=2,
        learning_rate=1e-3,
        per_device_train_batch_size=2,
        per_device_eval_batch_size=2,
        remove_unused_columns=False,  # the rows of the data set are the model's inputs
        eval_do_concat_batches=False,  # outputs hold dicts, and images have many sizes
        label_names=["labels"],
        dataloader_pin_memory=False,
        report_to="none",
        disable_tqdm=True,
    )


def _rows(batch: dict[str, Any]) -> list[dict[str, Any]]:
    """The images of a batch, one by one."""
    return [{name: value[image] for name, value in batch.items()} for image in range(len(batch["labels"]))]


def _collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {name: torch.stack(c) if isinstance(c[0], Tensor) else c for name, c in columns.items()}
