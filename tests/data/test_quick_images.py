"""Quick reading draws what exact reading draws; sizes and labels are equal, pixels nearly."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from speaq_hf.data import SceneGraphAugmentation
from speaq_hf.data.compact_batches import CompactTransform, planes
from speaq_hf.data.images import UnreadableImageError
from speaq_hf.data.quick_images import QuickImage, QuickReader
from speaq_hf.image_reading import read_reduced_image
from tests.data.factories import row


SMALL = SceneGraphAugmentation(
    short_edges=(20, 24, 28), longest_edge=48, crop_short_edges=(24, 30), crop_sides=(12, 24)
)
SCENE = {"boxes": [[2, 3, 20, 25], [10, 0, 39, 14], [30, 20, 38, 29]], "labels": [0, 1, 2], "relations": [[0, 1, 0]]}


def smooth(width, height, seed=0):
    """Soft shapes, without the edges that look different in a smaller JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, kind="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return {"path": None, "bytes": buffer.getvalue()}


def both(columns, augmentation=SMALL, seed=0):
    batch = {name: [value] for name, value in columns.items()}
    reader = QuickReader(max(*augmentation.short_edges, *augmentation.crop_short_edges))
    transforms = (CompactTransform(augmentation, seed), CompactTransform(augmentation, seed, reader))
    return [{name: values[0] for name, values in transform(batch).items()} for transform in transforms]


def assert_same_labels(exact, quick):
    assert exact["pixels"].shape == quick["pixels"].shape and quick["pixels"].is_contiguous()
    assert exact["labels"].keys() == quick["labels"].keys()
    for name, value in exact["labels"].items():
        np.testing.assert_array_equal(quick["labels"][name], value)


def difference(exact, quick):
    return (exact["pixels"].int() - quick["pixels"].int()).abs().float()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 59), st.integers(1, 59), st.integers(0, 999))
def test_small_images_are_equal_but_for_rounding(width, height, seed):
    exact, quick = both(row(0, (width, height), **SCENE) | {"image": encoded(smooth(width, height))}, seed=seed)
    assert_same_labels(exact, quick)
    assert difference(exact, quick).max() <= 2 and quick["labels"]["orig_size"].tolist() == [height, width]


@settings(max_examples=15, deadline=None)
@given(st.integers(60, 500), st.integers(60, 500), st.integers(0, 999))
def test_large_jpegs_are_reduced_without_changing_sizes_or_boxes(width, height, seed):
    scene = SCENE | {"boxes": [[2, 3, width - 20, height - 25], [10, 0, 39, 14], [30, 20, 38, 29]]}
    exact, quick = both(row(0, (width, height), **scene) | {"image": encoded(smooth(width, height))}, seed=seed)
    assert_same_labels(exact, quick)
    assert difference(exact, quick).mean() < 4 and quick["labels"]["orig_size"].tolist() == [height, width]


@pytest.mark.parametrize("orientation", range(1, 10))  # the last means nothing
def test_a_turned_photo_is_upright(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exact, quick = both(row(0, (200, 121), **SCENE) | {"image": encoded(smooth(200, 121), exif=exif)})
    assert_same_labels(exact, quick)
    assert difference(exact, quick).mean() < 4


@pytest.mark.parametrize(
    ("size", "expected"),
    [((400, 300), (100, 75)), ((404, 302), (202, 151)), ((299, 150), (299, 150)), ((60, 75), (60, 75))],
)
def test_the_short_edge_is_kept(size, expected):
    image, full = read_reduced_image(encoded(smooth(*size)), shortest_edge=75)
    assert (image.size, full, image.mode) == (expected, size, "RGB")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "pillow"])
def test_other_formats_stay_whole(kind):
    image = smooth(90, 50)
    image, full = read_reduced_image(image if kind == "pillow" else encoded(image, kind), shortest_edge=10)
    assert image.size == full == (90, 50)


def test_a_turned_tiff_has_one_size():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image, full = read_reduced_image(encoded(smooth(90, 50), "TIFF", exif=exif), shortest_edge=10)
    assert image.size == full == (50, 90)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_printed_photos(mode):
    exact, quick = both(row(0, (200, 121), **SCENE) | {"image": encoded(smooth(200, 121).convert(mode))})
    assert_same_labels(exact, quick)
    assert difference(exact, quick).mean() < 4


def test_unreadable_images_are_named():
    with pytest.raises(UnreadableImageError, match=r"image 7 .stored in the dataset. cannot be read"):
        QuickReader(20)({"image": {"path": None, "bytes": b"404"}, "image_id": 7})


def test_a_reduced_image_is_cut_at_its_full_size():
    quick = QuickImage(torch.arange(48, dtype=torch.uint8).reshape(4, 4, 3), (8, 8))
    assert planes(quick).shape == (3, 8, 8)
    assert planes(quick.crop((2, 0, 7, 3))).equal(planes(quick)[:, 0:3, 2:7])
    assert planes(quick.transpose(Image.Transpose.FLIP_LEFT_RIGHT)).equal(planes(quick).flip(2))


def test_other_changes_are_refused():
    image = QuickImage(torch.zeros(2, 2, 3, dtype=torch.uint8), (2, 2))
    with pytest.raises(ValueError, match="FLIP_LEFT_RIGHT"):
        image.transpose(Image.Transpose.ROTATE_90)
    with pytest.raises(ValueError, match="BILINEAR"):
        image.resize((3, 3), Image.Resampling.NEAREST)
