import copy
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file
from torch.utils.data import DataLoader

from speaq_hf.data import SceneGraphAugmentation, SceneGraphExample, SceneGraphTransform, load_visual_genome
from speaq_hf.data.augmentation import OnePredicatePerPair, RandomCrop, RandomHorizontalFlip, RandomShortestEdge
from speaq_hf.data.collator import SceneGraphCollator
from speaq_hf.models.speaq.image_processing_speaq import SpeaQImageProcessorPil
from tests.data.factories import dataset, row
from tests.helpers import REFERENCE


TINY = SceneGraphAugmentation(
    short_edges=(20, 24, 28), longest_edge=48, crop_short_edges=(24, 30), crop_sides=(12, 24)
)
SCENE = {"boxes": [[2, 3, 20, 25], [10, 0, 39, 14], [30, 20, 38, 29]], "labels": [0, 1, 2]}
RELATIONS = [[0, 1, 0], [0, 1, 1], [1, 2, 0], [2, 0, 1]]


@st.composite
def examples(draw):
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    count = draw(st.integers(0, 6))
    corner = st.tuples(st.floats(0, 1), st.floats(0, 1))
    points = np.array(draw(st.lists(st.tuples(corner, corner), min_size=count, max_size=count))).reshape(count, 2, 2)
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1) * ([width, height] * 2)
    index = st.integers(0, max(count - 1, 0))
    relations = draw(st.lists(st.tuples(index, index, st.integers(0, 3)), max_size=10)) if count else []
    # Labels number the objects, so that an object is recognised wherever it ends up.
    return SceneGraphExample(
        Image.new("RGB", (width, height)), boxes, np.arange(count), np.array(relations, np.int64).reshape(-1, 3)
    )


def objects_and_predicates(example):
    """The relations as (subject's label, object's label, predicate), which no renumbering changes."""
    return [(example.labels[s], example.labels[o], p) for s, o, p in example.relations.tolist()]


def generator(seed=0):
    return np.random.default_rng(seed)


@settings(deadline=None)
@given(examples())
def test_two_flips_are_none(example):
    flip = RandomHorizontalFlip(probability=1.0)
    once = flip(example, generator())
    twice = flip(once, generator())
    np.testing.assert_allclose(twice.boxes, example.boxes, atol=1e-9)
    assert (once.boxes[:, 2] >= once.boxes[:, 0]).all()
    np.testing.assert_array_equal(once.relations, example.relations)


def test_flip_moves_pixels_and_boxes_together():
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[1:3, 0:2] = 255
    example = SceneGraphExample(
        Image.fromarray(pixels), np.array([[0.0, 1, 2, 3]]), np.array([0]), np.zeros((0, 3), np.int64)
    )
    flipped = RandomHorizontalFlip(probability=1.0)(example, generator())
    x1, y1, x2, y2 = flipped.boxes[0].astype(int)
    assert (np.asarray(flipped.image)[y1:y2, x1:x2] == 255).all()
    assert RandomHorizontalFlip(probability=0.0)(example, generator()) is example


@settings(deadline=None)
@given(examples(), st.integers(1, 30), st.integers(0, 20), st.integers(0, 9))
def test_crop_keeps_relations_between_the_same_objects(example, shortest, extra, seed):
    cropped = RandomCrop(shortest, shortest + extra)(example, generator(seed))
    for before, after in zip(example.image.size, cropped.image.size, strict=True):
        assert min(shortest, before) <= after <= min(shortest + extra, before)
    sides = cropped.boxes[:, 2:] - cropped.boxes[:, :2]
    assert (sides > 0).all()
    assert (cropped.boxes >= 0).all() and (cropped.boxes <= np.tile(cropped.image.size, 2)).all()
    alive = set(cropped.labels)
    survivors = [row for row in objects_and_predicates(example) if row[0] in alive and row[1] in alive]
    assert objects_and_predicates(cropped) == survivors


def test_crop_shows_the_same_pixels():
    example = SceneGraphExample(
        row(size=(40, 30))["image"], np.array([[12.0, 11, 20, 19]]), np.array([0]), np.zeros((0, 3), np.int64)
    )
    for seed in range(20):
        cropped = RandomCrop(25, 28)(example, generator(seed))
        x1, y1, x2, y2 = cropped.boxes[0].astype(int)
        if (x2 - x1, y2 - y1) == (8, 8):
            np.testing.assert_array_equal(
                np.asarray(cropped.image)[y1:y2, x1:x2], np.asarray(example.image)[11:19, 12:20]
            )
            break
    else:
        pytest.fail("no crop held the whole box")


def test_crop_window_covers_its_whole_range():
    example = SceneGraphExample(Image.new("RGB", (40, 30)), np.zeros((0, 4)), np.zeros(0, int), np.zeros((0, 3), int))
    crop = RandomCrop(28, 32)
    sizes = [crop(example, generator(seed)).image.size for seed in range(200)]
    assert {width for width, _ in sizes} == {28, 29, 30, 31, 32}
    assert {height for _, height in sizes} == {28, 29, 30}  # the image is no higher


def test_crop_window_reaches_every_edge():
    whole = np.array([[0.0, 0, 5, 4]])
    example = SceneGraphExample(row(size=(5, 4))["image"], whole, np.zeros(1, int), np.zeros((0, 3), int))
    pixels = np.asarray(example.image)
    windows = {RandomCrop(3, 3)(example, generator(seed)).image.tobytes() for seed in range(200)}
    assert windows == {pixels[y : y + 3, x : x + 3].tobytes() for x in range(3) for y in range(2)}


@settings(deadline=None)
@given(examples(), st.integers(0, 9))
def test_one_predicate_is_left_of_each_pair(example, seed):
    kept = OnePredicatePerPair()(example, generator(seed)).relations.tolist()
    pairs = [tuple(relation[:2]) for relation in kept]
    assert sorted(pairs) == sorted({tuple(relation[:2]) for relation in example.relations.tolist()})
    assert all(relation in example.relations.tolist() for relation in kept)


def test_every_predicate_of_a_pair_gets_its_turn():
    example = SceneGraphExample(
        Image.new("RGB", (4, 4)), np.zeros((2, 4)), np.zeros(2, int), np.array([[0, 1, 0], [0, 1, 1], [0, 1, 2]])
    )
    drawn = [OnePredicatePerPair()(example, generator(seed)).relations[0, 2] for seed in range(300)]
    assert (np.bincount(drawn, minlength=3) > 70).all()


def test_resize_scales_boxes_by_the_rounded_size():
    example = SceneGraphExample(
        Image.new("RGB", (8, 6)), np.array([[0.0, 0, 8, 6], [4, 3, 8, 6]]), np.arange(2), np.zeros((0, 3), int)
    )
    resized = RandomShortestEdge((800,), 1333)(example, generator())
    assert resized.image.size == (1067, 800)  # half up, as Detectron2
    np.testing.assert_allclose(resized.boxes, [[0, 0, 1067, 800], [533.5, 400, 1067, 800]])
    assert RandomShortestEdge((6,))(example, generator()) is example


@settings(max_examples=60, deadline=None)
@given(examples(), st.integers(0, 99))
def test_whole_augmentation_is_consistent_on_any_image(example, seed):
    result = TINY(example, generator(seed))
    assert max(result.image.size) <= 48
    assert min(result.image.size) in (20, 24, 28) or max(result.image.size) == 48
    assert set(objects_and_predicates(result)) <= set(objects_and_predicates(example))
    assert len(result.boxes) == len(result.labels)
    assert (result.relations[:, :2] < max(len(result.boxes), 1)).all()


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"short_edges": ()}, "short_edges"),
        ({"crop_short_edges": (0,)}, "crop_short_edges"),
        ({"crop_sides": (9, 8)}, "crop_sides"),
        ({"crop_sides": (9,)}, "crop_sides"),
        ({"longest_edge": 0}, "longest_edge"),
        ({"flip_probability": 1.5}, "flip_probability"),
        ({"crop_probability": float("nan")}, "crop_probability"),
    ],
)
def test_impossible_settings(settings_, message):
    with pytest.raises(ValueError, match=message):
        SceneGraphAugmentation(**settings_)


def test_published_defaults():
    augmentation = SceneGraphAugmentation()
    assert augmentation.short_edges == (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    assert augmentation.crop_short_edges == (400, 500, 600)
    assert augmentation.crop_sides == (384, 600)
    assert augmentation.longest_edge == 1333


# The transform --------------------------------------------------------------------------------------------------------


def tiny_processor(**kwargs):
    return SpeaQImageProcessorPil(size={"shortest_edge": 24, "longest_edge": 48}, **kwargs)


def corners_in_pixels(label):
    height, width = label["size"].tolist()
    center, size = label["boxes"].double()[:, :2], label["boxes"].double()[:, 2:]
    return torch.cat([center - size / 2, center + size / 2], dim=1).numpy() * [width, height, width, height]


def test_evaluation_equals_the_published_mapper():
    expected = load_file(REFERENCE / "vg" / "mapper_test_mode.safetensors")
    info = json.loads((REFERENCE / "vg" / "expected_records.json").read_text())["mapper_test_mode"]
    processor = SpeaQImageProcessorPil(size={"shortest_edge": info["min_size"], "longest_edge": info["max_size"]})
    transform = SceneGraphTransform(processor)
    splits = {
        split: load_visual_genome(REFERENCE / "vg", split, images="images", num_validation_images=5)
        for split in ("train", "test")
    }
    for entry in info["images"]:
        rows = splits[entry["split"]]
        index = rows["image_id"][:].index(entry["image_id"])
        example = rows.with_transform(transform)[index]
        label, prefix = example["labels"], str(entry["index"])
        assert label["orig_size"].tolist() == [entry["output_height"], entry["output_width"]]
        assert label["size"].tolist() == entry["resized_hw"] == list(example["pixel_values"].shape[1:])
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (processor.image_mean, processor.image_std))
        image = (example["pixel_values"] * std + mean) * 255
        np.testing.assert_allclose(image.numpy(), expected[f"{prefix}/image"].astype(np.float32), atol=1.01)
        np.testing.assert_allclose(corners_in_pixels(label), expected[f"{prefix}/gt_boxes"], atol=1e-3)
        np.testing.assert_array_equal(label["class_labels"], expected[f"{prefix}/gt_classes"])
        np.testing.assert_array_equal(label["relations"], expected[f"{prefix}/relations"])


def test_labels_are_complete():
    plain = dataset([row(7, relations=RELATIONS, **SCENE)])
    label = plain.with_transform(SceneGraphTransform(tiny_processor()))[0]["labels"]
    assert label["class_labels"].tolist() == [0, 1, 2] and label["class_labels"].dtype == torch.int64
    assert label["boxes"].dtype == torch.float32
    assert label["relations"].tolist() == RELATIONS
    assert label["image_id"].tolist() == [7]
    assert label["loss_weight"] == 1 and "source" not in label
    mixed = plain.add_column("source", ["synthetic"]).add_column("loss_weight", [0.5])
    label = mixed.with_transform(SceneGraphTransform(tiny_processor(), TINY))[0]["labels"]
    assert label["loss_weight"] == 0.5 and label["source"] == "synthetic"
    assert label["orig_size"].tolist() == [30, 40]  # of the file, not of the crop


@pytest.mark.parametrize("augmentation", [None, TINY])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 30)])
def test_images_without_objects_or_relations(augmentation, size):
    rows = dataset([row(0, size), row(1, size, boxes=[[0, 0, *size]], labels=[1])])
    first, second = rows.with_transform(SceneGraphTransform(tiny_processor(), augmentation)).__getitems__([0, 1])
    assert first["labels"]["boxes"].shape == (0, 4)
    assert first["labels"]["class_labels"].shape == (0,)
    assert first["labels"]["relations"].shape == second["labels"]["relations"].shape == (0, 3)
    assert second["labels"]["boxes"].shape == (1, 4)
    assert torch.isfinite(first["pixel_values"]).all()


def test_grayscale_and_transparent_images():
    images = [Image.new(mode, (40, 30)) for mode in ("L", "RGBA", "P")]
    rows = dataset([row(index) | {"image": image} for index, image in enumerate(images)])
    for example in rows.with_transform(SceneGraphTransform(tiny_processor(), TINY)):
        assert example["pixel_values"].shape[0] == 3


def scenes(count=6):
    return dataset([row(index, relations=RELATIONS, **SCENE) for index in range(count)])


def same(a, b):
    return (
        a["pixel_values"].shape == b["pixel_values"].shape
        and torch.equal(a["pixel_values"], b["pixel_values"])
        and all(torch.equal(a["labels"][key], b["labels"][key]) for key in ("boxes", "class_labels", "relations"))
    )


def test_augmentation_of_an_image_does_not_depend_on_what_was_read_before():
    transform = SceneGraphTransform(tiny_processor(), TINY, seed=3)
    rows = scenes().with_transform(transform)
    forward = [rows[index] for index in range(6)]
    backward = [rows[index] for index in reversed(range(6))][::-1]
    together = rows.__getitems__([2, 5])
    fresh = scenes().with_transform(SceneGraphTransform(tiny_processor(), TINY, seed=3))
    assert all(same(a, b) for a, b in zip(forward, backward, strict=True))
    assert same(together[0], forward[2]) and same(together[1], forward[5])
    assert same(fresh[4], forward[4])


def test_epoch_seed_and_source_change_the_augmentation():
    def augmented(seed=0, epoch=0, source=None):
        rows = scenes() if source is None else scenes().add_column("source", [source] * 6)
        transform = SceneGraphTransform(tiny_processor(), TINY, seed=seed)
        transform.set_epoch(epoch)
        return list(rows.with_transform(transform))

    base = augmented()
    assert all(same(a, b) for a, b in zip(base, augmented(), strict=True))
    for other in (augmented(seed=1), augmented(epoch=1), augmented(source="real")):
        assert not all(same(a, b) for a, b in zip(base, other, strict=True))


def test_the_pass_of_a_row_takes_the_place_of_the_epoch():
    transform = SceneGraphTransform(tiny_processor(), TINY)
    transform.set_epoch(1)
    expected = list(scenes().with_transform(transform))
    transform.set_epoch(7)
    passes = scenes().add_column("pass_number", [0, 1, 1, 2, 1, 1])
    given = [same(*pair) for pair in zip(passes.with_transform(transform), expected, strict=True)]
    assert all(given[row] for row in (1, 2, 4, 5)) and not all(given)


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_running_workers_follow_the_epoch(context):
    def read(loader, transform):
        passes = []
        for epoch in (0, 1):
            transform.set_epoch(epoch)
            passes.append([batch["pixel_values"] for batch in loader])
        return passes

    def loader(**kwargs):
        transform = SceneGraphTransform(tiny_processor(), TINY)
        return DataLoader(
            scenes().with_transform(transform), batch_size=2, collate_fn=SceneGraphCollator(), **kwargs
        ), transform

    alone = read(*loader())
    workers = read(*loader(num_workers=2, persistent_workers=True, multiprocessing_context=context))
    for epoch in (0, 1):
        assert all(torch.equal(a, b) for a, b in zip(alone[epoch], workers[epoch], strict=True))
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(*alone, strict=True))


def test_derived_datasets_follow_the_epoch():
    transform = SceneGraphTransform(tiny_processor(), TINY)
    rows = copy.deepcopy(scenes().with_transform(transform).select([4, 1]))
    before = [rows[0], rows[1]]
    transform.set_epoch(5)
    assert not (same(before[0], rows[0]) and same(before[1], rows[1]))


def test_pickled_transform_keeps_its_epoch():
    transform = SceneGraphTransform(tiny_processor(), TINY)
    transform.set_epoch(4)
    loaded = pickle.loads(pickle.dumps(transform))
    assert same(*(scenes().with_transform(each)[1] for each in (transform, loaded)))


def test_augmentation_decides_the_final_size():
    fixed = SceneGraphAugmentation(short_edges=(33,), longest_edge=44, crop_probability=0.0)
    (example,) = dataset([row(size=(40, 30))]).with_transform(SceneGraphTransform(tiny_processor(), fixed))
    assert example["pixel_values"].shape == (3, 33, 44)


def test_missing_image_file_names_it(tmp_path):
    file = tmp_path / "gone.png"
    row()["image"].save(file)
    rows = dataset([row() | {"image": str(file)}]).with_transform(SceneGraphTransform(tiny_processor()))
    file.unlink()
    with pytest.raises(FileNotFoundError, match="gone.png"):
        rows[0]


def test_negative_seed():
    with pytest.raises(ValueError, match="seed"):
        SceneGraphTransform(tiny_processor(), seed=-1)
