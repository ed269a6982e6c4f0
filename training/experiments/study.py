# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What a study compares: arms that differ in a few options, the detectors they start from, and how often each is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Detector:
    """A detector that arms start from.

    Attributes:
        name: Of the detector; its runs' folder.
        options: Options of `training/pretrain_detector.py`.
        set: Those that differ, by dotted name.
    """

    name: str
    options: Path
    set: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """A way to train.

    Attributes:
        name: Of the arm; its runs' folder.
        title: For tables and plots.
        set: Options of `training/train.py` that differ from the study's, by dotted name.
        detector: The detector that it starts from; None: random weights.
        seeds: One run each.
    """

    name: str
    title: str
    set: dict[str, Any]
    detector: str | None
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Study:
    """Arms that are compared.

    Attributes:
        name: Of the study.
        options: Options of `training/train.py` that the arms share.
        detectors: By name.
        arms: By name, in their order in tables.
        comparisons: Pairs of arms, the first of which is expected to be better; paired by seed.
    """

    name: str
    options: Path
    detectors: dict[str, Detector]
    arms: dict[str, Arm]
    comparisons: list[tuple[str, str]]

    @classmethod
    def read(cls, path: Path) -> Study:
        """Read a YAML file, beside which the files of options lie.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It lacks something, has something unknown, or names arms and detectors that are not in it.
        """
        content = _read_mapping(path)
        _check_names(path, content, {"options", "arms"}, {"detectors", "detector", "comparisons"})
        if not isinstance(content["arms"], dict) or not content["arms"]:
            raise ValueError(f"{path}: arms must be a mapping of at least one, got {content['arms']!r}.")
        detectors = {
            name: _read_detector(path, name, entry) for name, entry in (content.get("detectors") or {}).items()
        }
        arms = {name: _read_arm(path, name, entry, content.get("detector")) for name, entry in content["arms"].items()}
        study = cls(
            path.stem,
            path.parent / content["options"],
            detectors,
            arms,
            [tuple(pair) for pair in content.get("comparisons") or []],
        )
        study._check(path)
        return study

    def _check(self, path: Path) -> None:
        for arm in self.arms.values():
            if arm.detector is not None and arm.detector not in self.detectors:
                raise ValueError(
                    f"{path}: arm {arm.name} starts from detector {arm.detector!r}, which is not in the file."
                )
        for pair in self.comparisons:
            if len(pair) != 2 or not set(pair) <= set(self.arms):
                raise ValueError(f"{path}: a comparison must be two of {', '.join(self.arms)}; got {list(pair)}.")
        for options in (self.options, *(detector.options for detector in self.detectors.values())):
            if not options.is_file():
                raise FileNotFoundError(f"{path} names {options}, which does not exist.")

    def selected(self, names: list[str] | None, seeds: list[int] | None) -> list[tuple[Arm, int]]:
        """Arms and seeds to run, all when not told otherwise.

        Raises:
            ValueError: An arm is unknown.
        """
        unknown = set(names or []) - set(self.arms)
        if unknown:
            raise ValueError(f"no arm {', '.join(sorted(unknown))}; there are {', '.join(self.arms)}.")
        return [
            (arm, seed)
            for arm in self.arms.values()
            for seed in arm.seeds
            if (names is None or arm.name in names) and (seeds is None or seed in seeds)
        ]


def _read_detector(path: Path, name: str, entry: Any) -> Detector:
    _check_names(f"{path}: detector {name}", entry, {"options"}, {"set"})
    return Detector(name, path.parent / entry["options"], entry.get("set") or {})


def _read_arm(path: Path, name: str, entry: Any, detector: str | None) -> Arm:
    _check_names(f"{path}: arm {name}", entry, {"title", "seeds"}, {"set", "detector"})
    seeds = entry["seeds"]
    if not isinstance(seeds, list) or not seeds or any(type(seed) is not int for seed in seeds):
        raise ValueError(f"{path}: arm {name}: seeds must be a list of integers, got {seeds!r}.")
    return Arm(name, entry["title"], entry.get("set") or {}, entry.get("detector", detector), tuple(seeds))


def _read_mapping(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no study {path}; see training/experiments for examples.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a YAML file: {error}") from error
    return content


def _check_names(place: Any, content: Any, required: set[str], optional: set[str]) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"{place}: expected a mapping, got {type(content).__name__}.")
    missing, unknown = required - content.keys(), content.keys() - required - optional
    if missing or unknown:
        known = ", ".join(sorted(required | optional))
        raise ValueError(
            f"{place}: "
            + "; ".join(
                [f"{name} is missing" for name in sorted(missing)]
                + [f"{name} is unknown, expected {known}" for name in sorted(map(str, unknown))]
            )
        )
