# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Images per second and memory of the evaluation, beside the package `sgbench` and a plain loop.

python -m benchmarks.evaluation [--objects 200] [--images 256] [--repeats 7] [--long 100000] [--output FILE.json]

Made images with 600 predictions of 50 predicates and 10 annotated relations. `SceneGraphRecall` computes R, ng-R, mR and zR
(and whatever else it always computes) at K = 20, 50 and 100, from batches of 64 `SceneGraph` objects, from dictionaries of
arrays, and from lists that are ranked already, which is all that `sgbench` takes: it computes R and mR of both lists. All
take turns in one process. Then two processes share the work, and one evaluates many images to show that its memory does not
grow.
"""

import argparse
import multiprocessing
import pickle
import resource
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison import compare, environment, say, write_report
from benchmarks.plain_evaluation import plain_recall
from speaq_hf.metrics import PROTOCOLS, SceneGraphRecall
from speaq_hf.scene_graph import SceneGraph


NUM_CLASSES, NUM_PREDICATES, NUM_PREDICTIONS, NUM_RELATIONS, NUM_ANNOTATED = 150, 50, 600, 10, 15
KS, BATCH = (20, 50, 100), 64
ZERO_SHOT = np.random.default_rng(0).integers(0, (NUM_CLASSES, NUM_CLASSES, NUM_PREDICATES), (5000, 3))
PACKAGE = "package sgbench"
NUM_PLAIN = 4  # images that are enough to time the plain loop

Graph = dict[str, Any]


def make_image(rng: np.random.Generator, num_objects: int) -> tuple[Graph, Graph]:
    """A prediction, and the annotation it has to do with: most objects are noisy copies of annotated ones, every fourth
    relation is on a pair that is annotated."""
    corners, sides = rng.random((NUM_ANNOTATED, 2)) * 600, 20 + rng.random((NUM_ANNOTATED, 2)) * 200
    boxes, labels = np.concatenate([corners, corners + sides], axis=1), rng.integers(0, NUM_CLASSES, NUM_ANNOTATED)
    pairs = rng.integers(0, NUM_ANNOTATED, (NUM_RELATIONS, 2))
    relations = np.column_stack([pairs, rng.integers(0, NUM_PREDICATES, NUM_RELATIONS)])
    copied = np.arange(num_objects) % NUM_ANNOTATED
    guessed = np.where(rng.random(num_objects) < 0.6, labels[copied], rng.integers(0, NUM_CLASSES, num_objects))
    found = rng.permutation(NUM_PREDICTIONS) < NUM_PREDICTIONS // 4
    predicted = rng.integers(0, num_objects, (NUM_PREDICTIONS, 2))
    predicted[found] = pairs[rng.integers(0, NUM_RELATIONS, found.sum())]
    scores = rng.random(num_objects, dtype=np.float32)
    logits = rng.normal(0, 2, (NUM_PREDICTIONS, NUM_PREDICATES + 1)).astype(np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    predicates = probabilities[:, :-1].argmax(axis=1)
    relation_scores = scores[predicted].prod(axis=1) * probabilities[np.arange(NUM_PREDICTIONS), predicates]
    order = np.argsort(-relation_scores)
    prediction = {
        "boxes": (boxes[copied] + rng.normal(0, 8, (num_objects, 4))).astype(np.float32),
        "labels": guessed,
        "scores": scores,
        "relations": np.column_stack([predicted, predicates])[order],
        "predicate_probabilities": probabilities[order],
        "relation_scores": relation_scores[order],
    }
    return prediction, {"boxes": boxes, "labels": labels, "relations": relations}


def as_scene_graph(prediction: Graph) -> SceneGraph:
    """The object that a model's `post_process_scene_graph` returns."""
    names = {
        "id2label": {i: str(i) for i in range(NUM_CLASSES)},
        "id2predicate": {i: str(i) for i in range(NUM_PREDICATES)},
    }
    return SceneGraph(**prediction, query_indices=np.arange(NUM_PREDICTIONS), image_size=(800, 800), **names)


def as_ranked_lists(prediction: Graph) -> Graph:
    """The same without probabilities, but with the best 100 triplets without graph constraint."""
    pair_scores = prediction["scores"][prediction["relations"][:, :2]].prod(axis=1)
    scores = pair_scores[:, None] * prediction["predicate_probabilities"][:, :-1]
    rows, predicates = np.divmod(np.argsort(-scores.ravel())[: KS[-1]], NUM_PREDICATES)
    ranked = np.column_stack([prediction["relations"][rows, :2], predicates])
    rest = {name: prediction[name] for name in ("boxes", "labels", "scores", "relations")}
    return rest | {"unconstrained_relations": ranked}


def evaluate(predictions: list, references: list, **options: Any) -> SceneGraphRecall:
    """What is measured: our evaluation, in batches."""
    metric = SceneGraphRecall(NUM_PREDICATES, KS, zero_shot_triplets=ZERO_SHOT, **options)
    for start in range(0, len(predictions), BATCH):
        metric.add_batch(predictions[start : start + BATCH], references[start : start + BATCH])
    return metric


def evaluate_with_sgbench(predictions: list[Graph], references: list[Graph]) -> np.ndarray:
    """R and mR `(lists, ks)` by the functions of the package, in the order its file reader calls them."""
    import sgbench
    from sgbench.pred import deduplicate

    recalls, per_predicate = [], []
    for prediction, reference in zip(predictions, references, strict=True):
        truth = np.unique(reference["relations"], axis=0)
        matches = sgbench.match_instances(
            reference["boxes"], reference["labels"], prediction["boxes"], prediction["labels"]
        )
        lists = (deduplicate(prediction[name]) for name in ("relations", "unconstrained_relations"))
        lists = [sgbench.remap_triplets(matches, rows) for rows in lists]
        recalls.append([[sgbench.recall(k, False, truth, rows, NUM_PREDICATES) for k in KS] for rows in lists])
        per_predicate.append([[sgbench.recall(k, True, truth, rows, NUM_PREDICATES) for k in KS] for rows in lists])
    return np.stack([np.mean(recalls, axis=0), np.nanmean(np.nanmean(per_predicate, axis=0), axis=-1)])


def contenders(predictions: list[Graph], references: list[Graph]) -> dict[str, tuple[Callable[[], Any], int]]:
    """Everything that takes turns: a function, and how many images it evaluates."""
    graphs, ranked = ([f(prediction) for prediction in predictions] for f in (as_scene_graph, as_ranked_lists))
    count = len(predictions)
    entries: dict[str, tuple[Callable[[], Any], int]] = {}
    for name in PROTOCOLS:
        entries[f"{name}, SceneGraph"] = partial(evaluate, graphs, references, protocol=name), count
        entries[f"{name}, arrays"] = partial(evaluate, predictions, references, protocol=name), count
    entries["strict, 1000 replicates"] = (
        partial(evaluate, graphs, references, protocol="strict", num_replicates=1000),
        count,
    )
    entries["sgbench, ranked lists"] = partial(evaluate, ranked, references, protocol="sgbench"), count
    entries[PACKAGE] = partial(evaluate_with_sgbench, ranked, references), count
    few = predictions[:NUM_PLAIN], references[:NUM_PLAIN]
    options = {"ks": KS, "zero_shot_triplets": ZERO_SHOT, "protocol": "strict"}
    entries["plain loop, strict"] = partial(plain_recall, *few, NUM_PREDICATES, **options), NUM_PLAIN
    return entries


def take_turns(entries: Mapping[str, tuple[Callable[[], Any], int]], repeats: int) -> dict[str, dict[str, float]]:
    """Images per second of each, median and quartiles over the repeats, how many times as many as the package `sgbench`, and
    the largest memory that Python and numpy held in addition (MB)."""
    timings = compare({name: function for name, (function, _) in entries.items()}, repeats)
    package = entries[PACKAGE][1] / timings[PACKAGE].median
    report = {}
    for name, (function, count) in entries.items():
        per_second = count / timings[name].median
        report[name] = {
            "per_second": per_second,
            "low": count / timings[name].high,
            "high": count / timings[name].low,
            "times_sgbench": per_second / package,
            "peak_mb": _peak_megabytes(function),
        }
    return report


def check_equal(predictions: list[Graph], references: list[Graph]) -> None:
    """Compare our recall of ranked lists with that of the package.

    Raises:
        RuntimeError: They differ.
    """
    ranked = [as_ranked_lists(prediction) for prediction in predictions]
    results = evaluate(ranked, references, protocol="sgbench").compute()
    ours = [results[f"R@{k}"] for k in KS]
    theirs = evaluate_with_sgbench(ranked, references)[0, 0]
    if not np.allclose(ours, theirs, rtol=0, atol=1e-9):
        raise RuntimeError(f"R@{KS} of the package sgbench is {theirs.tolist()}, ours {ours}")


def _peak_megabytes(function: Callable[[], Any]) -> float:
    tracemalloc.start()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6


def evaluate_many(arguments: tuple[int, int, int, str, int]) -> dict[str, Any]:
    """Evaluates images over and over; run in a process of its own.

    Args:
        arguments: Seed, objects per image, images, protocol, bootstrap replicates.

    Returns:
        `start` and `end` (s), how many `images` it evaluated, and for every tenth of the way the images `per_second`, the
        `peak_mb` of the process so far and the `metric_kb`, its pickled size.
    """
    seed, num_objects, num_images, protocol, num_replicates = arguments
    rng = np.random.default_rng(seed)
    images = [make_image(rng, num_objects) for _ in range(4 * BATCH)]
    predictions, references = [as_scene_graph(prediction) for prediction, _ in images], [image[1] for image in images]
    metric = evaluate(predictions, references, protocol=protocol, num_replicates=num_replicates)
    metric.reset()
    report: dict[str, Any] = {"start": time.time(), "images": 0, "per_second": [], "peak_mb": [], "metric_kb": []}
    for _ in range(10):
        start, added = time.perf_counter(), 0
        while added < num_images // 10:
            first = added % len(images)
            metric.add_batch(predictions[first : first + BATCH], references[first : first + BATCH])
            added += BATCH
        report["images"] += added
        report["per_second"].append(added / (time.perf_counter() - start))
        report["peak_mb"].append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
        report["metric_kb"].append(len(pickle.dumps(metric)) / 1e3)
    return report | {"end": time.time()}


def two_processes(num_objects: int, num_images: int) -> dict[str, float]:
    """Images per second of two processes that share the images, by protocol."""
    rates = {}
    for protocol in PROTOCOLS:
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            work = [(seed, num_objects, num_images, protocol, 0) for seed in (1, 2)]
            first, second = pool.map(evaluate_many, work, chunksize=1)
        seconds = max(first["end"], second["end"]) - min(first["start"], second["start"])
        rates[protocol] = (first["images"] + second["images"]) / seconds
    return rates


def tell(turns: Mapping[str, Mapping[str, float]]) -> None:
    """Print what took turns."""
    say(f"{'':26}{'images/s':>10}{'quartiles':>20}{'x sgbench':>12}{'MB':>10}")
    for name, values in turns.items():
        quartiles = f"{values['low']:.0f} to {values['high']:.0f}"
        say(
            f"{name:26}{values['per_second']:10.0f}{quartiles:>20}{values['times_sgbench']:12.2f}{values['peak_mb']:10.1f}"
        )


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=200, help="Predicted objects per image.")
    parser.add_argument("--images", type=int, default=256, help="Made images that are taken in turns.")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--long", type=int, default=100_000, help="Images of the run that shows the memory.")
    parser.add_argument("--quick", action="store_true", help="Few images, taken in turns once.")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args(words)
    num_images, repeats = (32, 1) if arguments.quick else (arguments.images, arguments.repeats)
    rng = np.random.default_rng(0)
    images = [make_image(rng, arguments.objects) for _ in range(num_images)]
    predictions, references = map(list, zip(*images, strict=True))
    check_equal(predictions, references)
    report: dict[str, Any] = {
        "environment": environment(),
        "turns": take_turns(contenders(predictions, references), repeats),
    }
    tell(report["turns"])
    if not arguments.quick:
        report |= measure_long_runs(arguments.objects, arguments.long)
    write_report(report, arguments.output)


def measure_long_runs(num_objects: int, num_images: int) -> dict[str, Any]:
    """Two processes that share a fifth of the images, and one that evaluates them all."""
    report: dict[str, Any] = {"two_processes": two_processes(num_objects, num_images // 5)}
    for name, rate in report["two_processes"].items():
        say(f"{name:26}{rate:10.0f} images/s in two processes")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        many = pool.apply(evaluate_many, ((0, num_objects, num_images, "strict", 1000),))
    report["long"] = {name: many[name] for name in ("per_second", "peak_mb", "metric_kb")}
    for name, values in report["long"].items():
        say(f"{name:12}" + "".join(f"{value:9.0f}" for value in values) + f"  per tenth of {num_images}")
    return report


if __name__ == "__main__":
    main()
