# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What guessing predicates from classes reaches on SceneWorld: with the true objects, and with those of a detector.

python training/experiments/baselines.py --world outputs/scene-world-v1 --detector DIR --output baselines.json
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from datasets import Dataset
from transformers import AutoImageProcessor, DetrForObjectDetection


if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from speaq_hf import SpeaQImageProcessorPil  # noqa: E402
from speaq_hf.data import load_scene_graphs, predicate_statistics, zero_shot_triplets  # noqa: E402
from speaq_hf.json_files import write_json  # noqa: E402
from speaq_hf.metrics import RecallSettings, SceneGraphEvaluator  # noqa: E402
from speaq_hf.metrics.frequency_predictor import FrequencyPredictor  # noqa: E402
from training.errors import exit_on_user_error  # noqa: E402
from training.experiments.collection import METRICS, PROTOCOLS  # noqa: E402
from training.experiments.run_study import DOMAINS  # noqa: E402
from training.prediction import LoadingOptions, evaluate_recall, predict_objects, reference_from_row  # noqa: E402


def relate_true_objects(
    baseline: FrequencyPredictor, dataset: Dataset
) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Graphs over the annotated objects, and references, image after image."""
    for row in dataset.remove_columns("image"):
        reference = reference_from_row(row)
        yield [baseline.predict(reference["boxes"].numpy(), reference["labels"].numpy())], [reference]


def relate_detections(
    baseline: FrequencyPredictor, *arguments: Any
) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Graphs over the detected objects, and references, batch after batch; arguments of `predict_objects`."""
    for detections, references in predict_objects(*arguments):
        arrays = ({name: values.cpu().numpy() for name, values in found.items()} for found in detections)
        yield [baseline.predict(**found) for found in arrays], references


def measure(world: Path, detector: Path, batch_size: int = 16) -> dict[str, Any]:
    """Recall of both baselines on the test images of each domain.

    Returns:
        By domain, by baseline ("true objects", "detected objects"), by protocol, metrics with their 95 % intervals over images.
    """
    model = DetrForObjectDetection.from_pretrained(detector)
    size = AutoImageProcessor.from_pretrained(detector).size
    # DETR's own does not read annotations of relations.
    processor = SpeaQImageProcessorPil(id2label=model.config.id2label, size=size)
    baseline = FrequencyPredictor.from_datasets(load_scene_graphs(world / domain, "train") for domain in DOMAINS)
    report = {}
    for domain in DOMAINS:
        test, train = (load_scene_graphs(world / domain, split) for split in ("test", "train"))
        statistics = predicate_statistics(train)
        unseen = zero_shot_triplets(statistics, predicate_statistics(test))
        options = {"zero_shot_triplets": unseen, "predicate_counts": statistics.counts, "num_replicates": 1000}
        settings = partial(RecallSettings, len(statistics.counts), **options)
        given = SceneGraphEvaluator(settings(mode="predcls"), PROTOCOLS)
        for predictions, references in relate_true_objects(baseline, test):
            given.add_batch(predictions, references)
        found = evaluate_recall(
            model,
            processor,
            test,
            SceneGraphEvaluator(settings(mode="sgdet"), PROTOCOLS),
            Accelerator(),
            LoadingOptions(batch_size),
            partial(relate_detections, baseline),
        )
        report[domain] = {"true objects": _numbers(given.compute()), "detected objects": _numbers(found)}
    return report


def _numbers(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        name: {kind: {metric: protocol[kind].get(metric) for metric in METRICS} for kind in ("metrics", "intervals")}
        for name, protocol in results["protocols"].items()
    }


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, required=True, help="Folder of the data.")
    parser.add_argument("--detector", type=Path, required=True, help="Folder of a trained detector.")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write.")
    arguments = parser.parse_args(words)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with exit_on_user_error():
        write_json(arguments.output, measure(arguments.world, arguments.detector))


if __name__ == "__main__":
    main()
