"""Compact batches, expanded, are what transform and collator give: on any image, with and without readers."""

import io
import pickle

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from torch.utils.data import DataLoader

from speaq_hf.data import SceneGraphAugmentation, SceneGraphCollator, SceneGraphTransform
from speaq_hf.data.compact_batches import BatchExpansion, CompactCollator, CompactTransform
from speaq_hf.data.images import undecoded
from speaq_hf.models.speaq.image_processing_speaq import SpeaQImageProcessorPil
from tests.data.factories import dataset, row


TINY = SceneGraphAugmentation(
    short_edges=(20, 24, 28), longest_edge=48, crop_short_edges=(24, 30), crop_sides=(12, 24)
)
BOXES = {"boxes": [[2, 3, 20, 25], [10, 0, 39, 14], [30, 20, 38, 29]], "labels": [0, 1, 2]}
RELATIONS = [[0, 1, 0], [0, 1, 1], [1, 2, 0], [2, 0, 1]]


def encoded(image, kind="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return {"image": {"path": None, "bytes": buffer.getvalue()}}


def turned():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return encoded(row(3, (30, 40))["image"], exif=exif)


ROWS = [
    row(0, relations=RELATIONS, **BOXES),
    row(1, (1, 1)),
    row(2, (1, 40), boxes=[[0, 0, 1, 40]], labels=[1]),
    row(3, (40, 30), relations=RELATIONS, **BOXES) | turned(),
    row(4, relations=RELATIONS, **BOXES) | encoded(row(4)["image"].convert("L")),
    row(5, relations=RELATIONS, **BOXES) | encoded(row(5)["image"].convert("P"), "PNG"),
    row(6, **BOXES) | encoded(row(6)["image"]),
]


def rows(**columns):
    table = dataset(ROWS)
    for name, values in columns.items():
        table = table.add_column(name, values)
    return undecoded(table)


def plain(processor, table, epoch=0, augmentation=TINY):
    transform = SceneGraphTransform(processor, augmentation, seed=3)
    transform.set_epoch(epoch)
    return SceneGraphCollator(processor)(table.with_transform(transform).__getitems__(range(len(table))))


def compact(processor, table, epoch=0, augmentation=TINY):
    transform = CompactTransform(augmentation, seed=3)
    transform.set_epoch(epoch)
    examples = table.with_transform(transform).__getitems__(range(len(table)))
    return BatchExpansion(processor)(pickle.loads(pickle.dumps(CompactCollator(processor)(examples))))


def assert_same(batch, expected):
    assert batch.keys() == expected.keys()
    for name in ("pixel_values", "pixel_mask"):
        assert batch[name].dtype == expected[name].dtype and torch.equal(batch[name], expected[name])
        assert batch[name].is_contiguous()
    for label, other in zip(batch["labels"], expected["labels"], strict=True):
        assert label.keys() == other.keys()
        for name, value in other.items():
            if name == "source":
                assert label[name] == value
            else:
                assert label[name].dtype == value.dtype and torch.equal(label[name], value)


PROCESSORS = {
    "default": {},
    "fixed padding": {"pad_size": {"height": 50, "width": 52}},
    "without normalising": {"do_normalize": False},
    "without rescaling": {"do_rescale": False},
    "other colours": {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7], "rescale_factor": 1 / 127.5},
}


@pytest.mark.parametrize("settings", PROCESSORS.values(), ids=PROCESSORS)
def test_expanded_batches_equal_the_collators(settings):
    processor = SpeaQImageProcessorPil(**settings)
    mixed = rows(source=["real", "synthetic", None] * 2 + ["real"], loss_weight=[1.0, 0.5] * 3 + [0.0])
    for epoch in range(4):
        assert_same(compact(processor, mixed, epoch), plain(processor, mixed, epoch))
    assert_same(compact(processor, rows()), plain(processor, rows()))


def test_images_without_objects_alone():
    processor = SpeaQImageProcessorPil()
    table = rows().select([1])
    batch = compact(processor, table)
    assert_same(batch, plain(processor, table))
    assert batch["labels"][0]["boxes"].shape == (0, 4) and batch["labels"][0]["relations"].shape == (0, 3)


def test_padding_is_exactly_zero():
    batch = compact(SpeaQImageProcessorPil(), rows())
    outside = batch["pixel_mask"][:, None].expand_as(batch["pixel_values"]) == 0
    assert outside.any() and (batch["pixel_values"][outside] == 0).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_readers_give_the_same(workers):
    processor = SpeaQImageProcessorPil()
    table = rows()
    loader = DataLoader(
        table.with_transform(CompactTransform(TINY, seed=3)),
        batch_size=len(table),
        collate_fn=CompactCollator(processor),
        num_workers=workers,
    )
    (batch,) = map(BatchExpansion(processor), loader)
    assert_same(batch, plain(processor, table))


def test_a_compact_batch_is_small():
    processor = SpeaQImageProcessorPil()
    fixed = SceneGraphAugmentation(short_edges=(90,), longest_edge=120, crop_probability=0.0)
    table = rows().select([0, 4, 6])
    examples = table.with_transform(CompactTransform(fixed)).__getitems__(range(3))
    batch = CompactCollator(processor)(examples)["compact"]
    assert batch.pixels.dtype == torch.uint8
    tensors = [value for value in batch if isinstance(value, torch.Tensor)]
    assert len(tensors) == 6
    whole = plain(processor, table, augmentation=fixed)
    expanded = sum(whole[name].nbytes for name in ("pixel_values", "pixel_mask"))
    assert sum(tensor.nbytes for tensor in tensors) < 0.17 * expanded


def test_what_else_a_batch_holds_is_passed_on():
    processor = SpeaQImageProcessorPil()
    examples = rows().with_transform(CompactTransform(TINY)).__getitems__([0])
    batch = BatchExpansion(processor)(CompactCollator(processor)(examples) | {"num_unreadable": 2})
    assert batch["num_unreadable"] == 2 and "compact" not in batch


def test_an_image_larger_than_the_padding():
    processor = SpeaQImageProcessorPil(pad_size={"height": 8, "width": 6})
    examples = rows().with_transform(CompactTransform(TINY)).__getitems__([0])
    with pytest.raises(ValueError, match="`pad_size` 8x6 is smaller than the largest image"):
        CompactCollator(processor)(examples)


def test_faulty_annotations_are_named():
    table = dataset([row(0, boxes=[[0, 0, np.nan, 4]], labels=[1])])
    with pytest.raises(ValueError, match=r"annotations\[0\]"):
        undecoded(table).with_transform(CompactTransform(SceneGraphAugmentation(crop_probability=0.0)))[0]
