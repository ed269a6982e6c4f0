# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Synthetic scene graph data sets in Visual Genome's file formats (VG150)."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from tqdm.auto import tqdm

from ..complete_files import complete_file
from ..models.speaq.vg150 import VG150_OBJECTS, VG150_PREDICATES
from ..text_files import write_text
from .annotation_noise import SPLITS, AnnotationNoise
from .domains import DOMAINS, FIRST_IMAGE_ID, MAX_IMAGES, GenomeFiles
from .everyday_world import EVERYDAY
from .scene_objects import Scene
from .scene_world_v1 import SCENE_WORLD_V1
from .scenes import SceneComplexity, compose_scene
from .shapes import OBJECT_CLASSES
from .split_marking import mark_validation_flag
from .triplet_distribution import TripletDistribution
from .worlds import World


logger = logging.getLogger(__name__)

GENERATOR_NAME = "speaq_hf synthetic genome"
ATTRIBUTES = {"stand": "standing", "walk": "walking", "sit": "sitting", "ride": "riding", "lie": "laying",
              "fly": "flying", "hang": "hanging"}  # fmt: skip
MAX_ATTRIBUTES = 10
TEST_FLAG = SPLITS.index("test")
MIN_IMAGES_PER_WORKER = 500  # fewer take less time than starting a process

WORLDS: dict[str, World] = {world.name: world for world in (EVERYDAY, SCENE_WORLD_V1)}

_ATTRIBUTE_INDEX = {name: index for index, name in enumerate(ATTRIBUTES.values(), start=1)}


@dataclass(frozen=True)
class _Recipe:
    """All that an image depends on, besides its index."""

    seed: int
    width: int
    height: int
    domain: str
    complexity: SceneComplexity
    distribution: TripletDistribution
    predicate_weights: dict[str, float]
    noise: AnnotationNoise
    world: str
    own_vocabulary: bool

    @property
    def objects(self) -> dict[str, int]:
        """1-based index of each object class."""
        names = WORLDS[self.world].objects if self.own_vocabulary else VG150_OBJECTS
        return {name: index for index, name in enumerate(names, start=1)}

    @property
    def predicates(self) -> dict[str, int]:
        """1-based index of each predicate."""
        names = WORLDS[self.world].predicates if self.own_vocabulary else VG150_PREDICATES
        return {name: index for index, name in enumerate(names, start=1)}


@dataclass(frozen=True)
class _Annotation:
    """One image's rows of the HDF5 file; classes are 1-based."""

    boxes: np.ndarray  # (n, 4) x1, y1, x2, y2 in pixels
    labels: np.ndarray  # (n,)
    attributes: np.ndarray  # (n, MAX_ATTRIBUTES), 0-padded
    relations: np.ndarray  # (r, 3) subject, object, predicate


def generate_synthetic_genome(
    root: str | os.PathLike,
    num_images: int,
    seed: int = 0,
    *,
    image_size: int | tuple[int, int] = 256,
    split_shares: Sequence[float] = (0.8, 0.1, 0.1),
    domain: str = "synthetic",
    complexity: SceneComplexity | None = None,
    distribution: TripletDistribution | None = None,
    noise: AnnotationNoise | None = None,
    world: str = EVERYDAY.name,
    own_vocabulary: bool = False,
    images: str | None = None,
    annotations: str | None = None,
    categories: str | None = None,
    image_data: str | None = None,
    num_workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Draws pictures of synthetic scenes and writes them as a data set in Visual Genome's files.

    There are two domains: "synthetic", flat renders under the file names of published synthetic sets, which
    `load_synthetic_genome` reads, and "real", pictures with the traces of light and camera under Visual Genome's file
    names, which `load_visual_genome(..., num_validation_images=None)` reads. (Its default instead takes the first 5000
    images flagged 0 as validation split, as is usual for Visual Genome, whose file flags none 1.) Sets of the two domains
    share no scene and no image id, even with one seed, and each has its own distribution of triplets.

    Image i depends on `seed`, i, its split and what describes the set, not on `num_images` or `num_workers`. Test
    images, and only they, contain the triplets that `distribution` holds out. The HDF5 file is written last: a folder
    without it holds an unfinished set, which the next call with the same file names replaces.

    Args:
        root: Folder of the set; made if missing. It may hold generated sets, one per domain, and nothing else.
        num_images: How many images, 1 to 10,000,000.
        seed: Any integer >= 0.
        image_size: Pixels of a square picture, or (height, width); each in 32..1024.
        split_shares: Shares of the train, val and test split; they sum to 1. Splits are interleaved.
        domain: "synthetic" or "real".
        complexity: How crowded the scenes are; default `SceneComplexity()`.
        distribution: Long tail of the predicates and held-out triplets; default `TripletDistribution()`.
        noise: Mistakes of the annotation; default none.
        world: Which classes there are and how they meet: "everyday" or "scene-world-v1".
        own_vocabulary: Whether the set's vocabulary lists only the classes of its world; default those of VG150.
        images: Folder of the JPEGs, `<image_id>.jpg`, below `root`; default the domain's own name, here and below.
        annotations: HDF5 file name.
        categories: JSON file name of the vocabularies, how often each name occurs, and how the set was made.
        image_data: JSON file name of the image sizes.
        num_workers: Processes; default one per available core, 1 draws in this process. They are spawned: a script
            that uses several needs `if __name__ == "__main__":`.
        overwrite: Replace a finished set that this function wrote under the same names.
        progress: Show a progress bar.

    Returns:
        `root` as a path.

    Raises:
        ValueError: If an argument is out of range.
        FileExistsError: If files of these names exist and may not be replaced, or the folder holds other files.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    _check_arguments(num_images, seed, (height, width), split_shares, domain, world, num_workers)
    names = {"images": images, "annotations": annotations, "categories": categories, "image_data": image_data}
    files = replace(DOMAINS[domain].files, **{key: name for key, name in names.items() if name is not None})
    complexity, distribution = complexity or SceneComplexity(), distribution or TripletDistribution()
    root = Path(root)
    _prepare_folder(root, files, overwrite)
    weights = distribution.predicate_weights(complexity, WORLDS[world])
    recipe = _Recipe(
        seed,
        width,
        height,
        domain,
        complexity,
        distribution,
        weights,
        noise or AnnotationNoise(),
        world,
        own_vocabulary,
    )
    splits = assign_splits(num_images, split_shares)
    rows = _draw_all(root / files.images, recipe, splits, num_workers)
    rows = list(tqdm(rows, total=num_images, desc="Drawing scenes", unit="image", disable=not progress))
    categories = {**_vocabularies(rows, recipe), "generator": _provenance(recipe, num_images)}
    write_text(root / files.categories, json.dumps(categories))
    write_text(root / files.image_data, json.dumps(_image_sizes(recipe, files, num_images)))
    _write_annotations(root / files.annotations, rows, splits, max(width, height))
    _marker(root, files).unlink()
    logger.info("Wrote %d images to %s.", num_images, root)
    return root


# ---------------------------------------------------------------------------------------------------------------------
# Arguments and folders
# ---------------------------------------------------------------------------------------------------------------------


def _check_arguments(
    num_images: int,
    seed: int,
    size: tuple[int, int],
    split_shares: Sequence[float],
    domain: str,
    world: str,
    num_workers: int | None,
) -> None:
    if not 1 <= num_images <= MAX_IMAGES:
        raise ValueError(f"num_images: expected 1 to {MAX_IMAGES:,}, got {num_images}.")
    if seed < 0:
        raise ValueError(f"seed: expected an integer >= 0, got {seed}.")
    if not all(32 <= side <= 1024 for side in size) or max(size) > 3 * min(size):
        raise ValueError(f"image_size: expected sides of 32 to 1024 pixels, at most 3:1, got {size} (height, width).")
    shares = list(split_shares)
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"split_shares: expected three shares >= 0 (train, val, test) that sum to 1, got {shares}.")
    if domain not in DOMAINS:
        raise ValueError(f"domain: expected one of {sorted(DOMAINS)}, got {domain!r}.")
    if world not in WORLDS:
        raise ValueError(f"world: expected one of {sorted(WORLDS)}, got {world!r}.")
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers: expected at least 1 (or None for one per core), got {num_workers}.")


def _marker(root: Path, files: GenomeFiles) -> Path:
    """File that exists while a set is being written: what lies there then is ours and unfinished."""
    return root / f"{files.images}.unfinished"


def _is_ours(root: Path, files: GenomeFiles) -> bool:
    if _marker(root, files).exists():
        return True
    try:
        content = json.loads((root / files.categories).read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, json.JSONDecodeError):
        return False
    return isinstance(content, dict) and content.get("generator", {}).get("name") == GENERATOR_NAME


def _foreign_files(root: Path, files: GenomeFiles) -> list[str]:
    """What a folder holds beside this set and finished sets of ours."""
    if not root.is_dir():
        return []
    sets = [files, *(domain.files for domain in DOMAINS.values() if _is_ours(root, domain.files))]
    own = {".DS_Store"} | {
        Path(name).parts[0] for names in sets for name in (*asdict(names).values(), _marker(root, names).name)
    }
    names = [name for name in sorted(os.listdir(root)) if name.removesuffix(".tmp") not in own]
    pictures = [path for names in sets for path in (root / names.images).glob("*")]
    return names + sorted(f"{path.parent.name}/{path.name}" for path in pictures if not _is_image_name(path.name))


def _is_image_name(name: str) -> bool:
    stem, suffix = os.path.splitext(name)
    return stem.isdecimal() and suffix == ".jpg"


def _prepare_folder(root: Path, files: GenomeFiles, overwrite: bool) -> None:
    """Makes the folder ready for a new set; removes an older one of ours if that is allowed."""
    image_folder = root / files.images
    if root.exists() and not root.is_dir():
        raise FileExistsError(f"root: expected a folder, but {root} is a file.")
    single = [root / name for name in (files.annotations, files.image_data, files.categories)]
    occupied = [path for path in (*single, *image_folder.glob("*")) if path.exists()]
    if occupied and not _is_ours(root, files):
        raise FileExistsError(
            f"{occupied[0]} exists and was not written by this generator; choose another root or other file names."
        )
    if occupied and not overwrite and not _marker(root, files).exists():
        raise FileExistsError(f"{root} already holds a generated set; pass overwrite=True to replace it.")
    foreign = _foreign_files(root, files)
    if foreign:
        raise FileExistsError(
            f"{root} holds {', '.join(foreign[:3])}{' …' if len(foreign) > 3 else ''}, which this generator did not write; "
            "choose an empty or new folder."
        )
    image_folder.mkdir(parents=True, exist_ok=True)
    _marker(root, files).touch()
    for path in single:
        path.unlink(missing_ok=True)
    for path in image_folder.glob("*.jpg"):
        path.unlink()


# ---------------------------------------------------------------------------------------------------------------------
# Images
# ---------------------------------------------------------------------------------------------------------------------


def assign_splits(num_images: int, shares: Sequence[float]) -> np.ndarray:
    """Split flag of every image: each image goes to the split that lags farthest behind its share.

    The first n entries do not depend on `num_images`, and every prefix has the shares to within one image.

    Args:
        num_images: Length of the result.
        shares: Shares of train, val and test.

    Returns:
        (num_images,) int32 of 0, 1 (val) and 2 (test).
    """
    deficits, flags = np.zeros(len(shares)), np.empty(num_images, np.int32)
    for index in range(num_images):
        deficits += shares
        # Rounding: sums of shares must not decide between splits that are level.
        flags[index] = int(np.argmax(np.round(deficits, 9)))
        deficits[flags[index]] -= 1
    return flags


def _draw_image(folder: Path, recipe: _Recipe, task: tuple[int, int]) -> _Annotation:
    """Draws image `task[0]` for the split of flag `task[1]` and writes its JPEG."""
    index, split = task
    domain = DOMAINS[recipe.domain]
    image_id = domain.first_image_id + index
    # The domains draw from one seed at different places: no scene occurs in both.
    sequence = np.random.SeedSequence(recipe.seed, spawn_key=(image_id - FIRST_IMAGE_ID,))
    scene_rng, picture_rng, noise_rng = (np.random.default_rng(child) for child in sequence.spawn(3))
    scene = _compose(scene_rng, recipe, split)
    image, boxes = domain.render(picture_rng, scene, recipe.width, recipe.height)
    least, greatest = domain.jpeg_quality
    image.save(folder / f"{image_id}.jpg", quality=int(picture_rng.integers(least, greatest + 1)))
    annotation = _annotation(scene, boxes, recipe)
    return _with_noise(noise_rng, annotation, recipe) if SPLITS[split] in recipe.noise.splits else annotation


def _compose(rng: np.random.Generator, recipe: _Recipe, split: int) -> Scene:
    side, world = min(recipe.width, recipe.height), WORLDS[recipe.world]
    forbidden = frozenset() if split == TEST_FLAG else recipe.distribution.held_out(world)
    size = recipe.width / side, recipe.height / side
    return compose_scene(rng, *size, recipe.complexity, forbidden, recipe.predicate_weights, world)


def _annotation(scene: Scene, boxes: np.ndarray, recipe: _Recipe) -> _Annotation:
    objects, predicates = recipe.objects, recipe.predicates
    labels = np.array([objects[thing.label] for thing in scene.objects], np.int64)
    relations = [(subject, object_, predicates[name]) for subject, object_, name in scene.relations]
    return _Annotation(boxes, labels, _attribute_rows(scene), np.array(relations, np.int64).reshape(-1, 3))


def _with_noise(rng: np.random.Generator, annotation: _Annotation, recipe: _Recipe) -> _Annotation:
    relations = recipe.noise.noisy_relations(rng, annotation.relations)
    boxes = recipe.noise.noisy_boxes(rng, annotation.boxes, recipe.width, recipe.height)
    return replace(annotation, boxes=boxes, relations=relations)


def _attribute_rows(scene: Scene) -> np.ndarray:
    attributes = np.zeros((len(scene.objects), MAX_ATTRIBUTES), np.int64)
    for row, thing in enumerate(scene.objects):
        if OBJECT_CLASSES[thing.label].has_poses and thing.pose.body in ATTRIBUTES:
            attributes[row, 0] = _ATTRIBUTE_INDEX[ATTRIBUTES[thing.pose.body]]
    return attributes


def _draw_all(folder: Path, recipe: _Recipe, splits: np.ndarray, num_workers: int | None) -> Iterator[_Annotation]:
    """Draws all images, in order."""
    tasks = list(enumerate(splits.tolist()))
    draw = partial(_draw_image, folder, recipe)
    workers = min(num_workers or _available_cores(), -(-len(tasks) // MIN_IMAGES_PER_WORKER))
    if workers == 1:
        yield from map(draw, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(draw, tasks, chunksize=16)


def _available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------


def _scaled_boxes(boxes: np.ndarray, long_side: int, target: int) -> np.ndarray:
    """Pixel corners as integer (cx, cy, w, h) of the image scaled so that its long side is `target`.

    Readers take x1 = trunc(cx - w / 2) and x2 = x1 + w, so the centre is rounded up: then no corner moves.
    """
    corners = np.rint(boxes * (target / long_side)).astype(np.int64)
    sizes = np.maximum(corners[:, 2:] - corners[:, :2], 1)
    return np.concatenate([corners[:, :2] + (sizes + 1) // 2, sizes], axis=1).astype(np.int32)


def _first_and_last(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inclusive row ranges of consecutive groups; -1 for empty ones."""
    last = np.cumsum(counts) - 1
    first = last - counts + 1
    return np.where(counts > 0, first, -1).astype(np.int32), np.where(counts > 0, last, -1).astype(np.int32)


def _annotation_arrays(rows: list[_Annotation], splits: np.ndarray, long_side: int) -> dict[str, np.ndarray]:
    """The arrays of the HDF5 file, with the types of the original."""
    box_counts = np.array([len(row.labels) for row in rows])
    relation_counts = np.array([len(row.relations) for row in rows])
    boxes, relations = np.concatenate([row.boxes for row in rows]), np.concatenate([row.relations for row in rows])
    offsets = np.repeat(np.cumsum(box_counts) - box_counts, relation_counts)
    relationships = (relations[:, :2] + offsets[:, None]).astype(np.int32)
    active = np.zeros((len(boxes), 1), bool)
    active[relationships.ravel()] = True
    first_box, last_box = _first_and_last(box_counts)
    first_relation, last_relation = _first_and_last(relation_counts)
    return {
        "active_object_mask": active,
        "attributes": np.concatenate([row.attributes for row in rows]),
        "boxes_1024": _scaled_boxes(boxes, long_side, 1024),
        "boxes_512": _scaled_boxes(boxes, long_side, 512),
        "img_to_first_box": first_box,
        "img_to_first_rel": first_relation,
        "img_to_last_box": last_box,
        "img_to_last_rel": last_relation,
        "labels": np.concatenate([row.labels for row in rows])[:, None],
        "predicates": relations[:, 2:].copy(),
        "relationships": relationships,
        "split": splits.astype(np.int32),
    }


def _write_annotations(path: Path, rows: list[_Annotation], splits: np.ndarray, long_side: int) -> None:
    with complete_file(path) as unfinished, h5py.File(unfinished, "w") as file:
        mark_validation_flag(file)
        for name, array in _annotation_arrays(rows, splits, long_side).items():
            file.create_dataset(name, data=array)


def _vocabularies(rows: list[_Annotation], recipe: _Recipe) -> dict[str, dict]:
    """Names, 1-based indices (as strings where they are keys) and how often each name occurs in the set."""
    columns = {
        "label": (recipe.objects, "object_count", [row.labels for row in rows]),
        "predicate": (recipe.predicates, "predicate_count", [row.relations[:, 2] for row in rows]),
        "attribute": (_ATTRIBUTE_INDEX, "attribute_count", [row.attributes.ravel() for row in rows]),
    }
    content = {}
    for kind, (index_of, count_name, values) in columns.items():
        counts = Counter(np.concatenate(values).tolist())
        content[f"{kind}_to_idx"] = index_of
        content[f"idx_to_{kind}"] = {str(index): name for name, index in index_of.items()}
        content[count_name] = {name: counts[index] for name, index in index_of.items()}
    return content


def _provenance(recipe: _Recipe, num_images: int) -> dict:
    return {"name": GENERATOR_NAME, "num_images": num_images, **asdict(recipe)}


def _image_sizes(recipe: _Recipe, files: GenomeFiles, num_images: int) -> list[dict]:
    first_image_id = DOMAINS[recipe.domain].first_image_id
    return [
        {
            "image_id": image_id,
            "width": recipe.width,
            "height": recipe.height,
            "coco_id": None,
            "flickr_id": None,
            "url": f"{files.images}/{image_id}.jpg",
        }
        for image_id in range(first_image_id, first_image_id + num_images)
    ]
