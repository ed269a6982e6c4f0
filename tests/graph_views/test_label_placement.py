import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speaq_hf.graph_views.label_placement import gaps, place_labels


FRAME = (0.0, 0.0, 400.0, 300.0)


def overlap(areas):
    low = np.maximum(areas[:, None, :2], areas[None, :, :2])
    high = np.minimum(areas[:, None, 2:], areas[None, :, 2:])
    shared = (high - low).clip(min=0).prod(axis=-1)
    return shared[~np.eye(len(areas), dtype=bool)].max(initial=0)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(0, 40), crowding=st.sampled_from([400.0, 50.0, 1.0]), seed=st.integers(0, 10**6))
def test_labels_stay_apart_and_inside_however_crowded_the_boxes_are(count, crowding, seed):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, crowding, (count, 2)).clip(max=[390, 290])
    boxes = np.concatenate([low, low + rng.uniform(0, 150, (count, 2))], axis=1)
    sizes = np.column_stack([rng.uniform(20, 70, count), np.full(count, 14.0)])
    areas = place_labels(boxes, sizes, FRAME)
    assert np.allclose(areas[:, 2:] - areas[:, :2], sizes)
    assert (areas[:, :2] >= 0).all() and (areas[:, 2:] <= np.array([400, 300]) + 1e-9).all()
    assert overlap(areas) < 1e-5
    assert np.array_equal(areas, place_labels(boxes, sizes, FRAME))


def test_the_corner_is_best_inside_large_boxes_and_above_small_ones():
    boxes = np.array([[100, 100, 200, 200], [300, 100, 340, 120]])
    areas = place_labels(boxes, np.array([[40, 14], [40, 14]]), FRAME)
    assert areas.tolist() == [[100, 100, 140, 114], [300, 86, 340, 100]]


def test_the_smallest_box_chooses_first():
    boxes = np.array([[100, 86, 300, 250], [100, 100, 120, 110]])
    areas = place_labels(boxes, np.array([[40, 14], [40, 14]]), FRAME)
    assert areas.tolist() == [[260, 86, 300, 100], [100, 86, 140, 100]]


def test_the_nearest_free_place_is_taken_when_the_box_is_full():
    boxes = np.tile([100.0, 100.0, 140.0, 114.0], (9, 1))
    areas = place_labels(boxes, np.tile([40.0, 14.0], (9, 1)), FRAME)
    distances = gaps(areas, boxes[0])
    assert overlap(areas) < 1e-5
    assert (distances == 0).sum() >= 5 and distances.max() < 30


def test_a_full_frame_is_covered_as_little_as_possible():
    areas = place_labels(np.zeros((5, 4)), np.full((5, 2), 10.0), (0, 0, 20, 20))
    assert len({tuple(area) for area in areas.tolist()}) == 4


def test_gaps():
    areas = np.array([[0, 0, 10, 10], [10, 0, 20, 10], [23, 14, 30, 20], [5, 5, 6, 6]])
    assert gaps(areas, np.array([0, 0, 20, 10])).tolist() == pytest.approx([0, 0, 5, 0])
