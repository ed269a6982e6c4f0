# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""An evaluation as one HTML page that needs no other file and no network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..html_pages import embedded_json, render_template
from ..text_files import write_text
from .comparison import Difference
from .protocols import EvaluationProtocol
from .report_charts import (
    OUTCOMES,
    confusion_map,
    predicate_order,
    predicate_rows,
    recall_bar,
    recall_per_predicate,
)
from .report_images import ImageRules, ReportExample, image_values
from .report_tables import difference_rows, further_tables, image_rows, recall_rows, rule_rows


MODEL_COLORS = ("#1f6fb4", "#e07b16")


@dataclass(frozen=True)
class EvaluatedModel:
    """One model, or one file of predictions.

    Args:
        name: How the report calls it.
        results: From `SceneGraphEvaluator.compute`. The report shows the errors where they hold `error_anatomy`, the result
            of an `ErrorAnatomy`, and every other tally as a table of its numbers.
    """

    name: str
    results: Mapping[str, Any]


@dataclass(frozen=True)
class ReportClasses:
    """What the class numbers mean.

    Args:
        objects: Name of every object class.
        predicates: Name of every predicate.
        predicate_counts: `(P,)` how often training shows each predicate; None if unknown. The report orders predicates by it.
    """

    objects: Sequence[str]
    predicates: Sequence[str]
    predicate_counts: Sequence[float] | None = None


def write_evaluation_report(
    path: str | os.PathLike,
    models: Sequence[EvaluatedModel],
    classes: ReportClasses,
    examples: Iterable[ReportExample] = (),
    *,
    differences: Mapping[str, Mapping[str, Difference]] | None = None,
    title: str = "Scene graph evaluation",
    num_predictions: int = 20,
    thumbnail_side: int = 320,
) -> Path:
    """Writes the report. Every text of the data is escaped; the page asks for nothing outside itself.

    Args:
        path: The HTML file, replaced if it is there.
        models: One model, or two to compare.
        classes: Names of the classes.
        examples: Images to browse, with one prediction per model; they are read one by one.
        differences: By protocol, what `compare_recall` says of the first model against the second.
        title: Heading.
        num_predictions: Most predictions of an image that are listed, hits aside.
        thumbnail_side: Longer side of the pictures in pixels.

    Returns:
        The path.

    Raises:
        ValueError: The models were not evaluated alike, or a name, a count or an example does not fit.
    """
    _check_models(models)
    _check_classes(models, classes)
    rules = _image_rules(models[0].results, classes, num_predictions, thumbnail_side)
    images = [image_values(example, rules) for example in _checked_examples(examples, models)]
    order = predicate_order(len(classes.predicates), classes.predicate_counts)
    first = models[0].results
    page = render_template(
        "evaluation_report.html",
        title=title,
        models=[_model_section(model, classes, order) for model in models],
        colors=MODEL_COLORS,
        results=first,
        outcomes=OUTCOMES,
        order=order,
        predicate_names=classes.predicates,
        rules=rule_rows(first),
        differences=difference_rows(differences, first["ks"]) if differences else None,
        further=further_tables([(model.name, model.results) for model in models]),
        judged_by=rules,
        num_images=len(images),
        data=embedded_json(_page_data(models, classes, order, images)),
    )
    write_text(path, page)
    return Path(path)


def _model_section(
    model: EvaluatedModel, classes: ReportClasses, order: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    anatomy = model.results.get("error_anatomy")
    values = {"name": model.name, "metrics": recall_rows(model.results), "images": image_rows(model.results)}
    if anatomy is None:
        return values | {"anatomy": None}
    return values | {
        "anatomy": anatomy,
        "bar": recall_bar(anatomy),
        "predicates": predicate_rows(anatomy, classes.predicates, order),
        "confusion": confusion_map(anatomy, classes.predicates, order),
    }


def _page_data(
    models: Sequence[EvaluatedModel],
    classes: ReportClasses,
    order: Sequence[Mapping[str, Any]],
    images: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What the page's script works on."""
    return {
        "models": [
            {"name": model.name, "color": color, "recall": recall_per_predicate(model.results)}
            for model, color in zip(models, MODEL_COLORS, strict=False)
        ],
        "objects": list(classes.objects),
        "predicates": list(classes.predicates),
        "order": [place["number"] for place in order],
        "outcomes": [{"key": o.key, "name": o.name, "color": o.color} for o in OUTCOMES],
        "images": images,
    }


def _image_rules(
    results: Mapping[str, Any], classes: ReportClasses, num_predictions: int, thumbnail_side: int
) -> ImageRules:
    """Images are judged as their errors are counted; without these by the first protocol at the largest K."""
    name, first = next(iter(results["protocols"].items()))
    fallback = {"protocol": name, "k": results["ks"][-1], "iou_threshold": results["iou_threshold"], **first}
    judged = results.get("error_anatomy", fallback)
    return ImageRules(
        protocol=EvaluationProtocol(judged["protocol"], **judged["rules"]),
        k=judged["k"],
        iou_threshold=judged["iou_threshold"],
        mode=results["mode"],
        num_objects=len(classes.objects),
        num_predicates=len(classes.predicates),
        num_predictions=num_predictions,
        thumbnail_side=thumbnail_side,
    )


def _check_models(models: Sequence[EvaluatedModel]) -> None:
    if len(models) not in (1, 2):
        raise ValueError(f"A report shows one or two models, got {len(models)}.")
    described = [_settings(model.results) for model in models]
    for field, value in described[0].items():
        if described[-1][field] != value:
            raise ValueError(f"The models were not evaluated alike: {field} is {value} and {described[-1][field]}.")


def _settings(results: Mapping[str, Any]) -> dict[str, Any]:
    anatomy = results.get("error_anatomy", {})
    return {
        **{field: results[field] for field in ("mode", "iou_threshold", "ks")},
        "protocols": {name: protocol["fingerprint"] for name, protocol in results["protocols"].items()},
        "error_anatomy": {field: anatomy.get(field) for field in ("protocol_fingerprint", "k", "iou_threshold")},
    }


def _check_classes(models: Sequence[EvaluatedModel], classes: ReportClasses) -> None:
    protocol = next(iter(models[0].results["protocols"].values()))
    evaluated = len(protocol["metrics"][f"recall_per_predicate@{models[0].results['ks'][0]}"])
    if len(classes.predicates) != evaluated:
        raise ValueError(f"The results have {evaluated} predicates, but there are {len(classes.predicates)} names.")
    counts = classes.predicate_counts
    if counts is not None and len(counts) != evaluated:
        raise ValueError(f"predicate_counts must hold {evaluated} numbers, one per predicate, got {len(counts)}.")


def _checked_examples(examples: Iterable[ReportExample], models: Sequence[EvaluatedModel]) -> Iterable[ReportExample]:
    for example in examples:
        if len(example.predictions) != len(models):
            raise ValueError(
                f"Example {example.name!r} of the report has {len(example.predictions)} predictions, but there are "
                f"{len(models)} models."
            )
        yield example
