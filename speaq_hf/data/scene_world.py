# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""SceneWorld: a benchmark anyone can draw again, of generated scenes in two domains, fixed by a version.

A version fixes everything that a set depends on. What a released version draws never changes; an improvement is a new
version under a new name.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .domains import DOMAINS
from .generator import generate_synthetic_genome
from .scene_world_v1 import SCENE_WORLD_V1
from .scenes import SceneComplexity
from .triplet_distribution import TripletDistribution


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SceneWorld:
    """What a version fixes, for each domain.

    Attributes:
        world: Name of the world.
        split_sizes: Images of the train, val and test split.
        image_size: Width and height in pixels.
        seed: Of everything that is drawn.
        complexity: How crowded the scenes are.
        distribution: Long tail and held-out triplets.
    """

    world: str
    split_sizes: tuple[int, int, int]
    image_size: int
    seed: int
    complexity: SceneComplexity
    distribution: TripletDistribution

    @property
    def num_images(self) -> int:
        """Images of all splits of one domain."""
        return sum(self.split_sizes)

    @property
    def split_shares(self) -> tuple[float, ...]:
        """Shares of the splits."""
        return tuple(size / self.num_images for size in self.split_sizes)


SCENE_WORLDS: dict[str, SceneWorld] = {
    SCENE_WORLD_V1.name: SceneWorld(
        world=SCENE_WORLD_V1.name,
        split_sizes=(20_000, 1_000, 1_000),
        image_size=256,
        seed=1,
        complexity=SceneComplexity(
            min_objects=4,
            max_objects=10,
            min_relations=3,
            max_relations=12,
            empty_share=0.0,
            usual_boost=2.3,
            min_zoom=0.8,
            max_zoom=1.05,
            crowding=0.85,
        ),
        distribution=TripletDistribution(predicate_zipf=None, held_out_share=0.14),
    )
}


def generate_scene_world(
    root: str | os.PathLike,
    version: str = SCENE_WORLD_V1.name,
    *,
    domains: Sequence[str] = tuple(DOMAINS),
    num_images: int | None = None,
    num_workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> dict[str, Path]:
    """Draws a version of SceneWorld: one set for each domain, in the folder below `root` that has the domain's name.

    Both domains have the same classes with the same numbers, the vocabulary lists only those, and share no scene. 20,000
    images of each are for training, 1,000 for validation and 1,000 for testing; `load_scene_graphs` reads them.

    Args:
        root: Folder of the sets; made if missing.
        version: Which benchmark, a key of `SCENE_WORLDS`.
        domains: The domains to draw.
        num_images: Draw only the first so many images of each domain, for a trial: the splits, which are interleaved, then
            shrink alike. Default all.
        num_workers: Processes; default one per available core.
        overwrite: Replace finished sets.
        progress: Show progress bars.

    Returns:
        The folder of each domain's set.

    Raises:
        ValueError: If the version, a domain or the number of images is unknown.
        FileExistsError: If a set exists and may not be replaced.
    """
    if version not in SCENE_WORLDS:
        raise ValueError(f"version: expected one of {sorted(SCENE_WORLDS)}, got {version!r}.")
    preset = SCENE_WORLDS[version]
    if num_images is not None and not 1 <= num_images <= preset.num_images:
        raise ValueError(f"num_images: expected 1 to {preset.num_images:,} ({version} has no more), got {num_images}.")
    unknown = sorted(set(domains) - DOMAINS.keys())
    if isinstance(domains, str) or unknown:
        raise ValueError(f"domains: expected a sequence of {sorted(DOMAINS)}, got {domains!r}.")
    return {
        domain: generate_synthetic_genome(
            Path(root) / domain,
            num_images or preset.num_images,
            preset.seed,
            image_size=preset.image_size,
            split_shares=preset.split_shares,
            domain=domain,
            complexity=preset.complexity,
            distribution=preset.distribution,
            world=preset.world,
            own_vocabulary=True,
            num_workers=num_workers,
            overwrite=overwrite,
            progress=progress,
        )
        for domain in domains
    }
