"""The plain path is the model: what is faster than it must be faster at the same thing."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.plain import PlainModel, plain_predict, plain_prepare
from benchmarks.plain_post_processing import plain_scene_graph, plain_suppression
from speaq_hf import SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil
from speaq_hf.models.speaq.post_processing_speaq import class_aware_nms, post_process_scene_graph
from tests.helpers import ORIGINAL_OUTPUTS, REFERENCE, tiny_config
from tests.models.speaq.test_post_processing_speaq import CASES, NEEDED, original_outputs, outputs_of


CLOSE = {"rtol": 0, "atol": 1e-4}


@pytest.fixture
def tiny() -> SpeaQForSceneGraphGeneration:
    """Random weights, none of them zero, and batch norms that do something."""
    torch.manual_seed(0)
    model = SpeaQForSceneGraphGeneration(tiny_config()).eval()
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.model.backbone.buffers()):
            tensor.add_(0.05 * torch.rand_like(tensor))
    return model


def assert_same_outputs(plain: dict[str, Any], ours: Any) -> None:
    layers = [(plain, ours), *zip(plain["auxiliary_outputs"], ours.auxiliary_outputs, strict=True)]
    for found, expected in layers:
        for name in ORIGINAL_OUTPUTS:
            torch.testing.assert_close(found[name], expected[name], **CLOSE)


class TestNetwork:
    def test_equals_the_original_on_a_padded_batch(self, model, variant, batch, recorded) -> None:
        with torch.inference_mode():
            outputs = PlainModel(model)(**batch)
        for name, original in ORIGINAL_OUTPUTS.items():
            torch.testing.assert_close(outputs[name], recorded[f"{variant}/batch/{original}"], rtol=0, atol=5e-4)

    def test_equals_ours_in_all_layers(self, model, batch) -> None:
        with torch.inference_mode():
            assert_same_outputs(PlainModel(model)(**batch), model(**batch))

    @pytest.mark.parametrize("size", [(1, 1), (1, 200), (33, 65)])
    @pytest.mark.parametrize("images", [1, 3])
    def test_odd_sizes_without_a_mask(self, tiny, size, images) -> None:
        pixel_values = torch.randn(images, 3, *size)
        with torch.inference_mode():
            assert_same_outputs(PlainModel(tiny)(pixel_values), tiny(pixel_values))

    def test_shares_the_weights_and_leaves_the_model_alone(self, tiny) -> None:
        before = {name: type(module) for name, module in tiny.named_modules()}
        plain = PlainModel(tiny)
        assert {id(p) for p in plain.parameters()} == {id(p) for p in tiny.parameters()}
        assert {name: type(module) for name, module in tiny.named_modules()} == before


class TestImages:
    def test_prepared_as_by_the_processor(self) -> None:
        generator = np.random.default_rng(0)
        sizes = [(40, 50, 3), (33, 90, 3), (7, 5, 3)]
        images = [Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)) for size in sizes]
        processor = SpeaQImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 100})
        plain, ours = plain_prepare(images, processor), processor(images)
        torch.testing.assert_close(plain["pixel_values"], ours["pixel_values"], rtol=0, atol=1e-5)
        assert torch.equal(plain["pixel_mask"], ours["pixel_mask"])

    def test_from_images_to_graphs(self, tiny) -> None:
        processor = SpeaQImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 100})
        images = [Image.new("RGB", (50, 40), "teal"), Image.new("RGB", (90, 33), "gold")]
        inputs = processor(images)
        with torch.inference_mode():
            outputs = tiny(**inputs)
        names = {"id2label": tiny.config.id2label, "id2predicate": tiny.config.id2predicate}
        ours = processor.post_process_scene_graph(outputs, [(40, 50), (33, 90)], **names)
        plain = plain_predict(tiny, images, processor)
        for one, other in zip(plain, ours, strict=True):
            assert one.image_size == other.image_size and one.id2label == other.id2label
            assert one.relations.tolist() == other.relations.tolist()
            torch.testing.assert_close(one.boxes, other.boxes, rtol=0, atol=0.01)  # pixels


class TestPostProcessing:
    @pytest.mark.parametrize("name", CASES)
    def test_recorded_cases(self, name: str, recorded: dict[str, Tensor], results: dict[str, Tensor]) -> None:
        case = CASES[name]
        outputs = original_outputs(name, case, recorded | results)
        options = {"predicates_per_query": case["num_rel"], "nms_threshold": case["nms_thresh"], "top_k": None}
        (plain,) = plain_scene_graph(outputs, [case["output_hw"]], **options)
        assert plain.labels.tolist() == results[f"{name}/classes"].tolist()
        assert plain.relations[:, :2].tolist() == results[f"{name}/rel_pair_idxs"].tolist()
        assert plain.relations[:, 2].tolist() == results[f"{name}/pred_rel_labels"].tolist()
        torch.testing.assert_close(plain.boxes, results[f"{name}/boxes_xyxy"], atol=2e-4, rtol=0)

    @pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"predicates_per_query": 3, "nms_threshold": 0.1}, {"score_threshold": 0.2}, {"score_threshold": 2.0}])  # fmt: skip
    def test_equals_ours_to_the_last_digit(self, options: dict[str, Any]) -> None:
        outputs, sizes = outputs_of(images=3, queries=60), [(375, 500), (1, 1), (20, 10)]
        plain, ours = plain_scene_graph(outputs, sizes, **options), post_process_scene_graph(outputs, sizes, **options)
        assert [graph.to_dict() for graph in plain] == [graph.to_dict() for graph in ours]
        assert "score_threshold" not in options or options["score_threshold"] < 1 or not len(plain[0])

    def test_no_queries_make_an_empty_graph(self) -> None:
        outputs = {name: outputs_of(images=1)[name][:, :0] for name in NEEDED}
        (plain,), (ours,) = plain_scene_graph(outputs, [(3, 4)]), post_process_scene_graph(outputs, [(3, 4)])
        assert plain == ours and not len(plain.boxes)

    def test_boxes_without_area_and_equal_scores(self) -> None:
        corners = torch.randint(0, 3, (80, 4), generator=torch.Generator().manual_seed(0)).float()
        boxes = torch.cat((corners[:, :2], corners[:, :2] + corners[:, 2:]), dim=1)
        scores, labels = (torch.arange(80) % 3) / 3, torch.arange(80) % 2
        for plain, ours in zip(
            plain_suppression(boxes, scores, labels, 0.3), class_aware_nms(boxes, scores, labels, 0.3), strict=True
        ):
            assert torch.equal(plain, ours)


@pytest.fixture(scope="module")
def results() -> dict[str, Tensor]:
    return load_file(REFERENCE / "postprocess.safetensors")
