# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What stands in an exported file beside the network: all that is needed to run it without this package."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import BaseImageProcessor, PreTrainedModel

from .. import __version__
from ..models.speaq import image_processing_speaq
from ..predictor import GraphOptions
from .export_options import ExportOptions


# Of a processor's settings those that say which code reads them, and the names, which stand in fields of their own.
_NOT_PREPROCESSING = ("auto_map", "id2label", "id2predicate")


@dataclass(frozen=True)
class ExportMetadata:
    """What an exported file says of itself.

    Args:
        id2label: Names of the object classes.
        id2predicate: Names of the predicates.
        preprocessing: Settings of the image processor: `size`, `resample`, `rescale_factor`, `image_mean`, `image_std`, …
        graph: How the graphs in its outputs are chosen; None: it gives the predictions of all queries.
        pixel_mask: Whether it takes a mask.
        version: Of this package.
    """

    id2label: dict[int, str]
    id2predicate: dict[int, str]
    preprocessing: dict[str, Any]
    graph: GraphOptions | None
    pixel_mask: bool
    version: str = __version__

    @classmethod
    def of(cls, model: PreTrainedModel, processor: BaseImageProcessor, options: ExportOptions) -> ExportMetadata:
        """What is to be said of a model.

        Raises:
            ValueError: The image processor is none of this package, so that nobody could repeat its work from settings.
        """
        settings = processor.to_dict()
        if not hasattr(image_processing_speaq, str(settings.get("image_processor_type"))):
            raise ValueError(
                f"the model's image processor must be one of this package, such as SpeaQImageProcessor, got "
                f"{type(processor).__name__}"
            )
        preprocessing = {name: value for name, value in settings.items() if name not in _NOT_PREPROCESSING}
        names = (dict(model.config.id2label), dict(model.config.id2predicate))
        return cls(*names, preprocessing, options.graph, options.pixel_mask)

    def to_strings(self) -> dict[str, str]:
        """Each field as JSON."""
        return {name: json.dumps(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_strings(cls, file: str, strings: Mapping[str, str]) -> ExportMetadata:
        """The opposite of `to_strings`.

        Raises:
            ValueError: A field is missing, for the file was not written by this package.
        """
        fields = [field.name for field in dataclasses.fields(cls)]
        missing = [name for name in fields if name not in strings]
        if missing:
            raise ValueError(f"{file} was not written by `speaq export`: its metadata lack {', '.join(missing)}")
        values = {name: json.loads(strings[name]) for name in fields}
        for name in ("id2label", "id2predicate"):
            values[name] = {int(index): word for index, word in values[name].items()}
        if values["graph"] is not None:
            values["graph"] = GraphOptions(**values["graph"])
        return cls(**values)

    def processor(self) -> BaseImageProcessor:
        """The image processor that makes inputs as the model was trained on."""
        processor = getattr(image_processing_speaq, self.preprocessing["image_processor_type"])
        return processor(**self.preprocessing, id2label=self.id2label, id2predicate=self.id2predicate)
