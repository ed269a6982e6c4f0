# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Time of assignment and loss beside a plain one, at the published size, and with 1 to 500 relations per image.

python -m benchmarks.assignment [--output FILE.json] [--quick] [--full]

Predictions are those of freshly initialised heads on random states; relations have VG150's distribution of predicates.
`--full` repeats the comparison for more numbers of relations.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.comparison import as_json, compare, environment, say, timing_table, write_report
from benchmarks.plain_criterion import PlainCriterion
from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration
from speaq_hf.models.speaq.loss_speaq import SpeaQCriterion
from speaq_hf.models.speaq.modeling_speaq import SpeaQModelOutput
from speaq_hf.models.speaq.vg150 import VG150_PREDICATE_COUNTS


QUICK = {"num_object_queries": 20, "decoder_layers": 2, "d_model": 32}
OBJECTS_PER_IMAGE = 12


def small_config(**fields: Any) -> SpeaQConfig:
    """The published configuration with a backbone that costs nothing to make."""
    backbone = {
        "model_type": "resnet",
        "depths": [1],
        "hidden_sizes": [8],
        "out_features": ["stage1"],
        "embedding_size": 8,
    }
    return SpeaQConfig(
        backbone_config=backbone, predicate_counts=list(VG150_PREDICATE_COUNTS), encoder_layers=1, **fields
    )


def make_predictions(config: SpeaQConfig, batch_size: int, seed: int = 0) -> Callable[[], tuple[list[Tensor], list]]:
    """Calls of the heads' outputs anew, so that each has a graph of its own: leaves, and the layers made from them."""
    torch.manual_seed(seed)
    model = SpeaQForSceneGraphGeneration(config)
    size = (config.decoder_layers, batch_size, config.num_object_queries, config.d_model)
    repeat = config.relation_query_multiplier
    states = [torch.randn(*size[:2], repeat * size[2] if name == "relation" else size[2], size[3]) for name in ("subject", "object", "relation")]  # fmt: skip
    with torch.no_grad():
        layers = model.predict_layers(SpeaQModelOutput(subject_states=states[0], object_states=states[1], relation_states=states[2]))  # fmt: skip
    stacked = {name: torch.stack([layer[name] for layer in layers]) for name in layers[0]}

    def call() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
        leaves = {name: values.detach().requires_grad_() for name, values in stacked.items()}
        unbound = zip(*(values.unbind() for values in leaves.values()), strict=True)
        return list(leaves.values()), [dict(zip(leaves, layer, strict=True)) for layer in unbound]

    return call


def make_labels(config: SpeaQConfig, batch_size: int, num_relations: int, seed: int = 0) -> list[dict[str, Tensor]]:
    """Random labels with so many relations per image."""
    generator = torch.Generator().manual_seed(seed)
    shares = torch.tensor(VG150_PREDICATE_COUNTS, dtype=torch.float)
    labels = []
    for _ in range(batch_size):
        sizes = 0.1 + 0.4 * torch.rand(OBJECTS_PER_IMAGE, 2, generator=generator)
        centres = sizes / 2 + (1 - sizes) * torch.rand(OBJECTS_PER_IMAGE, 2, generator=generator)
        ends = torch.randint(OBJECTS_PER_IMAGE, (num_relations, 2), generator=generator)
        predicates = torch.multinomial(shares, num_relations, replacement=True, generator=generator)
        classes = torch.randint(config.num_labels, (OBJECTS_PER_IMAGE,), generator=generator)
        boxes = torch.cat((centres, sizes), dim=1)
        labels.append(
            {"class_labels": classes, "boxes": boxes, "relations": torch.cat((ends, predicates[:, None]), 1)}
        )
    return labels


def compare_criteria(config: SpeaQConfig, batch_size: int, num_relations: int, repeats: int) -> dict[str, Any]:
    """Times of both, forward alone and with backward; asserts that losses and gradients are equal."""
    predict, labels = make_predictions(config, batch_size), make_labels(config, batch_size, num_relations)
    criteria = {"plain": PlainCriterion(config), "ours": SpeaQCriterion.from_config(config)}

    def step(criterion: Callable[..., tuple[Tensor, dict]], backward: bool) -> tuple[Tensor, list[Tensor]]:
        leaves, layers = predict()
        loss, _ = criterion(layers, labels)
        if backward:
            loss.backward()
        return loss.detach(), [leaf.grad for leaf in leaves]

    (loss, gradients), (expected, expected_gradients) = (step(criteria[name], True) for name in ("ours", "plain"))
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        assert (gradient - wanted).norm() <= 1e-3 * wanted.norm(), "the gradients of ours and plain differ"
    report: dict[str, Any] = {"batch_size": batch_size, "relations_per_image": num_relations}
    for kind, backward in (("forward", False), ("forward and backward", True)):
        calls = {name: lambda c=criterion, b=backward: step(c, b) for name, criterion in criteria.items()}
        timings = compare(calls, repeats)
        say(f"\n{kind}, {batch_size} images, {num_relations} relations each\n{timing_table(timings, 'plain')}")
        report[kind] = as_json(timings, "plain")
    return report


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="Where to write the figures as JSON.")
    parser.add_argument("--quick", action="store_true", help="Small sizes, to see that it runs.")
    parser.add_argument("--full", action="store_true", help="More numbers of relations.")
    arguments = parser.parse_args(words)
    config = small_config(**QUICK) if arguments.quick else small_config()
    batch_size, numbers, repeats = (2, [1, 3], 1) if arguments.quick else (20, [20, 1], 5)
    if arguments.full:
        numbers = [20, 1, 5, 50, 100, 200, 500]
    rows = [
        compare_criteria(config, batch_size if number <= 100 else 2, number, repeats if number <= 20 else 1)
        for number in numbers
    ]
    write_report({"environment": environment(), "results": rows}, arguments.output)


if __name__ == "__main__":
    main()
