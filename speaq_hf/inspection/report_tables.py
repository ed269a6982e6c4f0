# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The reports of `speaq info` and `speaq bench` as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .model_benchmark import BatchSpeed, Timing


_NUM_EXAMPLES = 8


def system_text(report: Mapping[str, Any]) -> str:
    """Lines for people.

    Args:
        report: From `system_report`.
    """
    rows = [(name, version or "not installed") for name, version in report["versions"].items()]
    rows += [(f"extra {name}", _extra(name, missing)) for name, missing in report["extras"].items()]
    for device in report["devices"]:
        rows.append(("device", f"{device['type']}: {device['name']}, {_gigabytes(device['memory'])}"))
    rows.append(("threads", f"{report['threads']} of torch, {report['cores']} cores"))
    return aligned(rows)


def checkpoint_text(report: Mapping[str, Any]) -> str:
    """Lines for people.

    Args:
        report: From `checkpoint_report`.
    """
    rows = [
        ("model", report["name"]),
        ("architecture", report["architecture"]),
        ("weights", _weights(report["weights"])),
    ]
    rows += _model_rows(report["model"]) if "model" in report else []
    rows.append(("saved with", f"transformers {report['transformers_version'] or 'unknown'}"))
    if "training" in report:
        training = report["training"]
        sources = ", ".join(
            f"{source['images']:,} images of {source['data']}" for source in training["sources"].values()
        )
        rows.append(("trained", f"{training['steps']:,} steps of {training['images_per_step']} images: {sources}"))
        rows.append(("trained with", ", ".join(f"{name} {version}" for name, version in training["versions"].items())))
    return aligned(rows + _metric_rows(report.get("metrics", [])))


def benchmark_text(report: Mapping[str, Any], speeds: Sequence[BatchSpeed]) -> str:
    """Lines for people.

    Args:
        report: What was measured where: names and values, in the order of the lines.
        speeds: The rows of the table, one per batch size.
    """
    table = [("batch", *speeds[0].stages, "images/s", "peak memory")]
    for speed in speeds:
        cells = (_milliseconds(timing) for timing in speed.stages.values())
        memory = _gigabytes(speed.peak_memory)
        table.append((str(speed.batch_size), *cells, f"{speed.images_per_second:.2f}", memory))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    note = "milliseconds per batch: median [first and third quartile]"
    return "\n".join([aligned(list(report.items())), "", note, *lines])


def aligned(rows: Sequence[tuple[str, Any]]) -> str:
    """Names and values in two columns."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows)


def _extra(name: str, missing: Sequence[str]) -> str:
    return f"missing {', '.join(missing)}: pip install 'speaq_hf[{name}]'" if missing else "installed"


def _weights(weights: Mapping[str, Any] | None) -> str:
    if weights is None:
        return "none in safetensors"
    types = ", ".join(f"{number:,} {name}" for name, number in weights["values_by_type"].items())
    return f"{weights['bytes'] / 1e6:,.1f} MB in {weights['files']} file{'s'[: weights['files'] != 1]}: {types}"


def _model_rows(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    layers = f"width {model['width']}, {model['encoder_layers']} encoder, {model['decoder_layers']} decoder layers"
    return [
        ("variant", model["variant"]),
        ("parameters", f"{model['parameters']:,}, of which training changes {model['trainable_parameters']:,}"),
        ("backbone", model["backbone"]),
        ("transformer", layers),
        ("queries", f"{model['object_queries']} for objects, {model['relation_queries']} for relations"),
        ("objects", _examples(model["objects"])),
        ("predicates", _examples(model["predicates"])),
        ("images", model["images"] or "no image processor"),
    ]


def _metric_rows(metrics: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    rows = []
    for metric in metrics:
        source = f" ({metric['source']})" if metric["source"] else ""
        rows.append((metric["name"], f"{metric['value']} on {metric['data']}, {metric['split']}{source}"))
    return rows


def _examples(names: Sequence[str]) -> str:
    return f"{len(names)}: {', '.join(names[:_NUM_EXAMPLES])}{', …' if len(names) > _NUM_EXAMPLES else ''}"


def _milliseconds(timing: Timing) -> str:
    return f"{1e3 * timing.median:.1f} [{1e3 * timing.low:.1f}, {1e3 * timing.high:.1f}]"


def _gigabytes(number: int | None) -> str:
    return "unknown" if number is None else f"{number / 1e9:.2f} GB"
