# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What an exported model takes and gives."""

from __future__ import annotations

from dataclasses import dataclass

from ..predictor import GraphOptions


@dataclass(frozen=True)
class ExportOptions:
    """What an exported model takes and gives.

    Args:
        graph: With it, the file gives scene graphs chosen so; without, the predictions of all relation queries.
        pixel_mask: Whether the file takes a mask, for batches of padded images.
        opset: Version of ONNX's operators; None: the one that suits torch.
        check: Whether what was written is run and compared with the model.
    """

    graph: GraphOptions | None = None
    pixel_mask: bool = False
    opset: int | None = None
    check: bool = False
