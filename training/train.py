# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Train a scene graph model.

accelerate launch training/train.py --config training/configs/tiny.yaml [--training.max_steps 10] [--data.root DIR]
"""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration, broadcast_object_list, set_seed
from transformers.utils.logging import disable_progress_bar


# Run as a script, Python looks for modules in this file's folder first, where `evaluate` is not the library.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from training.arguments import RunArguments, TrainingArguments  # noqa: E402
from training.configuration_file import SECTIONS, describe_options, parse_run  # noqa: E402
from training.data import TrainingData, load_training_data  # noqa: E402
from training.errors import USER_ERRORS, exit_on_user_error  # noqa: E402
from training.interruption import TrainingInterrupted  # noqa: E402
from training.recomputation import enable_checkpointing  # noqa: E402
from training.run_folder import RunFolder  # noqa: E402
from training.scene_graph_task import SceneGraphTask  # noqa: E402
from training.task import Task  # noqa: E402
from training.trainer import Trainer, TrainingDiverged  # noqa: E402
from training.writing import naming_target  # noqa: E402


logger = logging.getLogger(__name__)


def parse_arguments(
    words: Sequence[str],
    sections: Mapping[str, type] = SECTIONS,
    description: str = "Train a scene graph model.",
    example: str = "training/configs/speaq_vg.yaml",
) -> RunArguments:
    """Command line to arguments."""
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f"Options, in the YAML file or on the command line:\n{describe_options(sections)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, help=f"YAML file, for example {example}.")
    known, overrides = parser.parse_known_args(words)
    return parse_run(known.config, overrides, sections)


def build_accelerator(options: TrainingArguments) -> Accelerator:
    """Processes, device, number format and tracker of a run."""
    accelerator = Accelerator(
        mixed_precision=options.mixed_precision,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
        log_with=None if options.tracker == "none" else options.tracker,
        project_config=ProjectConfiguration(project_dir=str(Path(options.output_dir).expanduser())),
    )
    if options.tracker != "none" and not accelerator.log_with:
        logger.warning("training.tracker: %s is not installed; log.jsonl is written anyway.", options.tracker)
    if options.mixed_precision == "fp16" and accelerator.scaler is None:
        logger.warning("training.mixed_precision: %s has no fp16, training in fp32.", accelerator.device)
    return accelerator


def build_trainer(
    arguments: RunArguments, build_task: Callable[[RunArguments, TrainingData], Task] = SceneGraphTask
) -> Trainer:
    """Everything that can go wrong because of the arguments or the files, before any step is taken."""
    options = arguments.training
    folder = RunFolder(options)
    data = load_training_data(arguments.data)
    task = build_task(arguments, data)
    accelerator = build_accelerator(options)
    set_seed(options.seed)
    model = task.build_model()
    if options.gradient_checkpointing:
        enable_checkpointing(model)
    if options.channels_last:
        model.to(memory_format=torch.channels_last)
    if options.compile:
        # In place, which leaves the names of the weights as they are; the loss, computed in SciPy too, stays outside.
        task.network(model).compile()
    set_seed(options.seed, device_specific=True)  # processes drop out different units
    trainer = Trainer(arguments, model, task, data, accelerator, folder)
    if accelerator.is_main_process:
        folder.open()
    accelerator.wait_for_everyone()
    (checkpoint,) = broadcast_object_list([folder.checkpoint])
    if checkpoint is not None:
        trainer.resume(checkpoint)
    if accelerator.is_main_process:
        folder.write_arguments(arguments)
    with naming_target(folder.path / "tracker"):
        accelerator.init_trackers("tracker", _flat(arguments.to_dict()))
    return trainer


def run(build: Callable[[Sequence[str]], Trainer], words: Sequence[str] | None = None) -> None:
    """Run a training program.

    Args:
        build: Makes the trainer from the words of the command line.
        words: The words; those that the program was started with when missing.
    """
    logging.basicConfig(level=logging.WARNING if _is_main_process() else logging.ERROR, format="%(message)s")
    logging.getLogger("training").setLevel(logging.INFO if _is_main_process() else logging.ERROR)
    for name in ("training.readable_rows", "training.prediction"):  # every process reads images of its own
        logging.getLogger(name).setLevel(logging.WARNING)
    disable_progress_bar()  # transformers shows one for every model that is saved
    with exit_on_user_error():
        trainer = build(sys.argv[1:] if words is None else words)
    with (
        contextlib.closing(trainer.folder),
        exit_on_user_error((TrainingDiverged, *USER_ERRORS), every_process=True),
        exit_on_user_error((TrainingInterrupted,), code=143),
    ):
        trainer.train()
    trainer.accelerator.end_training()


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    run(lambda words: build_trainer(parse_arguments(words)), words)


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _flat(sections: dict[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    """Dotted names and plain values, which every tracker takes."""
    flat = {}
    for name, value in sections.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, (str, int, float, bool)) else str(value)
    return flat


if __name__ == "__main__":
    main()
