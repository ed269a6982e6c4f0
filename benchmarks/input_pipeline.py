# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Images per second of the training input, beside a plain path with Pillow in the manner of Detectron2.

python -m benchmarks.input_pipeline [--quick] [--output FILE.json]

Made JPEGs of Visual Genome's size with noise of photographs, the published augmentation, batches of 4. The alternatives are
named in `loaders`; all take turns with 0, 1 and 2 reading processes. A batch counts once it is what the model takes: floats,
normalised and padded. Then come the stages of one image in one process, what a model sees of an image file when it predicts,
and the demo: images per second that its loader gives and that its model takes.
"""

import argparse
import functools
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from PIL import Image
from torch import multiprocessing
from torch.utils.data import DataLoader

from benchmarks import plain_input
from benchmarks.comparison import as_json, compare, environment, say, timing_table, write_report
from benchmarks.plain_input import PlainMapper, PlainRows
from speaq_hf import SpeaQImageProcessorPil
from speaq_hf.data import (
    SceneGraphAugmentation,
    SceneGraphCollator,
    SceneGraphTransform,
    generate_synthetic_genome,
    scene_graph_features,
)
from speaq_hf.data.augmentation import SceneGraphExample, example_from_row
from speaq_hf.data.compact_batches import BatchExpansion, CompactCollator, CompactTransform, planes
from speaq_hf.data.images import undecoded
from speaq_hf.data.quick_images import QuickReader
from speaq_hf.image_reading import read_image
from training.augmented_rows import AugmentedRows, Draw
from training.train import build_trainer, parse_arguments


PLAIN = "plain"
NUM_OBJECTS, NUM_RELATIONS = 12, 6  # about as many as an image of the VG150 split has
BATCH_SIZE = 4
PHOTO_SIZE, LARGE_SIZE = (800, 600), (4000, 3000)
DEMO_CONFIG = Path(__file__).parents[1] / "training" / "configs" / "tiny.yaml"


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Args:
        num_images: Images of an epoch.
        size: Their (width, height); every third stands upright.
        large_size: Of the large photo.
        repeats: Rounds.
        workers: Numbers of reading processes.
        demo_images: Scenes that are drawn for the demo.
    """

    num_images: int = 40
    size: tuple[int, int] = PHOTO_SIZE
    large_size: tuple[int, int] = LARGE_SIZE
    repeats: int = 5
    workers: Sequence[int] = (0, 1, 2)
    demo_images: int = 200


FULL = Effort()
QUICK = Effort(num_images=6, size=(80, 60), large_size=(400, 300), repeats=1, workers=(0, 1), demo_images=40)


def write_photo(file: Path, size: tuple[int, int], generator: np.random.Generator) -> None:
    """A JPEG with soft shapes and the noise of a camera: 170 kB at 800 x 600."""
    width, height = size
    coarse = generator.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.float32)
    noisy = smooth + generator.normal(0, 8, smooth.shape)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, quality=90)


def make_records(folder: Path, effort: Effort) -> list[dict[str, Any]]:
    """Image files with random annotations, as Detectron2's dicts."""
    generator, records = np.random.default_rng(0), []
    for image_id in range(effort.num_images):
        size = effort.size if image_id % 3 else effort.size[::-1]
        file = folder / f"{image_id}.jpg"
        write_photo(file, size, generator)
        corners = generator.integers(0, np.array(size) // 2, (NUM_OBJECTS, 2))
        boxes = np.concatenate(
            [corners, corners + generator.integers(4, np.array(size) // 2, (NUM_OBJECTS, 2))], axis=1
        )
        classes, ends = generator.integers(0, 150, NUM_OBJECTS), generator.integers(0, NUM_OBJECTS, (NUM_RELATIONS, 2))
        relations = np.column_stack([ends, generator.integers(0, 50, NUM_RELATIONS)])
        annotations = [
            {"bbox": box, "category_id": label} for box, label in zip(boxes.tolist(), classes.tolist(), strict=True)
        ]
        record = {"file_name": str(file), "image_id": image_id, "width": size[0], "height": size[1]}
        records.append(record | {"annotations": annotations, "relations": relations.tolist()})
    return records


def make_table(records: list[dict[str, Any]]) -> Dataset:
    """The same as a data set of ours."""
    rows = [
        {
            "image": record["file_name"],
            **{name: record[name] for name in ("image_id", "width", "height", "relations")},
            "objects": {
                "bbox": [annotation["bbox"] for annotation in record["annotations"]],
                "category": [annotation["category_id"] for annotation in record["annotations"]],
            },
            "predicates": [relation[2] for relation in record["relations"]],
        }
        for record in records
    ]
    names = [str(number) for number in range(150)]
    return undecoded(Dataset.from_list(rows, features=scene_graph_features(names, names[:50])))


def loaders(
    records: list[dict[str, Any]], table: Dataset, num_workers: int
) -> dict[str, Callable[[], Iterator[dict[str, Any]]]]:
    """Epochs of batches for the model, by alternative.

    - "plain": decoded, augmented, normalised, padded and collated as floats where images are read.
    - "plain, bytes": as Detectron2 itself does it: bytes from the readers, normalised and padded in the model's process.
    - "collator": `SceneGraphTransform` and `SceneGraphCollator`, the public pair.
    - "training": what the training program does.
    - "training, quick": the same with `data.image_reading: quick`, which changes pixels a little.
    """
    augmentation, processor = SceneGraphAugmentation(), SpeaQImageProcessorPil()
    draws = [Draw(row, 0) for row in range(len(records))]
    batches = [draws[start : start + BATCH_SIZE] for start in range(0, len(draws), BATCH_SIZE)]
    options = {"batch_sampler": batches, "num_workers": num_workers, "persistent_workers": num_workers > 0}
    plain = PlainRows(records, PlainMapper(augmentation, plain_input.as_floats))
    plain_bytes = PlainRows(records, PlainMapper(augmentation, plain_input.as_bytes))
    public = AugmentedRows(table, SceneGraphTransform(processor, augmentation))
    ours = AugmentedRows(table, CompactTransform(augmentation))
    quick = AugmentedRows(table, CompactTransform(augmentation, read_image=quick_reader(augmentation)))
    expand = BatchExpansion(processor)
    return {
        PLAIN: _epochs(DataLoader(plain, collate_fn=plain_input.collate, **options)),
        "plain, bytes": _epochs(
            DataLoader(plain_bytes, collate_fn=plain_input.keep_list, **options), plain_input.preprocess
        ),
        "collator": _epochs(DataLoader(public, collate_fn=SceneGraphCollator(processor), **options)),
        "training": _epochs(DataLoader(ours, collate_fn=CompactCollator(processor), **options), expand),
        "training, quick": _epochs(DataLoader(quick, collate_fn=CompactCollator(processor), **options), expand),
    }


def quick_reader(augmentation: SceneGraphAugmentation) -> QuickReader:
    """The reader that the training program takes for an augmentation."""
    return QuickReader(max(*augmentation.short_edges, *augmentation.crop_short_edges))


def _epochs(loader: DataLoader, expand: Callable[[Any], Any] = lambda batch: batch) -> Callable[[], Iterator[Any]]:
    return lambda: map(expand, loader)


def consume(batches: Callable[[], Iterator[Any]]) -> None:
    """Read an epoch, one batch at a time in memory."""
    for _ in batches():
        pass


def stages(records: list[dict[str, Any]], table: Dataset) -> dict[str, dict[str, Callable[[], Any]]]:
    """The stages of one batch in one process, by path; "transfer" is what a batch costs from a reader to the model's
    process."""
    augmentation = SceneGraphAugmentation()
    return {
        PLAIN: plain_stages(records[:BATCH_SIZE], PlainMapper(augmentation, plain_input.as_floats)),
        "training": our_stages(table, CompactTransform(augmentation)),
        "training, quick": our_stages(table, CompactTransform(augmentation, read_image=quick_reader(augmentation))),
    }


def plain_stages(records: list[dict[str, Any]], mapper: PlainMapper) -> dict[str, Callable[[], Any]]:
    """Stages of a batch of the plain path."""
    files = [record["file_name"] for record in records]
    arrays = [plain_input.read_image(file) for file in files]

    def augment() -> list[np.ndarray]:
        generators = map(np.random.default_rng, range(len(arrays)))
        return [mapper.augment(array, generator)[0] for array, generator in zip(arrays, generators, strict=True)]

    augmented = augment()
    examples = [mapper(record, 0) for record in records]
    batch = plain_input.collate(examples)
    return {
        "decode": lambda: [plain_input.read_image(file) for file in files],
        "augment": augment,
        "normalise": lambda: [plain_input.as_floats(array) for array in augmented],
        "collate": lambda: plain_input.collate(examples),
        "transfer": lambda: send(batch),
    }


def our_stages(table: Dataset, transform: CompactTransform) -> dict[str, Callable[[], Any]]:
    """Stages of a batch of the training program's path."""
    chosen = range(BATCH_SIZE)
    rows = [table[row] for row in chosen]
    examples = [example_from_row(row, transform.read_image(row)) for row in rows]

    def augment() -> list[SceneGraphExample]:
        return [transform.augment(row, example) for row, example in zip(rows, examples, strict=True)]

    augmented = augment()
    compact = [AugmentedRows(table, transform)[Draw(row, 0)] for row in chosen]
    batch, expand = CompactCollator()(compact), BatchExpansion(SpeaQImageProcessorPil())
    return {
        "row": lambda: [table[row] for row in chosen],
        "decode": lambda: [transform.read_image(row) for row in rows],
        "augment": augment,
        "planes": lambda: [planes(example.image) for example in augmented],
        "collate": lambda: CompactCollator()(compact),
        "transfer": lambda: send(batch),
        "normalise": lambda: expand(batch),
    }


@functools.cache
def _queue() -> Any:
    return multiprocessing.get_context("spawn").SimpleQueue()


def send(batch: Any) -> Any:
    """A batch through the queue by which readers hand over theirs."""
    # Tensors in shared memory stay there: of a copy each time, as a reader has it.
    _queue().put(copied(batch))
    return _queue().get()


def copied(batch: Any) -> Any:
    """A batch with tensors of its own."""
    if isinstance(batch, torch.Tensor):
        return batch.clone()
    if isinstance(batch, dict):
        return {name: copied(value) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        values = [copied(value) for value in batch]
        return type(batch)(*values) if hasattr(batch, "_fields") else values
    return batch


def inference(file: Path) -> dict[str, Callable[[], Any]]:
    """An image file to the inputs of a model."""
    processor = SpeaQImageProcessorPil()
    return {
        PLAIN: lambda: plain_input.prepare_for_inference(str(file), 800, 1333),
        "ours": lambda: processor(read_image(file), return_tensors="pt"),
    }


def demo(folder: Path, num_images: int, repeats: int) -> dict[str, float]:
    """Images per second that the demo's loader gives, and that its model learns from, in one process without readers."""
    generate_synthetic_genome(folder / "data", num_images, image_size=128, split_shares=(0.8, 0.1, 0.1), num_workers=1)
    words = ["--config", str(DEMO_CONFIG), "--data.root", str(folder / "data"), "--data.format", "synthetic_genome"]
    words += [
        "--data.synthetic_root",
        "null",
        "--training.output_dir",
        str(folder / "run"),
        "--training.tracker",
        "none",
    ]
    trainer = build_trainer(parse_arguments(words))
    trainer.model.train()
    stream = trainer.stream.starting_at(0)
    batches = itertools.cycle([next(stream) for _ in range(4)])
    timings = compare(
        {"loader": lambda: next(stream), "model": lambda: trainer.step([next(batches)])}, 10 * repeats, warm_up=3
    )
    trainer.folder.close()
    return {name: trainer.options.batch_size / timing.median for name, timing in timings.items()}


def compare_loaders(records: list[dict[str, Any]], table: Dataset, effort: Effort) -> dict[str, Any]:
    """Times of an epoch for each number of readers."""
    report = {}
    for num_workers in effort.workers:
        epochs = loaders(records, table, num_workers)
        timings = compare({name: functools.partial(consume, epoch) for name, epoch in epochs.items()}, effort.repeats)
        say(f"\n{num_workers} reading processes: an epoch of {len(records)} images")
        say(timing_table(timings, PLAIN))
        report[f"{num_workers} workers"] = {
            name: values | {"images_per_second": len(records) / values["median"]}
            for name, values in as_json(timings, PLAIN).items()
        }
    return report


def compare_stages(records: list[dict[str, Any]], table: Dataset, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds of an image in each stage."""
    report = {}
    for name, parts in stages(records, table).items():
        timings = compare(parts, 3 * repeats)
        report[name] = {part: 1e3 * timing.median / BATCH_SIZE for part, timing in timings.items()}
        values = "  ".join(f"{part} {value:.2f}" for part, value in report[name].items())
        say(f"{name}: {values}  sum {sum(report[name].values()):.2f} ms per image")
    return report


def compare_inference(folder: Path, effort: Effort) -> dict[str, Any]:
    """Times of preparing one image for a model."""
    report = {}
    for size in (effort.size, effort.large_size):
        file = folder / f"{size[0]}.jpg"
        write_photo(file, size, np.random.default_rng(1))
        timings = compare(inference(file), 3 * effort.repeats)
        say(f"\nOne image of {size[0]} x {size[1]} for prediction")
        say(timing_table(timings, PLAIN))
        report[f"{size[0]}x{size[1]}"] = as_json(timings, PLAIN)
    return report


def run(effort: Effort) -> dict[str, Any]:
    """Measure everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = make_records(folder, effort)
        table = make_table(records)
        report = {"environment": environment(), "loaders": compare_loaders(records, table, effort)}
        say("\nStages in one process")
        report["stages"] = compare_stages(records, table, effort.repeats)
        report["inference"] = compare_inference(folder, effort)
        report["demo"] = demo(folder / "demo", effort.demo_images, effort.repeats)
    speeds = report["demo"]
    say(f"\nDemo: the loader gives {speeds['loader']:.0f} images/s, the model takes {speeds['model']:.0f}")
    return report


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Tiny images, once: says only that everything runs.")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args(words)
    start = time.perf_counter()
    torch.set_num_threads(1)  # the cores belong to the reading processes
    report = run(QUICK if arguments.quick else FULL)
    say(f"{time.perf_counter() - start:.0f} s")
    write_report(report, arguments.output)


if __name__ == "__main__":
    main()
