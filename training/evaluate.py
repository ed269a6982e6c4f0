# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Measure a scene graph model with the published protocol.

accelerate launch training/evaluate.py --model DIR --data ROOT --split test
"""

import json
import logging
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator
from datasets import Dataset
from transformers import AutoImageProcessor, BaseImageProcessor, HfArgumentParser, PreTrainedModel


# Run as a script, Python looks for modules in this file's folder first, where this file hides the library `evaluate`.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from speaq_hf import AutoModelForSceneGraphGeneration  # noqa: E402
from speaq_hf.data import (  # noqa: E402
    object_names,
    predicate_names,
    predicate_statistics,
    zero_shot_triplets,
)
from speaq_hf.metrics import SceneGraphRecall  # noqa: E402
from training.arguments import DataArguments, DataFormat  # noqa: E402
from training.data import data_root, load_split  # noqa: E402
from training.errors import exit_on_user_error  # noqa: E402
from training.loading import load_complete, naming_option  # noqa: E402
from training.prediction import LoadingOptions, evaluate_recall  # noqa: E402
from training.tables import format_table  # noqa: E402


logger = logging.getLogger(__name__)

KS = (20, 50, 100)


@dataclass
class EvaluateArguments:
    """Options of the program."""

    model: str = field(metadata={"help": "Folder or Hub name of the model."})
    data: str = field(metadata={"help": "Folder, file or Hub name of the data set."})
    split: Literal["train", "val", "test"] = field(default="test", metadata={"help": "Which images."})
    format: DataFormat = field(default="auto", metadata={"help": "Its format; auto looks which files are there."})
    num_validation_images: int | None = field(
        default=None, metadata={"help": "How many training images are the validation split, if training was told so."}
    )
    batch_size: int = field(default=8, metadata={"help": "Images per process and forward pass."})
    num_workers: int = field(
        default=min(4, os.cpu_count() or 1), metadata={"help": "Processes that read images, for each process."}
    )
    max_images: int | None = field(default=None, metadata={"help": "Only the first so many images."})
    mixed_precision: Literal["no", "fp16", "bf16"] = field(default="no", metadata={"help": "Number format."})
    zero_shot: bool = field(default=True, metadata={"help": "Report zR, which needs the training annotations."})
    output: str | None = field(
        default=None,
        metadata={"help": "JSON file to write; by default beside the model, or here if its folder is read-only."},
    )

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_images"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}.")
        if self.num_workers < 0:
            raise ValueError(f"--num_workers must be at least 0, got {self.num_workers}.")


def choose_output(arguments: EvaluateArguments) -> Path:
    """The JSON file to write, checked before anything is measured.

    Raises:
        OSError: It cannot be written.
    """
    if arguments.output is not None:
        candidates = [Path(arguments.output).expanduser()]
    else:
        # A model on the Hub has no folder, and one that several people use may be read-only.
        folders = [folder for folder in (Path(arguments.model), Path()) if folder.is_dir()]
        candidates = [folder / f"evaluation_{arguments.split}.json" for folder in folders]
    for path in candidates:
        if _can_write(path):
            return path
    raise OSError(f"--output: cannot write {candidates[-1]}; name a file in a folder in which files can be made.")


def _can_write(path: Path) -> bool:
    if path.exists() and not path.is_file():
        return False
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def load_model(path: str) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """Load a model and its processor.

    Raises:
        OSError: There is no such model.
        ValueError: Its files cannot be read or do not fit each other.
    """
    model = load_complete(AutoModelForSceneGraphGeneration, "--model", path)
    with naming_option("--model", path):
        return model, AutoImageProcessor.from_pretrained(path)


def load_evaluation_split(arguments: EvaluateArguments) -> tuple[Dataset, Any]:
    """The images to evaluate on, and the triplets `(z, 3)` that training never shows (None if not asked for).

    Raises:
        FileNotFoundError: A folder or file is missing.
        ValueError: A file is not what it should be.
    """
    places = {"root": arguments.data, "format": arguments.format}
    places = DataArguments(**places, num_validation_images=arguments.num_validation_images)
    data_root(arguments.data, "--data")
    dataset = load_split(places, arguments.split)
    if not arguments.zero_shot:
        return dataset, None
    try:
        train = predicate_statistics(load_split(places, "train"))
    except (ValueError, FileNotFoundError) as error:
        logger.warning("zR is left out, it needs the training annotations: %s", error)
        return dataset, None
    return dataset, zero_shot_triplets(train, predicate_statistics(dataset))


def check_vocabulary(model: PreTrainedModel, dataset: Dataset) -> None:
    """Refuse to compare class numbers that mean different things.

    Raises:
        ValueError: The model's classes are not the data set's.
    """
    for field_name, names in (("id2label", object_names(dataset)), ("id2predicate", predicate_names(dataset))):
        known = getattr(model.config, field_name)
        if known != dict(enumerate(names)):
            raise ValueError(
                f"The model's {field_name} has {len(known)} names, the data set {len(names)}, and they are not the same "
                "names in the same order; evaluate on data with the classes that the model was trained on."
            )


def format_results(results: dict[str, Any]) -> str:
    """A table with the metrics as rows and K as columns."""
    names = [name for name in ("R", "ng-R", "zR", "mR", "F") if f"{name}@{KS[0]}" in results]
    columns = {f"@{k}": {name: results[f"{name}@{k}"] for name in names} for k in KS}
    return format_table(columns, names, heading="%")


def write_report(path: Path, arguments: EvaluateArguments, metric: SceneGraphRecall, results: dict[str, Any]) -> None:
    """Write the metrics and what they were measured on as JSON."""
    report = {
        "model": arguments.model,
        "data": arguments.data,
        "split": arguments.split,
        "mode": metric.mode,
        "protocol": metric.protocol.name,
        "max_images": arguments.max_images,
        "metrics": {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in results.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with exit_on_user_error():
        (arguments,) = HfArgumentParser(EvaluateArguments).parse_args_into_dataclasses(words, look_for_args_file=False)
        output = choose_output(arguments)
        dataset, unseen = load_evaluation_split(arguments)
        model, processor = load_model(arguments.model)
        check_vocabulary(model, dataset)
        accelerator = Accelerator(mixed_precision=arguments.mixed_precision)
    metric = SceneGraphRecall(model.config.num_predicates, ks=KS, zero_shot_triplets=unseen)
    options = LoadingOptions(arguments.batch_size, arguments.num_workers, arguments.max_images)
    results = evaluate_recall(model.to(accelerator.device), processor, dataset, metric, accelerator, options)
    if accelerator.is_main_process:
        print(f"{arguments.split}, {results['num_images']} images, {metric.mode}, protocol {metric.protocol.name}")
        print(format_results(results))  # before the file, in case the disk is full
        with exit_on_user_error():
            write_report(output, arguments, metric, results)
        print(f"written: {output}")
    accelerator.end_training()


if __name__ == "__main__":
    main()
