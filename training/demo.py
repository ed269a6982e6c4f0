# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The whole way in one command: draw scenes in two domains, train a tiny model on the mixture, measure it, show what it sees.

python training/demo.py --output outputs/demo
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import set_seed
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import BaseImageProcessor, PreTrainedModel


ROOT = Path(__file__).resolve().parents[1]
# Run as a script, Python looks for modules in this file's folder first, where `evaluate` is not the library.
if not __package__:
    sys.path[0] = str(ROOT)

import speaq_hf  # noqa: E402
from speaq_hf import SceneGraph, SpeaQForSceneGraphGeneration  # noqa: E402
from speaq_hf.data import (  # noqa: E402
    PredicateStatistics,
    generate_synthetic_genome,
    load_scene_graphs,
    object_names,
    pair_frequency_accuracy,
    predicate_names,
    predicate_statistics,
    zero_shot_triplets,
)
from speaq_hf.data.scenes import SceneComplexity  # noqa: E402
from speaq_hf.json_files import write_json  # noqa: E402
from speaq_hf.metrics import RecallSettings, SceneGraphEvaluator  # noqa: E402
from speaq_hf.visualization import GalleryExample, write_html_gallery  # noqa: E402
from training.errors import exit_on_user_error  # noqa: E402
from training.evaluate import load_model  # noqa: E402
from training.prediction import LoadingOptions, evaluate_recall, predict_scene_graphs  # noqa: E402
from training.tables import format_table  # noqa: E402


CONFIG = ROOT / "training" / "configs" / "tiny.yaml"
NUM_VALIDATION_IMAGES, NUM_TEST_IMAGES = 200, 500
IMAGE_SIZE = 128
SEED = 0
NUM_THREADS = (
    1  # the matrices of a tiny model are small: a second thread gains little, and much is lost if a core is busy
)
NUM_PICTURES = 24
# Few and large objects, for a model that trains for minutes; the page says how far guessing predicates from classes gets.
SCENES = SceneComplexity(
    min_objects=2, max_objects=3, min_relations=1, max_relations=3, usual_boost=4.0, min_zoom=1.15, max_zoom=1.35
)
# R@50 and R@100 say little more: the tiny model makes 40 predictions per image.
STRICT_METRICS = ("R@20", "ng-R@20", "mR@20", "zR@20")
METRICS = ("R@20", "ng-R@20", "mR@20", "mR@20 (present)", "zR@20", *(f"{name}, strict" for name in STRICT_METRICS))


def generate_data(root: Path, num_images: int) -> bool:
    """Draw the two data sets, unless the folder holds them already.

    Args:
        root: Folder of the sets: `real` for training, validation and test, `synthetic` for training alone.
        num_images: Number of training images that look real; half as many look synthetic.

    Returns:
        Whether they were drawn now.
    """
    settings = {"version": speaq_hf.__version__, "num_images": num_images, "image_size": IMAGE_SIZE, "seed": SEED}
    settings |= asdict(SCENES)
    stamp = root / "demo.json"
    if stamp.is_file() and json.loads(stamp.read_text(encoding="utf-8")) == settings:
        print(f"Data: {root} holds the scenes already")
        return False
    stamp.unlink(missing_ok=True)
    total = num_images + NUM_VALIDATION_IMAGES + NUM_TEST_IMAGES
    shares = (num_images / total, NUM_VALIDATION_IMAGES / total, NUM_TEST_IMAGES / total)
    options = {"image_size": IMAGE_SIZE, "complexity": SCENES, "overwrite": True, "progress": True}
    generate_synthetic_genome(root / "real", total, SEED, domain="real", split_shares=shares, **options)
    generate_synthetic_genome(root / "synthetic", num_images // 2, SEED, split_shares=(1, 0, 0), **options)
    stamp.write_text(json.dumps(settings), encoding="utf-8")
    return True


def train_model(data: Path, output: Path, overrides: Sequence[str], go_on: bool) -> Path:
    """Train with `accelerate launch`, as a user would, on the CPU.

    Args:
        data: Folder of the sets.
        output: Folder of the run.
        overrides: Further options of the training program.
        go_on: Whether to go on with what is in the folder, which costs nothing if it is finished.

    Returns:
        Folder of the trained model.
    """
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--num_cpu_threads_per_process", str(NUM_THREADS)]
    program = [str(ROOT / "training" / "train.py"), "--config", str(CONFIG)]
    program += ["--training.resume_from", "auto"] if go_on else ["--training.overwrite", "true"]
    program += ["--data.root", str(data / "real"), "--data.synthetic_root", str(data / "synthetic")]
    program += ["--training.output_dir", str(output)]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": str(NUM_THREADS)}
    subprocess.run([*launch, *program, *overrides], check=True, env=environment)
    return output / "final"


def evaluate_models(
    models: dict[str, PreTrainedModel], processor: BaseImageProcessor, dataset: Dataset, train: PredicateStatistics
) -> dict[str, dict[str, Any]]:
    """SGDet recall of several models on the test images: what `SceneGraphRecall` says with the published protocol, and

    - `mR@20 (present)`: over the predicates that occur in the test images; `mR@20` averages over the whole vocabulary.
    - `R@20, strict` and so on: with the protocol `strict`.
    """
    test = predicate_statistics(dataset)
    settings = RecallSettings(len(test.counts), zero_shot_triplets=zero_shot_triplets(train, test))
    results = {}
    for name, model in models.items():
        metric, options = SceneGraphEvaluator(settings, ("speaq", "strict")), LoadingOptions(batch_size=25)
        protocols = evaluate_recall(model, processor, dataset, metric, Accelerator(cpu=True), options)["protocols"]
        values, strict = (protocols[protocol]["metrics"] for protocol in ("speaq", "strict"))
        present = np.array(values["recall_per_predicate@20"])[test.counts > 0]
        results[name] = values | {"mR@20 (present)": float(present.mean())}
        results[name] |= {f"{number}, strict": strict[number] for number in STRICT_METRICS}
    return results


def frequency_baseline(train: PredicateStatistics, test: PredicateStatistics) -> float:
    """How often the most frequent predicate of the true classes of a pair is right, in [0, 1]."""
    rows = (np.repeat(part.triplet_counts.indices, part.triplet_counts.counts, axis=0) for part in (train, test))
    return pair_frequency_accuracy(*rows)


def gallery_examples(
    model: PreTrainedModel, processor: BaseImageProcessor, dataset: Dataset
) -> Iterator[GalleryExample]:
    """Predicted and true graph of every row."""
    names = {
        "id2label": dict(enumerate(object_names(dataset))),
        "id2predicate": dict(enumerate(predicate_names(dataset))),
    }
    predictions = predict_scene_graphs(model, processor, dataset, Accelerator(cpu=True), LoadingOptions())
    pairs = (
        (graph, truth) for graphs, references in predictions for graph, truth in zip(graphs, references, strict=True)
    )
    for row, (graph, reference) in zip(dataset, pairs, strict=True):
        annotation = (reference[field] for field in ("boxes", "labels", "relations"))
        truth = SceneGraph.from_annotation(*annotation, image_size=graph.image_size, **names)
        yield GalleryExample(row["image"], graph, truth, f"Test image {row['image_id']}")


def write_page(
    output: Path, model: PreTrainedModel, processor: BaseImageProcessor, test: Dataset, **page: Any
) -> Path:
    """Draw what the model predicts for the first test images, and the page that shows it."""
    shown = test.select(range(min(NUM_PICTURES, len(test))))
    examples = tqdm(gallery_examples(model, processor, shown), "Drawing graphs", len(shown), unit="image")
    return write_html_gallery(output, examples, title="SpeaQ on generated scenes", num_predictions=5, **page)


def run_demo(output: Path, num_images: int, overrides: Sequence[str]) -> None:
    """Everything, from drawing the scenes to the page."""
    start = time.perf_counter()
    is_new = generate_data(output / "data", num_images)
    model = train_model(output / "data", output / "run", overrides, go_on=not is_new)
    trained, processor = load_model(str(model))
    set_seed(SEED)
    models = {"trained": trained, "untrained": SpeaQForSceneGraphGeneration(trained.config)}
    train, test = (load_scene_graphs(output / "data" / "real", split) for split in ("train", "test"))
    synthetic = load_scene_graphs(output / "data" / "synthetic", "train")
    train_statistics = predicate_statistics(train) + predicate_statistics(synthetic)
    test_statistics = predicate_statistics(test)
    results = evaluate_models(models, processor, test, train_statistics)
    baseline = frequency_baseline(train_statistics, test_statistics)
    table = {name: {metric: values[metric] for metric in METRICS} for name, values in results.items()}
    num_zero_shot = test_statistics.triplet_counts.total_of(zero_shot_triplets(train_statistics, test_statistics))
    summary = (
        f"The test images have {test_statistics.num_relations} relations, {num_zero_shot} of them of triplets that no "
        "training image shows (zR). Guessing the most frequent predicate from the true classes of a pair is right "
        f"{baseline:.1%} of the time."
    )
    description = (
        f"A model of {trained.num_parameters() / 1e6:.1f} million parameters, trained on {len(train):,} photo-like images and, "
        f"with half the weight in 30 % of every batch, {len(synthetic):,} clean renders; tested on photo-like images. {summary}"
    )
    page = write_page(output, trained, processor, test, metrics=table, description=description)
    report = {"metrics": results, "frequency_baseline": baseline, "seconds": round(time.perf_counter() - start)}
    write_json(output / "results.json", report)
    tested = f"{results['trained']['num_images']} of {NUM_TEST_IMAGES} images (the others have no relation)"
    print(f"\nTest split, {tested}, sgdet\n{format_table(table, METRICS, heading='%')}")
    print(f"{summary}\nTime: {report['seconds'] / 60:.1f} minutes\nPictures: {page.resolve()}")


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs/demo"), help="Folder for everything.")
    parser.add_argument("--num_images", type=int, default=10_000, help="Training images that look real.")
    arguments, overrides = parser.parse_known_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        with exit_on_user_error():
            run_demo(arguments.output, arguments.num_images, overrides)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"The training program ended with exit code {error.returncode}.") from error


if __name__ == "__main__":
    main()
