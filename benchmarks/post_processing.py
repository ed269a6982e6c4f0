# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Time of post-processing alone, beside plain loops over images, classes, boxes and relations.

python -m benchmarks.post_processing [--queries 600] [--classes 150] [--predicates 50] [--repeats 30] [--output FILE.json]

Outputs are made up: "objects", as a trained model gives them, many boxes around each of 30 objects; "one class", the worst case,
all boxes of one class and over each other; "chain", all boxes of one class, each over its neighbours only, so that whether one
is kept hangs on all those before it; "nothing alike", random boxes and classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.comparison import as_json, compare, environment, say, timing_table, write_report
from benchmarks.plain_post_processing import plain_scene_graph
from speaq_hf.models.speaq.post_processing_speaq import post_process_scene_graph


SIZE = (600, 800)  # height and width in pixels
MOST_MILLISECONDS = 8.0  # per image, of outputs as a trained model gives them
TRAINED = "objects"


def make_outputs(
    kind: str, queries: int = 600, classes: int = 150, predicates: int = 50, images: int = 1, seed: int = 0
) -> dict[str, Tensor]:
    """Outputs of a model for B images.

    Args:
        kind: One of `KINDS`.
        queries: Relation queries R; each two share a subject and an object, as in the published model.
        classes: C.
        predicates: P.
        images: B.
        seed: Of the random numbers.

    Returns:
        What graphs are made of, `(B, R, ...)`.
    """
    generator = torch.Generator().manual_seed(seed)
    count = -(-queries // 2)  # subject queries

    def entity() -> tuple[Tensor, Tensor]:
        labels, boxes = KINDS[kind](images, count, classes, generator)
        logits = torch.randn(images, count, classes + 1, generator=generator)
        logits.scatter_(2, labels[..., None], 5 + 5 * torch.rand(images, count, 1, generator=generator))
        return tuple(values.repeat_interleave(2, dim=1)[:, :queries] for values in (logits, boxes))

    (subject_logits, subject_boxes), (object_logits, object_boxes) = entity(), entity()
    return {
        "subject_logits": subject_logits,
        "subject_boxes": subject_boxes,
        "object_logits": object_logits,
        "object_boxes": object_boxes,
        "predicate_logits": 2 * torch.randn(images, queries, predicates + 1, generator=generator),
    }


def _around_objects(images: int, count: int, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Boxes that differ by a few per cent from one of 30 objects, some of them with another class."""
    things, layout = 30, torch.Generator().manual_seed(1)  # the same for subjects and objects
    sizes = 0.05 + 0.4 * torch.rand(images, things, 2, generator=layout)
    centres = sizes / 2 + (1 - sizes) * torch.rand(images, things, 2, generator=layout)
    thing_labels = torch.randint(classes, (images, things), generator=layout)
    chosen = torch.randint(things, (images, count), generator=generator)
    boxes = torch.cat((centres, sizes), dim=2).gather(1, chosen[..., None].expand(-1, -1, 4))
    boxes = boxes * (1 + 0.05 * torch.randn(boxes.shape, generator=generator))
    labels = thing_labels.gather(1, chosen)
    is_wrong = torch.rand(labels.shape, generator=generator) < 0.2
    return torch.where(is_wrong, torch.randint(classes, labels.shape, generator=generator), labels), boxes


def _over_each_other(images: int, count: int, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    boxes = 0.5 + 0.1 * torch.rand(images, count, 4, generator=generator)
    return torch.zeros(images, count, dtype=torch.long), boxes


def _in_a_chain(images: int, count: int, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    left = torch.linspace(0.1, 0.9, count)
    side = torch.full_like(left, 2.5 * 0.8 / count)  # IoU of neighbours 0.43, above 0.3 and below 0.5
    boxes = torch.stack((left, torch.full_like(left, 0.5), side, side.new_full(side.shape, 0.1)), dim=1)
    return torch.zeros(images, count, dtype=torch.long), boxes.expand(images, -1, -1)


def _nothing_alike(images: int, count: int, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    boxes = 0.05 + 0.4 * torch.rand(images, count, 4, generator=generator)
    return torch.randint(classes, (images, count), generator=generator), boxes


KINDS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    TRAINED: _around_objects,
    "one class": _over_each_other,
    "chain": _in_a_chain,
    "nothing alike": _nothing_alike,
}
# Below the overlap of neighbours in a chain.
THRESHOLDS = {"chain": 0.3}


def measure(kind: str, repeats: int, **sizes: int) -> dict[str, Any]:
    """Times of both ways for outputs of a kind.

    Raises:
        RuntimeError: They do not give the same graphs.
    """
    outputs = make_outputs(kind, **sizes)
    options = {"target_sizes": [SIZE] * len(outputs["subject_logits"]), "nms_threshold": THRESHOLDS.get(kind, 0.5)}
    alternatives = {
        name: partial(function, outputs, **options)
        for name, function in (("plain", plain_scene_graph), ("ours", post_process_scene_graph))
    }
    plain, ours = (alternatives[name]() for name in ("plain", "ours"))
    if plain != ours:
        raise RuntimeError(f"the graphs of {kind!r} differ between the plain loops and ours")
    return {"objects": len(ours[0].boxes), "timings": compare(alternatives, repeats)}


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=600, help="Relation queries.")
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--predicates", type=int, default=50)
    parser.add_argument("--images", type=int, nargs="+", default=[1, 8], help="Images of a batch.")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="Few queries, few repeats.")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args(words)
    queries, repeats = (20, 2) if arguments.quick else (arguments.queries, arguments.repeats)
    report: dict[str, Any] = {"environment": environment(), "target_milliseconds": MOST_MILLISECONDS, "kinds": {}}
    for kind in KINDS:
        for images in arguments.images:
            sizes = {"queries": queries, "classes": arguments.classes, "predicates": arguments.predicates}
            measured = measure(kind, repeats, images=images, **sizes)
            per_image = 1e3 * measured["timings"]["ours"].median / images
            say(f"\n{kind}, batch {images}: {measured['objects']} objects of {2 * queries} boxes")
            say(timing_table(measured["timings"], "plain"))
            has_target = kind == TRAINED and not arguments.quick
            met = f", target <= {MOST_MILLISECONDS:.0f} ms: {_verdict(per_image)}" if has_target else ""
            say(f"{per_image:.1f} ms per image{met}")
            report["kinds"][f"{kind}, batch {images}"] = {
                "objects": measured["objects"],
                "milliseconds_per_image": per_image,
                "timings": as_json(measured["timings"], "plain"),
            }
    write_report(report, arguments.output)


def _verdict(milliseconds: float) -> str:
    return "met" if milliseconds <= MOST_MILLISECONDS else "missed"


if __name__ == "__main__":
    main()
