# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The `speaq` command: one sub-command per task, each a thin layer over the library."""

from typing import Annotated

import typer

from . import __version__
from .commands.app import app as web_app
from .commands.bench import bench
from .commands.card import card
from .commands.convert import convert
from .commands.convert_data import convert_data
from .commands.data_report import data_report
from .commands.evaluate import evaluate
from .commands.export import export
from .commands.generate_data import generate_data
from .commands.info import info
from .commands.plot_log import plot_log
from .commands.predict import EXAMPLES as PREDICT_EXAMPLES
from .commands.predict import predict
from .commands.train import SETTINGS, train


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"speaq_hf {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="speaq",
    help="Scene graph generation with SpeaQ.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # no frames: paths in errors stay whole, for eyes and for grep
)


@app.callback()
def _speaq(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Scene graph generation with SpeaQ."""


app.command("predict", epilog=PREDICT_EXAMPLES)(predict)
# In the order of `speaq --help`: from looking at images to making models.
for _command in (
    web_app,
    evaluate,
    generate_data,
    convert_data,
    data_report,
    plot_log,
    card,
    info,
    bench,
    export,
    convert,
):
    app.command(_command.__name__.replace("_", "-"))(_command)
app.command("train", context_settings=SETTINGS)(train)


def main() -> None:
    """Entry point of the `speaq` command."""
    app()


if __name__ == "__main__":
    main()
