# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Numbers of a model card: what was measured, what a paper reports, and both as the Hub's `model-index`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from ..checkpoints.training_record import public_name
from .published_results import PUBLISHED_KS, PublishedResults


_METRICS = ("R", "ng-R", "mR", "zR", "F")
_MODE_NAMES = {"sgdet": "SGDet", "sgcls": "SGCls", "predcls": "PredCls"}
_TASK = "object-detection"  # the Hub knows no scene graphs


@dataclass(frozen=True)
class MeasuredResults:
    """Recall of a model on a data set, under one protocol or several.

    Args:
        data: Name of the data set.
        split: Its part; None if the file does not say.
        mode: "sgdet", "sgcls" or "predcls".
        is_oracle: Whether the mode was reached by matching predicted objects with annotated ones.
        iou_threshold: Lowest overlap of boxes that agree.
        num_images: Images that count.
        ks: Predictions looked at.
        protocols: Name -> metric -> share in [0, 1]; undefined ones are None.
        fingerprints: Name -> fingerprint of the protocol's rules.
    """

    data: str
    split: str | None
    mode: str
    is_oracle: bool
    iou_threshold: float
    num_images: int
    ks: tuple[int, ...]
    protocols: dict[str, dict[str, float | None]]
    fingerprints: dict[str, str]

    @property
    def title(self) -> str:
        """For the heading of a table."""
        oracle = ", objects matched with the annotated ones (oracle)" if self.is_oracle else ""
        split = "" if self.split is None else f", split {self.split}"
        return f"{self.data}{split}: {_MODE_NAMES[self.mode]}{oracle}, {self.num_images:,} images, IoU {self.iou_threshold:g}"


def read_results(path: str | os.PathLike) -> MeasuredResults:
    """Read what `training/evaluate.py` or, for one file of predictions, `speaq evaluate --output` has written.

    Raises:
        OSError: It cannot be read.
        ValueError: It is something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    if isinstance(content, dict) and "predictions" in content:
        if len(content["predictions"]) != 1:
            raise ValueError(
                f"{path} compares {len(content['predictions'])} files; a card needs the numbers of one model"
            )
        content = content["predictions"][0] | {"data": content["ground_truth"], "split": None, "oracle": False}
    try:
        return _from_report(content)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path} holds no evaluation ({type(error).__name__}: {error}); give what training/evaluate.py or speaq evaluate "
            "--output has written"
        ) from error


def validation_results(values: Mapping[str, Any], data: str) -> MeasuredResults:
    """What training has measured on its validation split.

    Args:
        values: From `SceneGraphRecall.compute`.
        data: Name of the data set.
    """
    ks = sorted(int(name.partition("@")[2]) for name in values if name.startswith("R@"))
    name = values["protocol"]
    fingerprints = {name: values["protocol_fingerprint"]}
    return MeasuredResults(
        data, "val", "sgdet", False, 0.5, values["num_images"], tuple(ks), {name: dict(values)}, fingerprints
    )


def result_rows(values: Mapping[str, float | None], ks: Sequence[int]) -> list[tuple[str, list[str]]]:
    """The lines of a table in percent: metric, and its value at each K; metrics without any value are left out."""
    rows = [(metric, [values.get(f"{metric}@{k}") for k in ks]) for metric in _METRICS]
    return [(metric, [_percent(value) for value in row]) for metric, row in rows if any(map(_is_number, row))]


def to_eval_results(results: MeasuredResults) -> list[EvalResult]:
    """Every defined number, in percent, with its protocol."""
    return [
        EvalResult(
            **_task(results.mode),
            dataset_type=results.data,
            dataset_name=results.data,
            dataset_config=results.mode + "-oracle" * results.is_oracle,
            dataset_split=results.split,
            metric_type=name,
            metric_name=f"{name}, protocol {protocol}",
            metric_value=round(100 * values[name], 2),
            metric_config=protocol,
            metric_args={"rules": results.fingerprints[protocol], "iou_threshold": results.iou_threshold,
                         "num_images": results.num_images},
        )
        for protocol, values in results.protocols.items()
        for name in _names(results.ks)
        if _is_number(values.get(name))
    ]  # fmt: skip


def published_eval_results(published: PublishedResults) -> list[EvalResult]:
    """The numbers of a paper, with the paper as their source."""
    return [
        EvalResult(
            **_task("sgdet"),
            dataset_type="visual_genome",
            dataset_name="Visual Genome (VG150)",
            dataset_config="VG150",
            dataset_split="test",
            metric_type=f"{metric}@{k}",
            metric_name=f"{metric}@{k}, as published",
            metric_value=value,
            source_name=f"Reported by the authors of {published.model}, not measured with these files",
            source_url=published.paper,
        )
        for metric, values in published.recalls.items()
        for k, value in zip(PUBLISHED_KS, values, strict=True)
    ]


def _from_report(content: Mapping[str, Any]) -> MeasuredResults:
    protocols = content["protocols"]
    return MeasuredResults(
        data=public_name(content["data"]),
        split=content["split"],
        mode=content["mode"],
        is_oracle=content["oracle"],
        iou_threshold=content["iou_threshold"],
        num_images=next(iter(protocols.values()))["metrics"]["num_images"],
        ks=tuple(content["ks"]),
        protocols={name: dict(protocol["metrics"]) for name, protocol in protocols.items()},
        fingerprints={name: protocol["fingerprint"] for name, protocol in protocols.items()},
    )


def _task(mode: str) -> dict[str, str]:
    return {"task_type": _TASK, "task_name": f"Scene graph generation ({_MODE_NAMES[mode]})"}


def _names(ks: Iterable[int]) -> list[str]:
    ks = list(ks)
    return [f"{metric}@{k}" for metric in _METRICS for k in ks]


def _percent(value: Any) -> str:
    return f"{100 * value:.2f}" if _is_number(value) else "–"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
