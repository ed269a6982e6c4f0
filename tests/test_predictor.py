"""Model and image processor together: where the model computes, and what becomes of the images."""

import numpy as np
import pytest
import torch

from speaq_hf.image_reading import read_image
from speaq_hf.predictor import SceneGraphPredictor


IMAGE = read_image(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def graph():
    return SceneGraphPredictor.from_pretrained(device="cpu")([IMAGE])[0]


def test_a_model_stays_where_a_device_map_has_put_it(graph, tmp_path):
    """transformers refuses to move such a model."""
    places = {"model": "disk", "class_head": "cpu", "predicate_head": "cpu", "box_head": "disk"}
    predictor = SceneGraphPredictor.from_pretrained(
        device_map=places, offload_folder=str(tmp_path), offload_buffers=True
    )
    assert predictor.model.hf_device_map == places
    (found,) = predictor([IMAGE])  # computed by the ordinary model: equal but for rounding
    assert torch.equal(found.relations, graph.relations)
    torch.testing.assert_close(found.boxes, graph.boxes, rtol=0, atol=1e-2)
    torch.testing.assert_close(found.relation_scores, graph.relation_scores, rtol=0, atol=1e-4)


def test_a_model_is_optimised_where_that_is_possible():
    assert SceneGraphPredictor.from_pretrained(device="cpu").model.is_optimized_for_inference


def test_a_mask_goes_along_where_it_hides_something():
    predictor = SceneGraphPredictor.from_pretrained(device="cpu")
    assert predictor.prepare([IMAGE]).inputs[0].keys() == {"pixel_values"}
    predictor.processor.pad_size = {"height": 300, "width": 300}
    assert predictor.prepare([IMAGE]).inputs[0].keys() == {"pixel_values", "pixel_mask"}


def test_a_device_map_leaves_no_choice_of_device():
    with pytest.raises(ValueError, match="expected `device` or `device_map`, got both: cuda and auto"):
        SceneGraphPredictor.from_pretrained(device="cuda", device_map="auto")


def test_images_follow_the_number_format_of_the_model(graph):
    predictor = SceneGraphPredictor.from_pretrained(device="cpu", dtype="bfloat16")
    assert predictor.compute(predictor.prepare([IMAGE]))["subject_logits"].dtype == torch.bfloat16
    (rounded,) = predictor([IMAGE])
    assert abs(float(rounded.scores[0] - graph.scores[0])) < 0.1


@pytest.mark.parametrize("image", ["photo.jpg", b"bytes", IMAGE], ids=lambda image: type(image).__name__)
def test_one_image_is_not_taken_for_a_batch(image):
    predictor = SceneGraphPredictor.from_pretrained(device="cpu")
    with pytest.raises(TypeError, match=rf"a list of images, got one {type(image).__name__}: pass \[image\]"):
        predictor(image)
    assert repr(predictor) == "SceneGraphPredictor(SpeaQForSceneGraphGeneration on cpu)"
