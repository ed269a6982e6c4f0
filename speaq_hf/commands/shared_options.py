# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Options that several commands have."""

from typing import Annotated

import typer


Device = Annotated[str | None, typer.Option(help="Where to compute; default: the accelerator if there is one.")]
NumberFormat = Annotated[
    str | None, typer.Option(help="Of the model: float32, bfloat16 or float16; default: as it was saved.")
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a model of the Hub.")]
