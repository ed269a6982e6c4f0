# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The world of generated sets unless another one is asked for."""

from __future__ import annotations

from .affordances import AFFORDANCES, GROUPS
from .worlds import World


_LIVING = dict.fromkeys((*GROUPS["person"], *GROUPS["pet"]), 1.0)
_OUTDOORS = {**_LIVING, "horse": 2.0, "elephant": 1.6, "bike": 1.6, "car": 1.6, "tree": 2.2, "house": 0.8, "bench": 1.6,
             "box": 0.8, "table": 0.6, "chair": 0.4, "bag": 0.2, "hat": 0.2}  # fmt: skip

EVERYDAY = World(
    name="everyday",
    affordances=AFFORDANCES,
    resting=GROUPS["pet"],
    walking=(*GROUPS["person"], *GROUPS["mount"]),
    settings={
        "room": {**_LIVING, "table": 3.0, "chair": 2.0, "bed": 4.0, "box": 1.4, "lamp": 0.4, "bag": 0.2},
        "grass": _OUTDOORS,
        "snow": {**_OUTDOORS, "elephant": 0.0},
        "beach": {**_OUTDOORS, "boat": 7.0, "car": 0.4, "bike": 0.6},
        "street": {**_OUTDOORS, "bike": 3.0, "car": 2.5, "boat": 0.0, "house": 0.0, "table": 0.0, "chair": 0.0,
                   "bench": 0.0, "tree": 0.0},
    },
    setting_shares={"room": 0.32, "grass": 0.24, "snow": 0.1, "beach": 0.16, "street": 0.18},
    carried=("hat", "cup", "bag", "box", "umbrella", "flag", "kite", "lamp", "bird", "plane"),
    outdoors=("kite", "plane", "flag"),
    ranking=("near", "in front of", "behind", "on", "above", "wearing", "walking on", "standing on", "riding", "holding",
             "sitting on", "carrying", "under", "in", "laying on", "hanging from", "parked on"),
)  # fmt: skip
