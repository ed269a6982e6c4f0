# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Time and memory of a training step of the published model, beside those of a plain port of it.

python -m benchmarks.training_step [--output FILE.json] [--alternatives NAME ...] [--quick]

"plain" is our model as a faithful port computes it: eager attention, frozen batch norms of their own, contiguous memory,
losses layer after layer and image after image, AdamW parameter after parameter. Its loss in float32 must be ours. "compiled"
is measured only when it is named: compiling takes minutes.
"""

import argparse
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.assignment import make_labels
from benchmarks.comparison import (
    as_json,
    compare,
    environment,
    peak_memory_in_new_process,
    say,
    timing_table,
    write_report,
)
from benchmarks.made_models import made_config
from benchmarks.plain_criterion import PlainCriterion
from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration
from speaq_hf.inspection.model_benchmark import Timing
from speaq_hf.models.speaq.loss_speaq import SpeaQCriterion
from speaq_hf.models.speaq.vg150 import VG150_PREDICATE_COUNTS


STAGES = ("forward", "criterion", "backward", "optimizer")
FAST = ("fp32", "bf16", "fp32, checkpointing", "bf16, checkpointing")
RELATIONS_PER_IMAGE = 20


def make_config(quick: bool) -> SpeaQConfig:
    """The published configuration without dropout, so that losses can be compared; a tiny one for a quick run."""
    rates = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    return made_config(quick, predicate_counts=list(VG150_PREDICATE_COUNTS), **rates)


class TrainingStep:
    """One alternative: a model, its loss and its optimizer.

    Args:
        name: "plain", one of `FAST`, or "compiled" (bf16).
        size: Images, height and width.
        quick: Whether the model is tiny.
        model: That of another alternative, to save memory; built when missing.
    """

    def __init__(self, name: str, size: tuple[int, int, int], quick: bool, model: nn.Module | None = None) -> None:
        self.name, config = name, make_config(quick)
        self.is_plain, self.dtype = (
            name == "plain",
            torch.float32 if name.startswith(("plain", "fp32")) else torch.bfloat16,
        )
        self.model = _build(name, config) if model is None else model
        self.criterion = PlainCriterion(config) if self.is_plain else SpeaQCriterion.from_config(config)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        # A rate of 0 keeps the weights, so that every step of every alternative has the same loss.
        self.optimizer = torch.optim.AdamW(trained, lr=0.0, weight_decay=1e-4, fused=not self.is_plain, foreach=False)
        self.seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
        torch.manual_seed(1)
        self.pixel_values = torch.randn(size[0], 3, *size[1:])
        self.labels = make_labels(config, size[0], RELATIONS_PER_IMAGE)

    def __call__(self) -> Tensor:
        """Take the step; the loss."""
        if not self.is_plain:
            switch = "enable" if self.name.endswith("checkpointing") else "disable"
            getattr(self.model, f"activation_checkpointing_{switch}")()
        marks = [time.perf_counter()]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            layers = self.model.predict_layers(self.model.model(self.pixel_values))
            marks.append(time.perf_counter())
            loss, _ = self.criterion(layers, self.labels)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        self.optimizer.step()
        self.optimizer.zero_grad()
        marks.append(time.perf_counter())
        for stage, start, end in zip(STAGES, marks[:-1], marks[1:], strict=True):
            self.seconds[stage].append(end - start)
        return loss.detach()


def _build(name: str, config: SpeaQConfig) -> SpeaQForSceneGraphGeneration:
    torch.manual_seed(0)
    attention = {"attn_implementation": "eager"} if name == "plain" else {}
    model = SpeaQForSceneGraphGeneration._from_config(config, **attention).train()
    if name != "plain":
        model.optimize_for_training()
    if name == "compiled":
        model.model.compile()
    return model


def build_step(name: str, size: tuple[int, int, int], quick: bool) -> Callable[[], Tensor]:
    """A step whose optimizer has its state already, for measuring memory."""
    step = TrainingStep(name, size, quick)
    for group in step.optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    step.optimizer.step()
    step.optimizer.zero_grad()
    return step


def _stage_table(steps: Sequence[TrainingStep], warm_up: int) -> dict[str, dict[str, float]]:
    split = {}
    say(f"\n{'seconds':22}" + "".join(f"{stage:>12}" for stage in STAGES))
    for step in steps:
        split[step.name] = {stage: Timing.of(values[warm_up:]).median for stage, values in step.seconds.items()}
        say(f"{step.name:22}" + "".join(f"{value:>12.3f}" for value in split[step.name].values()))
    return split


def _check_losses(steps: Sequence[TrainingStep]) -> None:
    losses = {step.name: step().item() for step in steps}
    for name, loss in losses.items():
        allowed = 1e-4 if name.startswith(("plain", "fp32")) else 5e-2
        if "plain" in losses and abs(loss - losses["plain"]) > allowed * abs(losses["plain"]):
            raise AssertionError(f"The loss of {name} is {loss}, that of plain {losses['plain']}.")


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="Where to write the figures as JSON.")
    parser.add_argument("--alternatives", nargs="+", default=["plain", *FAST], choices=["plain", *FAST, "compiled"])
    parser.add_argument("--size", nargs=3, type=int, default=[2, 480, 640], help="Images, height and width.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="A tiny model, to see that it runs.")
    arguments = parser.parse_args(words)
    size, repeats = (
        (2, 64, 96) if arguments.quick else tuple(arguments.size),
        1 if arguments.quick else arguments.repeats,
    )
    reference = arguments.alternatives[0]
    memory = {
        name: peak_memory_in_new_process(build_step, name, size, arguments.quick) for name in arguments.alternatives
    }
    fast = functools.cache(lambda: _build("fp32", make_config(arguments.quick)))
    steps = [
        TrainingStep(name, size, arguments.quick, fast() if name in FAST else None) for name in arguments.alternatives
    ]
    _check_losses(steps)  # the warm-up, too
    timings = compare({step.name: step for step in steps}, repeats, warm_up=0)
    say(timing_table(timings, reference))
    split = _stage_table(steps, warm_up=1)
    say(f"\n{'memory':22}{'peak':>12}{'of the step':>16}{'share of ' + reference:>18}")
    for name, values in memory.items():
        share = values["peak"] / memory[reference]["peak"]
        say(f"{name:22}{values['peak'] / 1e9:>9.2f} GB{values['call'] / 1e9:>13.2f} GB{share:>18.2f}")
    report = {"size": size, "times": as_json(timings, reference), "stages": split, "memory": memory}
    write_report({"environment": environment()} | report, arguments.output)


if __name__ == "__main__":
    main()
