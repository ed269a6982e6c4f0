# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The training loop: steps, logs, evaluations, checkpoints."""

import contextlib
import functools
import itertools
import logging
import math
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn
from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from speaq_hf.checkpoints.training_record import DataSource, TrainingRecord
from speaq_hf.data.compact_batches import BatchExpansion, CompactCollator, CompactTransform
from speaq_hf.data.images import undecoded

from .arguments import RunArguments
from .augmented_rows import AugmentedRows
from .batches import BatchStream, ProcessBatches
from .checkpoints import CheckpointFolder, TrainingState, check_random_states, write_folder
from .data import TrainingData, build_augmentation, image_reader
from .fingerprint import data_fingerprint
from .interruption import Interruption, TrainingInterrupted
from .logs import JsonLinesLog, StepMeter
from .optimization import build_optimizer, build_scheduler, restore_options
from .optimization_step import OptimizationStep, StepResult
from .readable_rows import CountingCollator, ReadableRows
from .run_folder import RunFolder
from .run_record import build_record, describe_sources
from .tables import format_percent
from .task import Task
from .writing import naming_target


logger = logging.getLogger(__name__)


class TrainingDiverged(RuntimeError):
    """Loss or gradients were not finite for too many steps in a row."""


class Trainer:
    """Trains a model and writes to `training.output_dir`:

    - `log.jsonl`: losses, learning rate and speed (`"type": "train"`), and evaluations (`"type": "evaluation"`)
    - `checkpoints/step-…`: the latest state, to resume from
    - `best` and `final`: the model with its processor, for `from_pretrained`

    Args:
        arguments: All of them.
        model: The task's, in the state that training starts from.
        task: Measures and saves the model.
        data: What it is trained on.
        accelerator: Devices, processes and number format.
        folder: Where everything is written.
    """

    def __init__(
        self,
        arguments: RunArguments,
        model: nn.Module,
        task: Task,
        data: TrainingData,
        accelerator: Accelerator,
        folder: RunFolder,
    ) -> None:
        self.arguments, self.options = arguments, arguments.training
        self.task, self.data, self.accelerator = task, data, accelerator
        self.folder, self.output_dir = folder, folder.path
        self.log = JsonLinesLog(self.output_dir / "log.jsonl")
        self.checkpoints = CheckpointFolder(self.output_dir / "checkpoints")
        self.stream = self._build_stream()
        optimizer = build_optimizer(model, self.options)
        scheduler = build_scheduler(optimizer, self.options)
        self.model, optimizer = accelerator.prepare(model, optimizer)
        self.step = OptimizationStep(self.model, optimizer, scheduler, accelerator, self.options.max_grad_norm)
        self.state = TrainingState(setup=self._setup())
        self._new_unreadable = 0  # of this process, not yet in the state
        accelerator.register_for_checkpointing(scheduler, self.state)

    def resume(self, checkpoint: Path) -> None:
        """Go back to where a checkpoint was written; learning rate and weight decay are those of the options.

        Raises:
            ValueError: It does not fit the model, is damaged, or lies beyond `training.max_steps`.
        """
        base_rates = list(self.step.scheduler.base_lrs)
        try:
            check_random_states(checkpoint, self.accelerator.process_index)
            self.accelerator.load_state(str(checkpoint))
        # Each of the files in a checkpoint has a reader with errors of its own.
        except Exception as error:
            raise ValueError(
                f"training.resume_from: {checkpoint} is damaged or of a differently configured run "
                f"({type(error).__name__}: {str(error).strip().partition(chr(10))[0]}); use another one, or start anew."
            ) from error
        if self.state.step > self.options.max_steps:
            raise ValueError(
                f"training.max_steps is {self.options.max_steps}, but {checkpoint} is of step {self.state.step}."
            )
        restore_options(self.step.optimizer, self.step.scheduler, base_rates, self.options)
        if self.accelerator.is_main_process:
            self.log.drop_after(self.state.step)
        logger.info("Resuming from %s at step %d.", checkpoint, self.state.step)

    def train(self) -> None:
        """Train up to `training.max_steps`.

        Raises:
            TrainingDiverged: Too many steps in a row were not finite, or the weights are not.
            TrainingInterrupted: SIGTERM asked a process to stop.
            OSError: A checkpoint or the log cannot be written.
        """
        self.model.train()
        if self.state.evaluation_is_due:
            self._evaluate_and_keep_best()
        accumulation = self.options.gradient_accumulation_steps
        meter = StepMeter()
        with (
            self._progress_bar() as bar,
            logging_redirect_tqdm([logging.getLogger("training")]),
            Interruption() as interruption,
            contextlib.closing(self.stream.starting_at(self.state.step * accumulation)) as batches,
        ):
            while self.state.step < self.options.max_steps:
                result = self.step(itertools.islice(batches, accumulation), interruption.is_requested)
                meter.add(result)
                self._count(result)
                bar.update()
                if self._is_due(self.options.log_steps):
                    self._log_step(result, meter, bar)
                self.state.evaluation_is_due = self._is_due(self.arguments.evaluation.steps)
                if self.state.evaluation_is_due and not result.is_interrupted:
                    self._evaluate_and_keep_best()
                if self._is_due(self.options.save_steps) or result.is_interrupted:
                    self._save_checkpoint()
                if result.is_interrupted:
                    # An evaluation takes longer than the time that a stopped process is left: it waits for the resumption.
                    raise TrainingInterrupted(
                        f"Stopped by SIGTERM after step {self.state.step}, which is saved; "
                        "--training.resume_from auto goes on from there."
                    )
        self._check_success()
        self._report_unreadable()
        self.save_model(self.output_dir / "final")
        logger.info("The trained model is in %s.", self.output_dir / "final")

    def evaluate(self) -> dict[str, Any]:
        """Metrics on the validation split. Every process must call it."""
        return self.task.evaluate(self.accelerator.unwrap_model(self.model), self.accelerator)

    def save_model(self, folder: Path) -> None:
        """Write the model and its processor. Every process must call it."""
        self._check_weights()

        def write(temporary: Path) -> None:
            if self.accelerator.is_main_process:
                self.task.save(self.accelerator.unwrap_model(self.model), temporary, self._record())

        write_folder(folder, write, self.accelerator)

    def _record(self) -> TrainingRecord:
        """How the model of this step came about."""
        measured = [
            entry for entry in self.log.read() if (entry["step"], entry["type"]) == (self.state.step, "evaluation")
        ]
        evaluation = (
            {name: value for name, value in measured[-1].items() if name not in ("step", "type")} if measured else None
        )
        return build_record(self.arguments, self.data, self._sources, self.state, self.accelerator, evaluation)

    @functools.cached_property
    def _sources(self) -> list[DataSource]:
        return describe_sources(self.data)

    def _save_checkpoint(self) -> None:
        self._check_weights()
        self._share_unreadable()
        self.checkpoints.save(self.accelerator, self.state.step)

    def _check_weights(self) -> None:
        """Weights that are not finite never replace good ones on the disk."""
        names, values = zip(*self.accelerator.unwrap_model(self.model).state_dict().items(), strict=True)
        is_finite = torch.stack([value.isfinite().all() for value in values]).tolist()
        # Together: a process that found its own in order would wait for the others for ever.
        broken = gather_object(list(itertools.compress(names, (not finite for finite in is_finite))))
        if broken:
            raise TrainingDiverged(
                f"{broken[0]} is not finite at step {self.state.step}, so that nothing was saved. The "
                f"last checkpoint is {self.checkpoints.latest()}; the log names the images of skipped steps."
            )

    def _check_success(self) -> None:
        """A run that mostly skipped its steps has not trained a model."""
        if 2 * self.state.skipped_steps > self.state.step:
            raise TrainingDiverged(
                f"{self.state.skipped_steps} of {self.state.step} steps were skipped because they were not finite, so that "
                "there is no final model. Lower training.learning_rate, or look for broken annotations."
            )

    def _build_stream(self) -> BatchStream:
        options, accelerator = self.options, self.accelerator
        augmentation, reader = build_augmentation(self.arguments.data), image_reader(self.arguments.data)
        transform = CompactTransform(augmentation, options.seed, reader)
        sampler = self.data.sampler(options.batch_size, options.seed)
        batches = ProcessBatches(sampler, accelerator.process_index, accelerator.num_processes)
        collate = CompactCollator(self.task.processor)
        rows = AugmentedRows(undecoded(self.data.train), transform)
        if self.arguments.data.unreadable_images == "replace":
            rows, collate = ReadableRows(rows, self.data.sources), CountingCollator(collate)
        expand = BatchExpansion(self.task.processor, accelerator.device)
        return BatchStream(rows, batches, collate, self.arguments.data.num_workers, expand)

    def _setup(self) -> dict[str, Any]:
        """What the order of the images and their weight in the loss depend on."""
        return {
            "num_processes": self.accelerator.num_processes,
            "batch_size": self.options.batch_size,
            "gradient_accumulation_steps": self.options.gradient_accumulation_steps,
            "seed": self.options.seed,
            "num_images": len(self.data.train),
            "data_fingerprint": data_fingerprint(self.data.train),
            "ratios": self.data.ratios,
            "loss_weights": self.arguments.data.loss_weights,
        }

    def _progress_bar(self) -> tqdm:
        return tqdm(
            desc="Training",
            unit="step",
            initial=self.state.step,
            total=self.options.max_steps,
            disable=not self.accelerator.is_main_process,
            mininterval=0.5 if sys.stderr.isatty() else 5.0,  # a file or a CI log is not flooded
        )

    def _is_due(self, interval: int) -> bool:
        """Whether something that happens every `interval` steps, and at the end, happens after this step; 0: never."""
        step = self.state.step
        return interval > 0 and (step % interval == 0 or step == self.options.max_steps)

    def _count(self, result: StepResult) -> None:
        state = self.state
        state.step += 1
        state.skipped_steps += not result.is_finite
        self._new_unreadable += result.num_unreadable
        state.consecutive_skips = 0 if result.is_finite else state.consecutive_skips + 1
        if not result.is_finite:
            self._report_skip(result)
        if state.consecutive_skips >= self.options.max_skipped_steps:
            raise TrainingDiverged(
                f"Loss or gradients were not finite for {state.consecutive_skips} steps in a row, up to step "
                f"{state.step}; none of them changed the weights. Lower training.learning_rate, set "
                "training.mixed_precision to no or bf16, or look for broken annotations."
            )

    def _report_skip(self, result: StepResult) -> None:
        image_ids, sources = gather_object(result.image_ids), gather_object(result.sources)
        names = [f"{source} {id}" if source else id for id, source in zip(image_ids, sources, strict=True)]
        logger.warning("Step %d was skipped, it was not finite; its images: %s", self.state.step, names)
        values = {"image_ids": image_ids, "gradient_norm": result.gradient_norm}
        self._write("skipped", values if self.data.sources is None else values | {"sources": sources})

    def _log_step(self, result: StepResult, meter: StepMeter, bar: tqdm) -> None:
        values = meter.read(self.accelerator)
        values |= {
            "learning_rate": result.learning_rate,
            "gradient_norm": result.gradient_norm,
            "skipped_steps": self.state.skipped_steps,
        }
        if self.arguments.data.unreadable_images == "replace":
            values["unreadable_images"] = self._share_unreadable()
        main = self.task.main_loss
        shown = {"loss": values["loss"], main.removeprefix("loss_"): values[main], "lr": values["learning_rate"]}
        bar.set_postfix({name: f"{value:.3g}" for name, value in shown.items()}, refresh=False)
        self._write("train", values)

    def _evaluate_and_keep_best(self) -> None:
        results, name = self.evaluate(), self.arguments.evaluation.best_metric
        self.state.evaluation_is_due = False
        self._write("evaluation", results)
        value, best = results[name], self.state.best_value
        # While nothing defines the metric, the latest model stands in for the best.
        if best is None or math.isnan(best) or value > best:
            self.state.best_value = value
            self.save_model(self.output_dir / "best")
        logger.info(
            "Step %d: %s %s %%, best %s %%",
            self.state.step,
            name,
            format_percent(value),
            format_percent(self.state.best_value),
        )

    def _share_unreadable(self) -> int:
        """How many images were replaced so far, in all processes. Each of them must call it."""
        new = torch.tensor(self._new_unreadable, device=self.accelerator.device)
        self.state.num_unreadable += int(self.accelerator.reduce(new, reduction="sum"))
        self._new_unreadable = 0
        return self.state.num_unreadable

    def _report_unreadable(self) -> None:
        """A run on the rest of a set must not pass for one on the whole."""
        number = self._share_unreadable()
        if number > 0:
            logger.warning("An unreadable image was replaced by another one %d times; see the warnings above.", number)

    def _write(self, kind: str, values: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            self.log.write({"step": self.state.step, "type": kind} | values)
        numbers = {f"{kind}/{name}": value for name, value in values.items() if isinstance(value, (int, float))}
        with naming_target(self.output_dir / "tracker"):
            self.accelerator.log(numbers, step=self.state.step)
