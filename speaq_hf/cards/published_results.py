# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What the papers report for their models. None of these numbers was measured with this package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedResults:
    """The numbers of a paper.

    Args:
        model: What the paper calls its model.
        paper: Its address.
        setting: Of several that the paper reports, the one whose numbers these are.
        recipe: How it was trained, lines of a table.
        recalls: Metric -> values at K = 20, 50 and 100, in percent: SGDet on the test split of VG150.
    """

    model: str
    paper: str
    setting: str | None
    recipe: tuple[tuple[str, str], ...]
    recalls: dict[str, tuple[float, float, float]]


SPEAQ_PAPER, ISG_PAPER = "https://arxiv.org/abs/2403.17709", "https://arxiv.org/abs/2207.13440"
_COMMON_RECIPE = (
    ("data", "Visual Genome in the split VG150"),
    ("start", "a DETR detector trained on the same objects"),
    ("optimizer", "AdamW, learning rate 0.0001, of the backbone × 0.1, weight decay 0.0001"),
    ("gradient norm", "at most 0.01"),
    ("number format", "mixed precision"),
)
PUBLISHED_KS = (20, 50, 100)
PUBLISHED: dict[str, PublishedResults] = {
    "speaq": PublishedResults(
        "SpeaQ",
        SPEAQ_PAPER,
        None,
        (*_COMMON_RECIPE, ("steps", "150,000, learning rate × 0.1 at 96,000"), ("images per step", "20")),
        {
            "R": (25.08, 32.06, 35.54),
            "ng-R": (23.62, 30.78, 34.82),
            "zR": (1.23, 3.04, 4.63),
            "mR": (10.11, 15.08, 17.60),
        },
    ),
    "iterative_sgg": PublishedResults(
        "Iterative SGG",
        ISG_PAPER,
        "predicate weights with α = 0.07 and β = 0.75",
        (*_COMMON_RECIPE, ("steps", "250,000, learning rate × 0.1 at 160,000"), ("images per step", "12 to 32")),
        {
            "R": (21.79, 27.12, 29.72),
            "ng-R": (22.72, 30.52, 35.47),
            "zR": (1.34, 2.74, 3.84),
            "mR": (11.15, 15.61, 17.70),
        },
    ),
}
