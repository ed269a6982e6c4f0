# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`speaq train`."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from .user_errors import user_errors


# What the command does not know is an option of the training program.
SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}


def train(
    context: typer.Context,
    config: Annotated[str, typer.Option(help="A YAML file, or the name of one of ours: speaq_vg, isg_vg, tiny, ….")],
    num_processes: Annotated[
        int | None,
        typer.Option("--num-processes", "-n", help="Processes, one per GPU; default: as accelerate is configured."),
    ] = None,
    detector: Annotated[
        bool,
        typer.Option("--detector", help="Train a DETR detector on the boxes, for --model.detr of the next training."),
    ] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="Train on the CPU, whatever else there is.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the command that would run.")] = False,
) -> None:
    """Train a model with accelerate.

    --section.field value sets any option of the configuration.

    Examples:

    speaq train --config detr_vg --detector --data.root data/visual_genome

    speaq train --config speaq_vg --num-processes 4 --data.root data/visual_genome --training.batch_size 5

    speaq train --config speaq_vg --training.resume_from auto
    """
    with user_errors("train"):
        from ..training_runs.training_command import TrainingCommand

        command = TrainingCommand.of(config, context.args, num_processes=num_processes, detector=detector, cpu=cpu)
    typer.echo(shlex.join(command.shown))
    if not dry_run:
        raise typer.Exit(code=command.run())
