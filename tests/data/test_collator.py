import pytest
import torch

from speaq_hf.data import SceneGraphCollator
from speaq_hf.models.speaq.image_processing_speaq import SpeaQImageProcessorPil


def example(height, width, value=1.0):
    return {"pixel_values": torch.full((3, height, width), value), "labels": {"boxes": torch.rand(2, 4)}}


def test_images_are_padded_right_and_bottom():
    examples = [example(2, 5), example(4, 3, value=2.0)]
    batch = SceneGraphCollator(SpeaQImageProcessorPil())(examples)
    assert batch["pixel_values"].shape == (2, 3, 4, 5)
    assert batch["pixel_mask"].dtype == torch.int64
    for index, (height, width) in enumerate([(2, 5), (4, 3)]):
        mask = torch.zeros(4, 5, dtype=torch.int64)
        mask[:height, :width] = 1
        assert torch.equal(batch["pixel_mask"][index], mask)
        assert torch.equal(batch["pixel_values"][index], mask * torch.full((3, 4, 5), index + 1.0))
    assert all(label is example["labels"] for label, example in zip(batch["labels"], examples, strict=True))


def test_batch_equals_the_processors_own_padding():
    processor = SpeaQImageProcessorPil(do_resize=False, do_rescale=False, do_normalize=False)
    images = [torch.rand(3, 7, 4), torch.rand(3, 2, 9)]
    batch = SceneGraphCollator(processor)([{"pixel_values": image, "labels": {}} for image in images])
    expected = processor(images, return_tensors="pt")
    assert torch.equal(batch["pixel_values"], expected["pixel_values"])
    assert torch.equal(batch["pixel_mask"], expected["pixel_mask"])


def test_one_pixel_and_one_image():
    batch = SceneGraphCollator()([example(1, 1)])
    assert batch["pixel_values"].shape == (1, 3, 1, 1) and batch["pixel_mask"].tolist() == [[[1]]]


def test_pad_size_of_the_processor():
    collator = SceneGraphCollator(SpeaQImageProcessorPil(pad_size={"height": 8, "width": 6}))
    batch = collator([example(2, 5)])
    assert batch["pixel_values"].shape == (1, 3, 8, 6) and batch["pixel_mask"].sum() == 10
    with pytest.raises(ValueError, match="`pad_size` 8x6 is smaller than the largest image, 9x5"):
        collator([example(9, 5)])


def test_rows_that_were_not_transformed():
    with pytest.raises(ValueError, match=r"example 1 .* lacks \['labels', 'pixel_values'\].*SceneGraphTransform"):
        SceneGraphCollator()([example(2, 2), {"image": None}])
    with pytest.raises(ValueError, match=r"example 0 .* \(3, h, w\), got \(1, 2, 2\)"):
        SceneGraphCollator()([{"pixel_values": torch.zeros(1, 2, 2), "labels": {}}])
