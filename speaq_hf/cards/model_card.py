# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Model cards: what the Hub shows of a model, written from the files that lie beside its weights."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData

from ..checkpoints.checkpoint_files import CheckpointFiles
from ..checkpoints.model_facts import ModelFacts
from ..checkpoints.training_record import RECORD_FILE, TrainingRecord
from ..text_files import write_text
from . import card_texts
from .card_results import (
    MeasuredResults,
    published_eval_results,
    read_results,
    result_rows,
    to_eval_results,
    validation_results,
)
from .citations import references_to, to_bibtex
from .published_results import ISG_PAPER, PUBLISHED, PUBLISHED_KS, SPEAQ_PAPER, PublishedResults


CARD_FILE = "README.md"
# Tells the cards of this module from those of people.
_MARKER = "<!-- Written by speaq_hf from the files of the model, and written anew when they change. -->"
_CONVERSION_REPORT = "conversion_report.json"
_TAGS = ["scene-graph-generation", "visual-relationship-detection"]


@dataclass(frozen=True)
class CardOptions:
    """What the files of a model do not say.

    Args:
        name: Of the model; default: that of its training run, else of its folder.
        source: What users give to `from_pretrained`; default: the name. Empty: nothing, it is the packaged model.
        license: Of the weights, as the Hub abbreviates it: "apache-2.0".
        picture: Address of a picture, relative to the card.
        published: Whose published results to quote, a key of `PUBLISHED`: the weights are the authors', converted.
    """

    name: str | None = None
    source: str | None = None
    license: str | None = None
    picture: str | None = None
    published: str | None = None


def build_model_card(
    files: CheckpointFiles, options: CardOptions | None = None, results: Iterable[MeasuredResults] | None = None
) -> ModelCard:
    """Write down what is known of a model.

    Args:
        files: The model.
        options: What they do not say.
        results: What was measured; default: `evaluation_*.json` beside the model, else what training has measured on
            its validation split.

    Returns:
        The card; `str(card)` is its text.

    Raises:
        ImportError: Jinja is not installed.
        OSError: There is no such model.
        ValueError: It is no scene graph model, a file beside it is damaged, or the published results are not of its kind.
    """
    from .text_templates import render_text

    options = options or CardOptions()
    facts, record = ModelFacts.of(files), TrainingRecord.read(files)
    if options.published is not None and record is not None:
        raise ValueError(
            f"{files.name} was trained here ({RECORD_FILE}): the published results are of the authors' weights"
        )
    results = list(_results_beside(files, record) if results is None else results)
    published = None if options.published is None else _published(options.published, facts)
    is_converted = published is not None or files.find(_CONVERSION_REPORT) is not None
    name = options.name or _default_name(files, record)
    text = render_text(
        "model_card.md",
        marker=_MARKER,
        metadata=_metadata(name, facts, record, options, results, published).to_yaml().strip(),
        name=name,
        summary=card_texts.summary(facts, record),
        picture=options.picture,
        source=_quoted(name if options.source is None else options.source),
        model_rows=card_texts.model_rows(facts, files.weights),
        origin=card_texts.origin(name, record, is_converted),
        measured=[_table(measured) for measured in results],
        published=None if published is None else _published_table(published),
        intended_use=card_texts.intended_use(record),
        limits=card_texts.limits(facts, record, _is_genome(record, published)),
        license=card_texts.license_text(options.license, is_converted),
        citations=[to_bibtex(reference) for reference in references_to(_papers(facts))],
        **_training(record),
    )
    return ModelCard(text)


def write_model_card(
    folder: str | os.PathLike, options: CardOptions | None = None, results: Iterable[MeasuredResults] | None = None
) -> Path:
    """Write the card of a model to `README.md` in its folder.

    Args:
        folder: Of the model.
        options: See `build_model_card`.
        results: See `build_model_card`.

    Returns:
        The file.

    Raises:
        ImportError: Jinja is not installed.
        OSError: There is no such model, or the card cannot be written.
        ValueError: See `build_model_card`.
    """
    path = Path(folder) / CARD_FILE
    write_text(path, str(build_model_card(CheckpointFiles.of(folder), options, results)))
    return path


def is_written_here(path: str | os.PathLike) -> bool:
    """Whether a card can be replaced without loss: it is missing, or one that `write_model_card` has written."""
    path = Path(path)
    return not path.exists() or (path.is_file() and _MARKER in path.read_text(encoding="utf-8", errors="replace"))


def _results_beside(files: CheckpointFiles, record: TrainingRecord | None) -> list[MeasuredResults]:
    found = [] if files.folder is None else sorted(files.folder.glob("evaluation_*.json"))
    if found:
        return [read_results(path) for path in found]
    if record is None or record.evaluation is None or "protocol" not in record.evaluation:
        return []
    return [validation_results(record.evaluation, record.sources[0].data)]


def _published(name: str, facts: ModelFacts) -> PublishedResults:
    """The published results, if the model can be the one that they are of."""
    if name not in PUBLISHED:
        raise ValueError(f"there are no published results of {name!r}, only of {', '.join(PUBLISHED)}")
    if facts.variant != name:
        raise ValueError(f"the published results of {name} cannot be this model's, which is {facts.variant_name}")
    return PUBLISHED[name]


def _metadata(
    name: str,
    facts: ModelFacts,
    record: TrainingRecord | None,
    options: CardOptions,
    results: list[MeasuredResults],
    published: PublishedResults | None,
) -> ModelCardData:
    evaluated = [entry for measured in results for entry in to_eval_results(measured)]
    evaluated += [] if published is None else published_eval_results(published)
    start = record.start if record is not None else None
    return ModelCardData(
        model_name=name,
        license=options.license,
        library_name="transformers",
        pipeline_tag="object-detection",  # the Hub knows no scene graphs
        tags=[*_TAGS, facts.config.model_type],
        datasets=[source.data for source in record.sources if source.on_hub] or None if record is not None else None,
        base_model=start["name"] if start is not None and start["on_hub"] else None,
        eval_results=evaluated or None,
    )


def _training(record: TrainingRecord | None) -> dict[str, Any]:
    if record is None:
        return {"sources": None}
    options = yaml.safe_dump(record.options, sort_keys=False, default_flow_style=None, width=110).strip()
    return {"sources": record.sources, "recipe_rows": card_texts.recipe_rows(record), "options": options}


def _table(results: MeasuredResults) -> dict[str, Any]:
    rows = [
        (f"{protocol} ({results.fingerprints[protocol]})", metric, cells)
        for protocol, values in results.protocols.items()
        for metric, cells in result_rows(values, results.ks)
    ]
    return {"title": results.title, "ks": results.ks, "rows": rows}


def _published_table(published: PublishedResults) -> dict[str, Any]:
    rows = [(metric, [f"{value:.2f}" for value in values]) for metric, values in published.recalls.items()]
    return {
        "model": published.model,
        "paper": published.paper,
        "setting": published.setting,
        "recipe": published.recipe,
        "ks": PUBLISHED_KS,
        "rows": rows,
    }


def _is_genome(record: TrainingRecord | None, published: PublishedResults | None) -> bool:
    """Whether training shows Visual Genome's own annotation."""
    sources = [] if record is None else record.sources
    return published is not None or any(s.format == "visual_genome" and not s.generated for s in sources)


def _papers(facts: ModelFacts) -> list[str]:
    """SpeaQ builds on Iterative SGG."""
    return [ISG_PAPER] if facts.variant == "iterative_sgg" else [SPEAQ_PAPER, ISG_PAPER]


def _default_name(files: CheckpointFiles, record: TrainingRecord | None) -> str:
    if record is not None:
        return record.name
    return files.name if files.folder is None else files.folder.resolve().name


def _quoted(source: str) -> str:
    """As Python's literal, whatever is in it."""
    return json.dumps(source, ensure_ascii=False) if source else ""
