"""Annotation noise: the chances asked for, valid boxes, training images only."""

import json

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaq_hf.data.annotation_noise import AnnotationNoise
from speaq_hf.data.generator import generate_synthetic_genome


RELATIONS = np.column_stack([np.arange(20_000), np.arange(20_000) + 1, np.arange(20_000) % 50])
NOISE = AnnotationNoise(missing_relations=0.3, duplicate_relations=0.2, box_jitter=0.1)


def rng(seed=0):
    return np.random.default_rng(seed)


# Relations ------------------------------------------------------------------------------------------------------------


def test_relations_are_left_out_and_repeated_at_the_asked_rates():
    noisy = NOISE.noisy_relations(rng(), RELATIONS)
    rows, counts = np.unique(noisy, axis=0, return_counts=True)
    assert set(map(tuple, rows.tolist())) <= set(map(tuple, RELATIONS.tolist()))
    assert len(rows) / len(RELATIONS) == pytest.approx(0.7, abs=0.02)
    assert set(counts.tolist()) == {1, 2}
    assert (counts == 2).mean() == pytest.approx(0.2, abs=0.02)


def test_the_extremes_are_certain():
    assert len(AnnotationNoise(missing_relations=1.0).noisy_relations(rng(), RELATIONS)) == 0
    assert len(AnnotationNoise(duplicate_relations=1.0).noisy_relations(rng(), RELATIONS)) == 2 * len(RELATIONS)
    assert np.array_equal(AnnotationNoise().noisy_relations(rng(), RELATIONS), RELATIONS)
    assert NOISE.noisy_relations(rng(), RELATIONS[:0]).shape == (0, 3)


# Boxes ----------------------------------------------------------------------------------------------------------------


def test_every_edge_moves_by_the_asked_share_of_the_side():
    boxes = np.tile([400, 450, 600, 500], (5000, 1))
    moves = AnnotationNoise(box_jitter=0.1).noisy_boxes(rng(), boxes, 1000, 1000) - boxes
    assert moves.std(axis=0) == pytest.approx([20, 5, 20, 5], rel=0.06)
    assert np.abs(moves.mean(axis=0)).max() < 1


@given(
    st.integers(2, 60), st.integers(2, 60), st.floats(0, 0.5), st.integers(0, 2**32), st.lists(st.floats(0, 1), min_size=4, max_size=4)
)  # fmt: skip
def test_any_noisy_box_is_valid(width, height, jitter, seed, corners):
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    left, top = int(x1 * (width - 2)), int(y1 * (height - 2))
    right, bottom = max(left + 2, int(x2 * width)), max(top + 2, int(y2 * height))
    boxes = np.array([[left, top, right, bottom]])
    noisy = AnnotationNoise(box_jitter=jitter).noisy_boxes(rng(seed), boxes, width, height)
    assert noisy.dtype == boxes.dtype
    assert (noisy[:, :2] >= 0).all() and (noisy[:, 2:] <= [width, height]).all()
    assert (noisy[:, 2:] - noisy[:, :2] >= 2).all()
    if jitter == 0:
        assert np.array_equal(noisy, boxes)


# Sets -----------------------------------------------------------------------------------------------------------------


def annotations(root, noise=None):
    """Boxes, predicates and split flag of every image of a set."""
    options = {"image_size": 64, "split_shares": (0.5, 0.25, 0.25), "num_workers": 1}
    generate_synthetic_genome(root, 40, noise=noise, **options)
    rows = []
    with h5py.File(root / "synthetic-SGG-with-attri.h5") as file:
        arrays = {name: file[name][()] for name in file}
    for image, flag in enumerate(arrays["split"].tolist()):
        spans = (slice(arrays[f"img_to_first_{kind}"][image], arrays[f"img_to_last_{kind}"][image] + 1) for kind in ("box", "rel"))  # fmt: skip
        boxes, relations = spans
        rows.append((arrays["boxes_1024"][boxes].tolist(), arrays["predicates"][relations].ravel().tolist(), flag))
    return rows


def pictures(root):
    return {path.name: path.read_bytes() for path in (root / "synthetic_images").iterdir()}


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    root = tmp_path_factory.mktemp("clean")
    return annotations(root), pictures(root)


def test_only_training_images_are_annotated_carelessly(tmp_path, clean):
    noisy = annotations(tmp_path, NOISE)
    changed = [one != other for one, other in zip(clean[0], noisy, strict=True)]
    flags = np.array([flag for *_, flag in noisy])
    assert np.mean(np.array(changed)[flags == 0]) > 0.9
    assert not np.array(changed)[flags != 0].any()
    assert pictures(tmp_path) == clean[1]


def test_noise_can_go_to_other_splits(tmp_path, clean):
    noisy = annotations(tmp_path, AnnotationNoise(missing_relations=1.0, splits=("val", "test")))
    assert all(not predicates for _, predicates, flag in noisy if flag)
    assert [row for row in noisy if row[2] == 0] == [row for row in clean[0] if row[2] == 0]


def test_noise_hangs_on_the_seed_and_is_recorded(tmp_path):
    assert annotations(tmp_path / "one", NOISE) == annotations(tmp_path / "two", NOISE)
    recorded = json.loads((tmp_path / "one" / "synthetic-SGG-dicts-with-attri.json").read_text())["generator"]["noise"]
    assert recorded == {
        "missing_relations": 0.3,
        "duplicate_relations": 0.2,
        "box_jitter": 0.1,
        "splits": ["train"],
    }


@pytest.mark.parametrize(
    "field",
    [
        {"missing_relations": -0.1},
        {"missing_relations": float("nan")},
        {"duplicate_relations": 1.1},
        {"box_jitter": 0.6},
        {"splits": ("training",)},
        {"splits": "train"},
    ],
)
def test_impossible_noise_is_refused(field):
    with pytest.raises(ValueError, match=next(iter(field))):
        AnnotationNoise(**field)
