import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoImageProcessor
from transformers.image_utils import SizeDict, load_image
from transformers.utils import is_torchvision_available

from speaq_hf import SpeaQImageProcessor, SpeaQImageProcessorPil
from speaq_hf.models.speaq.annotation_speaq import renumber_relations
from speaq_hf.models.speaq.image_processing_speaq import get_resized_size
from tests.helpers import REFERENCE, read_reference


PROCESSORS = list({SpeaQImageProcessorPil, SpeaQImageProcessor})
needs_torchvision = pytest.mark.skipif(not is_torchvision_available(), reason="torchvision is not installed")


@pytest.fixture(params=PROCESSORS, ids=lambda cls: cls.__name__)
def processor(request: pytest.FixtureRequest) -> SpeaQImageProcessorPil:
    return request.param(size={"shortest_edge": 32, "longest_edge": 64})


def annotation(**changes: Any) -> dict[str, Any]:
    """Three objects in an image of 40x20 pixels (width x height), three relations."""
    objects = [
        {"bbox": [0, 0, 20, 10], "category_id": 4},
        {"bbox": [30, 5, 10, 10], "category_id": 1},
        {"bbox": [10, 10, 20, 5], "category_id": 2},
    ]
    return {"image_id": 7, "annotations": objects, "relations": [[0, 2, 7], [1, 2, 3], [2, 0, 4]]} | changes


def with_object(**changes: Any) -> dict[str, Any]:
    """`annotation` with its second object changed."""
    objects = annotation()["annotations"]
    return annotation(annotations=[objects[0], objects[1] | changes, objects[2]])


def blank(width: int = 40, height: int = 20, value: int = 0) -> Image.Image:
    return Image.new("RGB", (width, height), (value, value, value))


def unnormalized(pixel_values: Tensor) -> Tensor:
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in (SpeaQImageProcessor.image_mean, SpeaQImageProcessor.image_std)
    )
    return (pixel_values * std + mean) * 255


# Resizing


def test_default_resize_equals_detectron2() -> None:
    rows = read_reference("vg/expected_records.json")["resize_table_800_1333"]
    size = SizeDict(shortest_edge=800, longest_edge=1333)
    assert len(rows) > 10
    assert [list(get_resized_size((h, w), size)) for h, w, _, _ in rows] == [row[2:] for row in rows]


@given(height=st.integers(1, 3000), width=st.integers(1, 3000))
def test_resized_edges(height: int, width: int) -> None:
    new = get_resized_size((height, width), SizeDict(shortest_edge=800, longest_edge=1333))
    assert 1 <= min(new) <= 800 and max(new) <= 1333
    assert min(new) == 800 or max(new) == 1333
    assert get_resized_size((width, height), SizeDict(shortest_edge=800, longest_edge=1333)) == new[::-1]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (48, (48, 96)),
        ({"shortest_edge": 30, "longest_edge": 40}, (20, 40)),
        ({"height": 17, "width": 33}, (17, 33)),
        ({"height": 40, "width": 20}, (40, 20)),
    ],
)
def test_size_can_be_overridden_per_call(
    processor: SpeaQImageProcessorPil, size: Any, expected: tuple[int, int]
) -> None:
    assert processor(blank(), size=size)["pixel_values"].shape == (1, 3, *expected)
    assert processor(blank())["pixel_values"].shape == (1, 3, 32, 64)


@pytest.mark.parametrize(
    "size", [{"shortest_edge": 0}, {"shortest_edge": -5, "longest_edge": 9}, {"height": 0, "width": 4}, -3]
)
def test_sizes_below_one_are_refused(processor: SpeaQImageProcessorPil, size: Any) -> None:
    with pytest.raises(ValueError, match="`size` must be at least 1"):
        processor(blank(), size=size)


def test_unknown_size_is_refused(processor: SpeaQImageProcessorPil) -> None:
    with pytest.raises(ValueError, match="shortest_edge"):
        processor(blank(), size={"longest_edge": 20})


def test_images_and_boxes_equal_the_original_test_loader(processor: SpeaQImageProcessorPil) -> None:
    reference = read_reference("vg/expected_records.json")
    arrays = load_file(REFERENCE / "vg" / "mapper_test_mode.safetensors")
    settings_ = reference["mapper_test_mode"]
    size = {"shortest_edge": settings_["min_size"], "longest_edge": settings_["max_size"]}
    for case in settings_["images"]:
        records = reference["default"][case["split"]]
        record = next(record for record in records if record["image_id"] == case["image_id"])
        boxes = np.asarray(record["boxes"])
        image = Image.open(REFERENCE / "vg" / "images" / record["file"].split("/")[-1])
        objects = [
            {"bbox": [*box[:2], *(box[2:] - box[:2])], "category_id": label}
            for box, label in zip(boxes, record["labels"], strict=True)
        ]
        target = {"image_id": case["image_id"], "annotations": objects, "relations": record["relations"]}
        batch = processor(image, target, size=size)
        expected = {
            name: arrays[f"{case['index']}/{name}"] for name in ("image", "gt_boxes", "gt_classes", "relations")
        }
        label, (height, width) = batch["labels"][0], case["resized_hw"]
        assert (unnormalized(batch["pixel_values"][0]) - expected["image"]).abs().max() < 2.01
        scale = torch.tensor([width, height, width, height])
        centre, half = label["boxes"][:, :2], label["boxes"][:, 2:] / 2
        torch.testing.assert_close(
            torch.cat([centre - half, centre + half], 1) * scale, expected["gt_boxes"], atol=1e-4, rtol=0
        )
        assert torch.equal(label["class_labels"], expected["gt_classes"])
        assert torch.equal(label["relations"], expected["relations"])
        assert label["size"].tolist() == case["resized_hw"]


# Normalising and padding


def test_batch_equals_the_original(processor: SpeaQImageProcessorPil, recorded: dict[str, Tensor]) -> None:
    batch = processor([recorded["image_0"], recorded["image_1"]], do_resize=False)
    torch.testing.assert_close(batch["pixel_values"], recorded["batch/normalized_padded"], atol=2e-6, rtol=0)
    sizes = recorded["batch/image_sizes_hw"]
    assert torch.equal(batch["pixel_mask"].amax(dim=2).sum(dim=1), sizes[:, 0])
    assert torch.equal(batch["pixel_mask"].amax(dim=1).sum(dim=1), sizes[:, 1])
    assert torch.equal(batch["pixel_mask"].sum(dim=(1, 2)), sizes.prod(dim=1))
    assert batch["pixel_values"][~batch["pixel_mask"].bool().unsqueeze(1).expand(-1, 3, -1, -1)].abs().max() == 0


def test_pad_size(processor: SpeaQImageProcessorPil) -> None:
    batch = processor([blank(), blank(20, 20)], pad_size={"height": 70, "width": 80})
    assert batch["pixel_values"].shape == (2, 3, 70, 80)
    assert batch["pixel_mask"].sum(dim=(1, 2)).tolist() == [32 * 64, 32 * 32]
    with pytest.raises(ValueError, match="pad_size.*10x10.*32x64"):
        processor(blank(), pad_size={"height": 10, "width": 10})


def test_without_padding(processor: SpeaQImageProcessorPil) -> None:
    same = processor([blank(), blank()], do_pad=False)
    assert same["pixel_values"].shape == (2, 3, 32, 64) and "pixel_mask" not in same
    ragged = processor([blank(), blank(20, 20)], do_pad=False, return_tensors=None)["pixel_values"]
    assert [tuple(image.shape) for image in ragged] == [(3, 32, 64), (3, 32, 32)]
    with pytest.raises(ValueError, match="do_pad=True"):
        processor([blank(), blank(20, 20)], do_pad=False)


def test_steps_can_be_switched_off(processor: SpeaQImageProcessorPil) -> None:
    raw = processor(blank(value=51), do_rescale=False, do_normalize=False, do_resize=False)["pixel_values"]
    assert raw.shape[-2:] == (20, 40) and raw.unique().tolist() == [51.0]
    rescaled = processor(blank(value=51), do_normalize=False)["pixel_values"]
    torch.testing.assert_close(rescaled.unique(), torch.tensor([0.2]))


def test_numpy_output(processor: SpeaQImageProcessorPil) -> None:
    batch = processor(blank(), annotation(), return_tensors="np")
    assert isinstance(batch["pixel_values"], np.ndarray) and isinstance(batch["labels"][0]["boxes"], np.ndarray)


def test_one_pixel_and_very_long_images(processor: SpeaQImageProcessorPil) -> None:
    assert processor([blank(1, 1), blank(500, 1)])["pixel_values"].shape == (2, 3, 32, 64)
    assert processor(blank(500, 1))["pixel_mask"].sum() == 64


# Colour modes and input types

GREY = np.arange(20 * 40, dtype=np.uint8).reshape(20, 40)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(GREY), GREY[..., None]),
        (Image.fromarray(GREY.astype(np.uint16) * 257), GREY[..., None]),
        (Image.fromarray(GREY.astype(np.int32) * 257), GREY[..., None]),
        (GREY, GREY[..., None]),
        (torch.from_numpy(GREY), GREY[..., None]),
        (GREY.astype(np.uint16) * 257, GREY[..., None]),
        (torch.from_numpy(GREY.astype(np.uint16) * 257), GREY[..., None]),
        (Image.fromarray(GREY).convert("P"), GREY[..., None]),
        (Image.merge("RGBA", [Image.new("L", (40, 20), 9)] * 3 + [Image.new("L", (40, 20), 0)]), np.array([[[255]]])),
        (Image.fromarray(COLOUR).convert("CMYK"), COLOUR),
        (COLOUR, COLOUR),
        (np.moveaxis(COLOUR, -1, 0), COLOUR),
        (torch.from_numpy(COLOUR), COLOUR),
        ([COLOUR], COLOUR),
        (COLOUR[None], COLOUR),
    ],
    ids=[
        "L",
        "I;16",
        "I",
        "2d",
        "torch-2d",
        "uint16",
        "torch-uint16",
        "P",
        "clear",
        "CMYK",
        "hwc",
        "chw",
        "torch",
        "list",
        "4d",
    ],
)
def test_every_kind_of_image_becomes_rgb(processor: SpeaQImageProcessorPil, image: Any, expected: np.ndarray) -> None:
    pixel_values = processor(image, do_resize=False, do_rescale=False, do_normalize=False)["pixel_values"]
    expected = np.broadcast_to(np.moveaxis(expected, -1, 0), (3, 20, 40))
    assert np.array_equal(pixel_values[0].numpy(), expected)


def test_floats_between_zero_and_one(processor: SpeaQImageProcessorPil) -> None:
    floats = processor(COLOUR / np.float32(255), do_rescale=False)["pixel_values"]
    torch.testing.assert_close(floats, processor(COLOUR)["pixel_values"], atol=0.02, rtol=0)


@pytest.mark.filterwarnings("error")
def test_read_only_arrays(processor: SpeaQImageProcessorPil) -> None:
    image = COLOUR.copy()
    image.flags.writeable = False
    assert processor(image, do_resize=False)["pixel_values"].shape == (1, 3, 20, 40)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_image_is_the_same_from_a_path_and_from_pil(
    processor: SpeaQImageProcessorPil, tmp_path: Any, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = str(tmp_path / "turned.png")
    Image.fromarray(COLOUR).save(file, exif=exif)
    options = {"do_resize": False, "do_rescale": False, "do_normalize": False}
    whole = annotation(annotations=[{"bbox": [0, 0, 20, 40], "category_id": 0}], relations=[])
    by_path, opened, upright, pixels = (
        processor(image, whole, **options)
        for image in (file, Image.open(file), ImageOps.exif_transpose(Image.open(file)), load_image(file))
    )
    assert by_path["labels"][0]["orig_size"].tolist() == ([40, 20] if orientation > 4 else [20, 40])
    assert torch.equal(pixels["pixel_values"][0], torch.tensor(np.array(load_image(file))).permute(2, 0, 1).float())
    for other in (opened, upright, pixels):
        assert torch.equal(by_path["pixel_values"], other["pixel_values"])
        assert torch.equal(by_path["labels"][0]["boxes"], other["labels"][0]["boxes"])


def test_images_without_pixels_are_refused(processor: SpeaQImageProcessorPil) -> None:
    with pytest.raises(ValueError, match="at least one image"):
        processor([])
    for empty in (blank(0, 5), np.zeros((5, 0, 3), dtype=np.uint8), torch.zeros(3, 0, 5), np.zeros((0, 5))):
        with pytest.raises(ValueError, match=r"`images\[1\]` must have at least one pixel"):
            processor([COLOUR if isinstance(empty, np.ndarray) else blank(), empty])


# Annotations


def test_labels(processor: SpeaQImageProcessorPil) -> None:
    label = processor(blank(), annotation(loss_weight=0.5, source="synthetic"))["labels"][0]
    assert label["class_labels"].tolist() == [4, 1, 2]
    expected = [[0.25, 0.25, 0.5, 0.5], [0.875, 0.5, 0.25, 0.5], [0.5, 0.625, 0.5, 0.25]]
    torch.testing.assert_close(label["boxes"], torch.tensor(expected))
    assert label["relations"].tolist() == annotation()["relations"]
    assert label["loss_weight"].item() == 0.5 and label["loss_weight"].shape == () and label["source"] == "synthetic"
    assert label["orig_size"].tolist() == [20, 40] and label["size"].tolist() == [32, 64]
    assert label["image_id"].tolist() == [7]
    dtypes = {name: value.dtype for name, value in label.items() if name != "source"}
    floats = {"boxes", "loss_weight"}
    assert dtypes == {name: torch.float32 if name in floats else torch.int64 for name in dtypes}


def test_boxes_are_relative_to_the_unpadded_image(processor: SpeaQImageProcessorPil) -> None:
    whole = {"image_id": 0, "annotations": [{"bbox": [0, 0, 20, 20], "category_id": 0}], "relations": []}
    batch = processor([blank(), blank(20, 20)], [annotation(), whole])
    assert batch["pixel_values"].shape[-1] == 64
    assert batch["labels"][1]["boxes"].tolist() == [[0.5, 0.5, 1.0, 1.0]]


@pytest.mark.parametrize(
    "changes",
    [
        {"bbox": [5, 5, 0, 3]},
        {"bbox": [5, 5, 3, 0]},
        {"bbox": [40, 5, 10, 10]},
        {"bbox": [5, 5, -2, 3]},
        {"iscrowd": 1},
    ],
    ids=["no width", "no height", "outside", "negative", "crowd"],
)
def test_dropped_objects_take_their_relations_along(
    processor: SpeaQImageProcessorPil, changes: dict[str, Any]
) -> None:
    label = processor(blank(), with_object(**changes))["labels"][0]
    assert label["class_labels"].tolist() == [4, 2]
    assert label["relations"].tolist() == [[0, 1, 7], [1, 0, 4]]


def test_boxes_are_clipped(processor: SpeaQImageProcessorPil) -> None:
    label = processor(blank(), with_object(bbox=[-10, -10, 100, 20]))["labels"][0]
    assert label["boxes"][1].tolist() == [0.5, 0.25, 1.0, 0.5]


def test_image_without_objects(processor: SpeaQImageProcessorPil) -> None:
    label = processor(blank(), annotation(annotations=[], relations=[]))["labels"][0]
    shapes = {name: tuple(label[name].shape) for name in ("class_labels", "boxes", "relations")}
    assert shapes == {"class_labels": (0,), "boxes": (0, 4), "relations": (0, 3)}
    assert label["relations"].dtype == label["class_labels"].dtype == torch.int64
    assert label["loss_weight"] == 1.0 and "source" not in label


MALFORMED = {
    "no relations": ({"image_id": 1, "annotations": []}, r"annotations\[1\].*'relations'"),
    "not a dict": ([1, 2], r"annotations\[1\].*got list"),
    "no list": (annotation(relations=None), r"annotations\[1\]\['relations'\].*list.*NoneType"),
    "set": (annotation(relations={(0, 1, 2)}), r"annotations\[1\]\['relations'\].*list.*set"),
    "dict of objects": (annotation(annotations={"bbox": [0]}), r"annotations\[1\]\['annotations'\].*list.*dict"),
    "object end": (annotation(relations=[[0, 1, 2], [0, 3, 2]]), r"annotations\[1\]\['relations'\]\[1\].*has 3"),
    "negative end": (annotation(relations=[[-1, 0, 2]]), r"annotations\[1\]\['relations'\]\[0\].*\[-1, 0, 2\]"),
    "short relation": (annotation(relations=[[0, 1, 2], [0, 1]]), r"\['relations'\]\[1\].*3 non-negative integers"),
    "short box": (
        with_object(bbox=[1, 2, 3]),
        r"annotations\[1\]\['annotations'\]\[1\]\['bbox'\].*4 finite.*\[1, 2, 3\]",
    ),
    "nan box": (with_object(bbox=[1, 2, float("nan"), 3]), r"\['annotations'\]\[1\]\['bbox'\].*nan"),
    "word in box": (with_object(bbox=[1, 2, "3", 3]), r"\['annotations'\]\[1\]\['bbox'\]"),
    "float class": (with_object(category_id=1.5), r"\['annotations'\]\[1\]\['category_id'\].*integer.*1.5"),
    "no class": ({"image_id": 1, "annotations": [{"bbox": [0, 0, 1, 1]}], "relations": []}, r"\[0\].*'category_id'"),
    "image id": (annotation(image_id="seven"), r"annotations\[1\]\['image_id'\].*'seven'"),
    "negative weight": (annotation(loss_weight=-1.0), r"annotations\[1\]\['loss_weight'\].*-1.0"),
    "huge weight": (annotation(loss_weight=1e39), r"annotations\[1\]\['loss_weight'\].*float32.*1e\+39"),
    "nan weight": (annotation(loss_weight=float("nan")), r"annotations\[1\]\['loss_weight'\].*nan"),
    "infinite weight": (annotation(loss_weight=float("inf")), r"annotations\[1\]\['loss_weight'\].*inf"),
}


@pytest.mark.parametrize(("bad", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_annotations_are_named(processor: SpeaQImageProcessorPil, bad: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        processor([blank(), blank()], [annotation(), bad])


@pytest.mark.parametrize("annotations", [7, "labels", iter([annotation()])])
def test_annotations_of_the_wrong_type_are_named(processor: SpeaQImageProcessorPil, annotations: Any) -> None:
    with pytest.raises(TypeError, match="`annotations` must be a dict or a list of dicts, got"):
        processor(blank(), annotations)


def test_one_annotation_per_image(processor: SpeaQImageProcessorPil) -> None:
    with pytest.raises(ValueError, match="got 1 for 2 images"):
        processor([blank(), blank()], [annotation()])


@given(st.data())
@settings(max_examples=50)
def test_renumbered_relations_join_the_same_objects(data: st.DataObject) -> None:
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=1, max_size=6)))
    end = st.integers(0, len(keep) - 1)
    relations = np.array(data.draw(st.lists(st.tuples(end, end, st.integers(0, 3)), max_size=8)), dtype=int).reshape(
        -1, 3
    )
    kept_objects = keep.nonzero()[0]
    renumbered = [(kept_objects[s], kept_objects[o], p) for s, o, p in renumber_relations(relations, keep)]
    assert renumbered == [(s, o, p) for s, o, p in relations if keep[s] and keep[o]]


# Saving, and the two backends


def test_saving_keeps_settings_and_names(processor: SpeaQImageProcessorPil, tmp_path: Any) -> None:
    names = {"id2label": {index: f"object {index}" for index in range(12)}, "id2predicate": {0: "on", 1: "near"}}
    type(processor)(size=48, image_mean=[0.5, 0.5, 0.5], **names).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved["image_processor_type"] == "SpeaQImageProcessor"
    for loader in (type(processor), AutoImageProcessor):
        loaded = loader.from_pretrained(tmp_path)
        assert isinstance(loaded, tuple(PROCESSORS))
        assert loaded.id2label == names["id2label"] and loaded.id2predicate == names["id2predicate"]
        assert dict(loaded.size) == {"shortest_edge": 48} and list(loaded.image_mean) == [0.5, 0.5, 0.5]


def test_defaults_are_the_published_ones() -> None:
    processor = SpeaQImageProcessor()
    assert dict(processor.size) == {"shortest_edge": 800, "longest_edge": 1333}
    assert processor.id2label is None and processor.id2predicate is None


@pytest.mark.parametrize("name", ["id2label", "id2predicate"])
def test_names_are_counted_from_zero(processor: SpeaQImageProcessorPil, name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must map 0, 1, 2"):
        type(processor)(**{name: {1: "on", 2: "near"}})
    with pytest.raises(TypeError, match=f"`{name}` must be a dict"):
        type(processor)(**{name: ["on", "near"]})


def test_unknown_arguments_are_refused(processor: SpeaQImageProcessorPil) -> None:
    with pytest.raises(TypeError, match="shortest"):
        processor(blank(), shortest=3)


@needs_torchvision
def test_backends_agree() -> None:
    files = sorted((REFERENCE / "vg" / "images").glob("*.jpg"))[:4]
    images, targets = [Image.open(file) for file in files], [annotation()] * 4
    for size in ({"shortest_edge": 224, "longest_edge": 300}, {"shortest_edge": 48, "longest_edge": 60}):
        pil, torchvision = (cls(size=size)(images, targets) for cls in (SpeaQImageProcessorPil, SpeaQImageProcessor))
        torch.testing.assert_close(pil["pixel_values"], torchvision["pixel_values"], atol=0.02, rtol=0)
        assert torch.equal(pil["pixel_mask"], torchvision["pixel_mask"])
        for a, b in zip(pil["labels"], torchvision["labels"], strict=True):
            assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.skipif(is_torchvision_available(), reason="only without torchvision")
def test_plain_name_works_without_torchvision() -> None:
    assert SpeaQImageProcessor().backend == "pil"
