# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The rules in which evaluations of scene graphs differ, written out, with a name for each set of rules."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EvaluationProtocol:
    """One set of rules. `dataclasses.replace(PROTOCOLS["strict"], name="mine", ...)` makes your own.

    Args:
        name: Name it is chosen by; results carry it.
        box_matching: "overlap": a predicted object agrees with every annotated one of its class that it overlaps
            enough. "best": only with the one of its class that it overlaps most.
        box_offset: Pixels added to the width and height of boxes and of their intersection, 0 or 1.
        rank_by_score: Predictions that come with `relation_scores` are sorted by them (stable); otherwise the order in
            which they are given is the ranking.
        merge_identical_objects: Predicted objects with equal class and equal box are one object.
        merge_identical_predictions: A (subject, object, predicate) row that occurs before is dropped.
        one_predicate_per_pair: Under graph constraint, only the first row of a (subject, object) pair competes. Otherwise
            every row does, so that two queries may give a pair two predicates.
        no_graph_constraint_limit: How many (pair, predicate) combinations compete without graph constraint; None for
            as many as the largest K.
        merge_identical_annotations: An annotated row that occurs twice is one.
        skip_images_without_predictions: Leave such images out of every average; otherwise they count as 0.
        absent_predicates_count_as_zero: In mR@K, a predicate that no image has counts as 0; otherwise it is left out.

    Raises:
        ValueError: A rule is out of range or unknown.
    """

    name: str
    box_matching: Literal["overlap", "best"] = "overlap"
    box_offset: int = 0
    rank_by_score: bool = False
    merge_identical_objects: bool = False
    merge_identical_predictions: bool = False
    one_predicate_per_pair: bool = False
    no_graph_constraint_limit: int | None = 100
    merge_identical_annotations: bool = False
    skip_images_without_predictions: bool = True
    absent_predicates_count_as_zero: bool = True

    def __post_init__(self) -> None:
        if self.box_matching not in ("overlap", "best"):
            raise ValueError(f"box_matching must be 'overlap' or 'best', got {self.box_matching!r}.")
        for field in dataclasses.fields(self):  # "no" would be true, and 1 a rule with another fingerprint than True
            value = getattr(self, field.name)
            if isinstance(field.default, bool) and type(value) is not bool:
                raise ValueError(f"{field.name} must be True or False, got {value!r}.")
        if type(self.box_offset) is not int or self.box_offset not in (0, 1):
            raise ValueError(f"box_offset must be 0 or 1 pixel, got {self.box_offset!r}.")
        limit = self.no_graph_constraint_limit
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ValueError(f"no_graph_constraint_limit must be an integer of at least 1 or None, got {limit!r}.")

    @property
    def rules(self) -> dict[str, str | int | bool | None]:
        """The rules by field, without the name."""
        return {field: value for field, value in dataclasses.asdict(self).items() if field != "name"}

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits that change with every rule, and not with the name."""
        return hashlib.sha256(json.dumps(self.rules, sort_keys=True).encode()).hexdigest()[:8]


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        # Published with SpeaQ (Kim et al., CVPR 2024); its defaults are those of the class.
        EvaluationProtocol("speaq"),
        # Ours: nothing can be won by repeating a prediction or by keeping silent. Boxes that differ a little are different
        # objects: suppressing those is the detector's work.
        EvaluationProtocol(
            "strict",
            rank_by_score=True,
            merge_identical_objects=True,
            merge_identical_predictions=True,
            one_predicate_per_pair=True,
            no_graph_constraint_limit=None,
            merge_identical_annotations=True,
            skip_images_without_predictions=False,
            absent_predicates_count_as_zero=False,
        ),
        # Scene-Graph-Benchmark (Tang et al., CVPR 2020), from which most code bases descend.
        EvaluationProtocol("sgb", box_offset=1, one_predicate_per_pair=True),
        # SGBench (Lorenz et al., 2024): first every box finds its annotated object, then triplets are compared.
        # As its functions compute it. Its file reader also leaves images that are missing from the prediction file out of mR
        # (not of R), and gives nan for mR when a predicate has no annotation; here such images count as 0 in both, and
        # such predicates are left out.
        EvaluationProtocol(
            "sgbench",
            box_matching="best",
            merge_identical_predictions=True,
            no_graph_constraint_limit=None,
            merge_identical_annotations=True,
            skip_images_without_predictions=False,
            absent_predicates_count_as_zero=False,
        ),
    )
}


def resolve_protocol(protocol: str | EvaluationProtocol) -> EvaluationProtocol:
    """The protocol with a name, or the protocol itself.

    Raises:
        ValueError: There is no protocol of this name.
    """
    if isinstance(protocol, EvaluationProtocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise ValueError(
            f"protocol must be one of {sorted(PROTOCOLS)} or an EvaluationProtocol of your own, got {protocol!r}."
        )
    return PROTOCOLS[protocol]
