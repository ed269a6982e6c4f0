# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Measure a scene graph model under every protocol in one pass.

accelerate launch training/evaluate.py --model DIR --data ROOT --split test
"""

import logging
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
    PredicateStatistics,
    object_names,
    predicate_names,
    predicate_statistics,
    zero_shot_triplets,
)
from speaq_hf.data.missing_split import MissingSplitError  # noqa: E402
from speaq_hf.json_files import write_json  # noqa: E402
from speaq_hf.metrics import PROTOCOLS, ObjectPrecision, RecallSettings, SceneGraphEvaluator  # noqa: E402
from speaq_hf.metrics.evaluation_text import object_table, protocol_table  # noqa: E402
from speaq_hf.metrics.oracle import ORACLE_MODES, ORACLE_NOTE  # noqa: E402
from speaq_hf.text_files import check_not_replaced  # noqa: E402
from training.arguments import DataArguments, DataFormat  # noqa: E402
from training.data import data_root, load_split  # noqa: E402
from training.errors import USER_ERRORS, exit_on_user_error  # noqa: E402
from training.loading import load_complete, naming_option  # noqa: E402
from training.prediction import (  # noqa: E402
    GroundedPredictions,
    LoadingOptions,
    evaluate_recall,
    predict_scene_graphs,
)
from training.report import SavedReport  # noqa: E402
from training.saved_predictions import SavedPredictions  # noqa: E402


logger = logging.getLogger(__name__)


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
    mode: Literal["sgdet", "sgcls", "predcls"] = field(
        default="sgdet",
        metadata={
            "help": "What is given: nothing, boxes, or boxes and classes; by matching predicted objects (oracle)."
        },
    )
    protocols: list[str] = field(
        default_factory=lambda: list(PROTOCOLS), metadata={"help": "Rules to count by, the most important first."}
    )
    ks: list[int] = field(default_factory=lambda: [20, 50, 100], metadata={"help": "Predictions to look at."})
    iou_threshold: float = field(default=0.5, metadata={"help": "Lowest overlap (IoU) of two boxes that agree."})
    replicates: int = field(default=1000, metadata={"help": "Bootstrap replicates behind the intervals; 0 for none."})
    objects: bool = field(
        default=False, metadata={"help": "Measure the objects' average precision, too; keeps all detections."}
    )
    batch_size: int = field(default=8, metadata={"help": "Images per process and forward pass."})
    num_workers: int = field(
        default=min(4, os.cpu_count() or 1), metadata={"help": "Processes that read images, for each process."}
    )
    max_images: int | None = field(default=None, metadata={"help": "Only the first so many images."})
    mixed_precision: Literal["no", "fp16", "bf16"] = field(default="no", metadata={"help": "Number format."})
    zero_shot: bool = field(default=True, metadata={"help": "Report zR, which needs the training annotations."})
    save_predictions: str | None = field(
        default=None,
        metadata={
            "help": "JSONL file for what the model itself predicts (in every mode the sgdet graphs, not brought onto annotated "
            "objects), for `speaq evaluate`."
        },
    )
    report: str | None = field(
        default=None,
        metadata={
            "help": "HTML page to write, with tables, charts, causes of errors and images; sgdet only. Saves the predictions "
            "beside it if --save_predictions names no other file."
        },
    )
    output: str | None = field(
        default=None,
        metadata={"help": "JSON file to write; by default beside the model, or here if its folder is read-only."},
    )

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_images"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("num_workers", "replicates"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} must be at least 0, got {getattr(self, name)}.")
        if not self.ks or min(self.ks) < 1:
            raise ValueError(f"--ks must be numbers of at least 1, got {self.ks}.")
        if not self.protocols or not set(self.protocols) <= set(PROTOCOLS):
            raise ValueError(f"--protocols must be some of {', '.join(PROTOCOLS)}; got {' '.join(self.protocols)}.")
        if not 0 < self.iou_threshold <= 1:
            raise ValueError(f"--iou_threshold must be above 0 and at most 1, got {self.iou_threshold}.")
        if self.objects and self.mode != "sgdet":
            raise ValueError(f"--objects needs --mode sgdet: in {self.mode} boxes are given.")
        self._check_files()

    def _check_files(self) -> None:
        if self.report is not None:
            if self.mode != "sgdet":
                raise ValueError(f"--report needs --mode sgdet: the saved graphs of {self.mode} are those of sgdet.")
            if self.save_predictions is None:
                self.save_predictions = str(Path(self.report).with_suffix(".jsonl"))
        for name in ("report", "save_predictions"):
            path = getattr(self, name)
            if path is not None and not _can_write(Path(path).expanduser()):
                raise ValueError(f"--{name}: cannot write {path}.")


def choose_output(arguments: EvaluateArguments) -> Path:
    """The JSON file to write, checked before anything is measured.

    Raises:
        OSError: It cannot be written.
        ValueError: The predictions would be written to it, too.
    """
    if arguments.output is not None:
        candidates = [Path(arguments.output).expanduser()]
    else:
        # A model on the Hub has no folder, and one that several people use may be read-only.
        folders = [folder for folder in (Path(arguments.model), Path()) if folder.is_dir()]
        # An oracle must not take the place of what the model does alone.
        mode = "" if arguments.mode == "sgdet" else f"_{arguments.mode}"
        candidates = [folder / f"evaluation_{arguments.split}{mode}.json" for folder in folders]
    for path in candidates:
        if _can_write(path):
            check_not_replaced({"--save_predictions": arguments.save_predictions, "--output": path})
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


def load_evaluation_split(arguments: EvaluateArguments) -> tuple[Dataset, PredicateStatistics | None]:
    """The images to evaluate on, and what training shows (None if not asked for).

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
        return dataset, predicate_statistics(load_split(places, "train"))
    except (MissingSplitError, FileNotFoundError) as error:
        logger.warning("zR is left out, it needs the training annotations: %s", error)
        return dataset, None


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


def build_evaluator(
    arguments: EvaluateArguments, model: PreTrainedModel, dataset: Dataset, train: PredicateStatistics | None
) -> SceneGraphEvaluator:
    """What is to be measured.

    Raises:
        ImportError: The objects' precision needs a package that is not installed.
    """
    config, counts, unseen = model.config, model.config.predicate_counts, None
    if train is not None:
        counts, unseen = train.counts, zero_shot_triplets(train, predicate_statistics(dataset))
    settings = RecallSettings(
        num_predicates=config.num_predicates,
        ks=arguments.ks,
        mode=arguments.mode,
        iou_threshold=arguments.iou_threshold,
        zero_shot_triplets=unseen,
        predicate_counts=counts,
        num_replicates=arguments.replicates,
    )
    tallies = {"objects": ObjectPrecision(len(config.id2label))} if arguments.objects else {}
    return SceneGraphEvaluator(settings, list(dict.fromkeys(arguments.protocols)), tallies)


def prepare_report(
    arguments: EvaluateArguments, dataset: Dataset, evaluator: SceneGraphEvaluator
) -> SavedReport | None:
    """The page to write, if one is asked for.

    Raises:
        ImportError: It needs a package that is not installed.
        ValueError: An image id occurs twice.
    """
    if arguments.report is None:
        return None
    if arguments.max_images is not None:
        dataset = dataset.select(range(min(arguments.max_images, len(dataset))))
    name = f"{arguments.data}, split '{arguments.split}'"
    return SavedReport(Path(arguments.report).expanduser(), name, dataset, evaluator)


def build_report(arguments: EvaluateArguments, results: dict[str, Any]) -> dict[str, Any]:
    """The content of the file: what was measured on what.

    Returns:
        `results`, of `SceneGraphEvaluator.compute`, with `model`, `data`, `split`, `max_images`, `oracle` (and a `note`,
        if it is true), and the first protocol once more, as `protocol` and `metrics`.
    """
    source = {name: getattr(arguments, name) for name in ("model", "data", "split", "max_images")}
    oracle = arguments.mode in ORACLE_MODES
    note = {"note": ORACLE_NOTE} if oracle else {}
    name, first = next(iter(results["protocols"].items()))
    return source | {"oracle": oracle} | note | {"protocol": name, "metrics": first["metrics"]} | results


def format_report(report: dict[str, Any]) -> str:
    """What `build_report` made, as tables for people."""
    title = f"{report['split']}, {report['num_images_added']} images, {report['mode']}{' (oracle)' * report['oracle']}"
    title += f", IoU {report['iou_threshold']:g}"
    parts = [title, *([report["note"]] if report["oracle"] else [])]
    parts += ["\n".join(protocol_table(name, results, report)) for name, results in report["protocols"].items()]
    if "objects" in report:
        parts.append("\n".join(object_table(report["objects"])))
    return "\n\n".join(parts)


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with exit_on_user_error((*USER_ERRORS, ImportError)):
        (arguments,) = HfArgumentParser(EvaluateArguments).parse_args_into_dataclasses(words, look_for_args_file=False)
        output = choose_output(arguments)
        dataset, train = load_evaluation_split(arguments)
        model, processor = load_model(arguments.model)
        check_vocabulary(model, dataset)
        evaluator = build_evaluator(arguments, model, dataset, train)
        page = prepare_report(arguments, dataset, evaluator)
        accelerator = Accelerator(mixed_precision=arguments.mixed_precision)
    saved = (
        None if arguments.save_predictions is None else SavedPredictions(Path(arguments.save_predictions).expanduser())
    )
    predict = saved or predict_scene_graphs
    if arguments.mode in ORACLE_MODES:
        predict = GroundedPredictions(arguments.mode, arguments.iou_threshold, predict)
    options = LoadingOptions(arguments.batch_size, arguments.num_workers, arguments.max_images)
    with exit_on_user_error(every_process=True):  # each reads images of its own
        results = evaluate_recall(
            model.to(accelerator.device), processor, dataset, evaluator, accelerator, options, predict
        )
    if accelerator.is_main_process:
        report = build_report(arguments, results)
        print(format_report(report))  # before the file, in case the disk is full
        with exit_on_user_error():
            write_json(output, report)
            print(f"\nwritten: {output}")
            if saved is not None:
                saved.join(accelerator.num_processes)
                print(f"written: {saved.path}")
            if page is not None:
                page.write(saved.path)
                print(f"written: {page.path}")
    accelerator.end_training()


if __name__ == "__main__":
    main()
