"""Random scene graph sets, and what must be the same when they were written and read."""

import hypothesis.strategies as st
import numpy as np
from datasets import Dataset, Image
from hypothesis import HealthCheck, Phase, settings
from numpy.testing import assert_array_equal

from speaq_hf.data import object_names, predicate_names
from tests.data.factories import dataset, row


# Sets are small already: shrinking a failure would take minutes.
SOME = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
FEW = settings(SOME, max_examples=3)

_names = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), min_size=1, max_size=4, unique=True
)
# Below the smallest pixel fractions the differences x2 - x1 of huge boxes would be rounded.
_coordinates = st.floats(-64, 5000, width=32).map(lambda value: value if abs(value) > 1e-3 else 0.0)


@st.composite
def _boxes(draw):
    (x1, x2), (y1, y2) = (sorted(draw(st.tuples(_coordinates, _coordinates))) for _ in range(2))
    return draw(st.sampled_from([[x1, y1, x2, y2], [x1, y1, x1 + 1, y1 + 1]]))


@st.composite
def scene_graph_sets(draw) -> dict[str, Dataset]:
    """Splits with images of 1 to 9 pixels, which may lack objects or relations and may repeat relations."""
    objects, predicates = draw(_names), draw(_names)
    splits = draw(st.sets(st.sampled_from(["train", "validation", "test", "extra_1"]), min_size=1, max_size=3))
    ids = iter(draw(st.lists(st.integers(-(2**53), 2**53), min_size=9, max_size=9, unique=True)))
    rows = {
        split: [_row(draw, next(ids), objects, predicates) for _ in range(draw(st.integers(1, 3)))] for split in splits
    }
    return {split: dataset(rows[split], objects, predicates) for split in sorted(rows)}


def _row(draw, image_id, objects, predicates):
    boxes = draw(st.lists(_boxes(), max_size=3))
    labels = [draw(st.integers(0, len(objects) - 1)) for _ in boxes]
    index = st.integers(0, max(len(boxes) - 1, 0))
    triplets = st.lists(st.tuples(index, index, st.integers(0, len(predicates) - 1)), max_size=4)
    relations = draw(triplets) if boxes else []
    example = row(abs(image_id) % 2**32, (draw(st.integers(1, 9)), draw(st.integers(1, 9))), boxes, labels, relations)
    return example | {"image_id": image_id}


def assert_same_sets(actual: dict[str, Dataset], expected: dict[str, Dataset]) -> None:
    """Splits, features with vocabularies, rows to the last bit, and image files to the last byte."""
    assert sorted(actual) == sorted(expected)
    for split, wanted in expected.items():
        found = actual[split]
        assert found.features == wanted.features
        assert (object_names(found), predicate_names(found)) == (object_names(wanted), predicate_names(wanted))
        for a, b in zip(
            found.cast_column("image", Image(decode=False)),
            wanted.cast_column("image", Image(decode=False)),
            strict=True,
        ):
            assert _content(a.pop("image")) == _content(b.pop("image"))
            for box_a, box_b in zip(a["objects"].pop("bbox"), b["objects"].pop("bbox"), strict=True):
                assert_array_equal(np.float32(box_a).view(np.int32), np.float32(box_b).view(np.int32))
            assert a == b


def _content(image: dict) -> bytes:
    if image["bytes"] is not None:
        return image["bytes"]
    with open(image["path"], "rb") as file:
        return file.read()
