from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from speaq_hf import SceneGraph, SpeaQImageProcessorPil
from speaq_hf.models.speaq.box_ops_speaq import box_iou
from speaq_hf.models.speaq.post_processing_speaq import class_aware_nms, post_process_scene_graph
from tests.helpers import ORIGINAL_OUTPUTS, REFERENCE, random_layers, read_reference


CASES = {name: case for name, case in read_reference("postprocess.json").items() if "num_rel" in case}
NEEDED = [name for name in ORIGINAL_OUTPUTS if name != "relation_boxes"]
SIZES = [(375, 500), (300, 400)]


@pytest.fixture(scope="module")
def results() -> dict[str, Tensor]:
    return load_file(REFERENCE / "postprocess.safetensors")


def original_outputs(name: str, case: dict[str, Any], arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """The recorded model outputs that went into a case, one image."""
    model, run = name.split("/")[:2]
    if model.startswith("synthetic"):
        return {ours: arrays[f"{model}/input/{ORIGINAL_OUTPUTS[ours]}"] for ours in NEEDED}
    prefix = f"{model}/{run}" if run.startswith("single") else f"{model}/batch"
    element = slice(case.get("element", 0), case.get("element", 0) + 1)
    if case["test_index"] == -1:
        return {ours: arrays[f"{prefix}/{ORIGINAL_OUTPUTS[ours]}"][element] for ours in NEEDED}
    streams = {"subject": "r_sub", "object": "r_obj", "predicate": "r"}
    names = {ours: ours.split("_") for ours in NEEDED}
    return {
        ours: arrays[f"{prefix}/aux_outputs_{streams[stream]}/{case['test_index']}/pred_{kind}"][element]
        for ours, (stream, kind) in names.items()
    }


def outputs_of(images: int = 2, queries: int = 30, seed: int = 0, sharpness: float = 3.0) -> dict[str, Tensor]:
    """Random outputs: 6 object classes, 5 predicates."""
    outputs = random_layers(1, images=images, queries=queries, seed=seed)[0]
    return {name: outputs[name] * (sharpness if name.endswith("logits") else 1.0) for name in NEEDED}


def assert_same(a: SceneGraph, b: SceneGraph) -> None:
    assert a.to_dict() == b.to_dict()


# The recorded results of the original


@pytest.mark.parametrize("name", CASES)
def test_graph_equals_the_original(name: str, results: dict[str, Tensor], recorded: dict[str, Tensor]) -> None:
    case = CASES[name]
    outputs = original_outputs(name, case, recorded | results)
    options = {"predicates_per_query": case["num_rel"], "nms_threshold": case["nms_thresh"]}
    (graph,) = SpeaQImageProcessorPil().post_process_scene_graph(outputs, [case["output_hw"]], top_k=None, **options)
    assert graph.labels.tolist() == results[f"{name}/classes"].tolist()
    assert graph.relations[:, :2].tolist() == results[f"{name}/rel_pair_idxs"].tolist()
    assert graph.relations[:, 2].tolist() == results[f"{name}/pred_rel_labels"].tolist()
    # The original counts candidates, M in a row for each query.
    assert graph.query_indices.tolist() == (results[f"{name}/query_index"] // case["num_rel"]).tolist()
    torch.testing.assert_close(graph.boxes, results[f"{name}/boxes_xyxy"], atol=2e-4, rtol=0)
    torch.testing.assert_close(graph.scores, results[f"{name}/scores"], atol=1e-6, rtol=0)
    torch.testing.assert_close(graph.predicate_probabilities, results[f"{name}/pred_rel_scores"], atol=1e-6, rtol=0)


# Suppression


def loop_nms(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> tuple[list[int], list[int]]:
    """The definition, one box at a time: boxes kept, and for every box the position of its nearest kept box."""
    kept: list[int] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        rivals = [k for k in kept if labels[k] == labels[index]]
        if all(box_iou(boxes[k], boxes[index]) <= iou_threshold for k in rivals):
            kept.append(index)
    nearest = []
    for index in range(len(boxes)):
        overlap = [
            1.0 if k == index else box_iou(boxes[k], boxes[index]) if labels[k] == labels[index] else -1.0
            for k in kept
        ]
        nearest.append(max(range(len(kept)), key=lambda position: (float(overlap[position]), -position)))
    return kept, nearest


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_suppression_equals_the_plain_loop(data: st.DataObject) -> None:
    # A coarse grid gives identical boxes, equal IoUs, boxes without area and long chains.
    side = st.integers(0, 6)
    rows = data.draw(st.lists(st.tuples(side, side, side, side), max_size=16))
    count = len(rows)
    corners = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
    boxes = torch.cat([corners[:, :2], corners[:, :2] + corners[:, 2:]], dim=1)
    per_box = {"min_size": count, "max_size": count}
    scores = torch.tensor(data.draw(st.lists(st.sampled_from([0.1, 0.4, 0.5, 0.9]), **per_box)))
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 1), **per_box)), dtype=torch.int64)
    threshold = data.draw(st.sampled_from([0.0, 0.25, 0.5, 1.0]))
    copies = data.draw(st.integers(1, 3))  # a subject serves several relation queries
    boxes, scores, labels = (values.repeat_interleave(copies, dim=0) for values in (boxes, scores, labels))
    kept, representative = class_aware_nms(boxes, scores, labels, threshold)
    assert (kept.tolist(), representative.tolist()) == loop_nms(boxes, scores, labels, threshold)


def test_suppression_along_a_chain() -> None:
    """Each box overlaps only its neighbours: every second one stays, which takes as many rounds as boxes."""
    left = torch.arange(20.0)
    boxes = torch.stack([left, torch.zeros(20), left + 3, torch.ones(20)], dim=1)  # IoU of neighbours 1/2
    kept, representative = class_aware_nms(boxes, -left, torch.zeros(20, dtype=torch.int64), 0.4)
    assert kept.tolist() == list(range(0, 20, 2))
    assert representative.tolist() == [index // 2 for index in range(20)]


def test_the_threshold_itself_does_not_suppress() -> None:
    boxes = torch.tensor([[0.0, 0, 2, 1], [0, 0, 1, 1]])  # IoU exactly 1/2
    args = boxes, torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.int64)
    assert class_aware_nms(*args, 0.5)[0].tolist() == [0, 1]
    assert class_aware_nms(*args, 0.49)[0].tolist() == [0]


def test_suppression_in_a_high_class_is_as_exact_as_in_the_first() -> None:
    """Adding an offset per class to the boxes would round this IoU from 0.526 to 0.5."""
    boxes = torch.tensor([[0, 0, 1e-4, 1e-4], [0, 0, 1e-4, 1.9e-4]]) + 0.5
    for label in (0, 149):
        labels = torch.full((2,), label)
        assert class_aware_nms(boxes, torch.tensor([0.9, 0.8]), labels, 0.51)[0].tolist() == [0]


# Relations


def test_every_image_of_a_batch_gets_its_own_graph() -> None:
    outputs = outputs_of(images=3)
    sizes = [(375, 500), (300, 400), (20, 10)]
    graphs = post_process_scene_graph(outputs, sizes)
    assert len(graphs) == 3 and [graph.image_size for graph in graphs] == sizes
    for index, graph in enumerate(graphs):
        one = {name: value[index : index + 1] for name, value in outputs.items()}
        assert_same(graph, post_process_scene_graph(one, sizes[index : index + 1])[0])
    assert graphs[0].relations.tolist() != graphs[1].relations.tolist()


@given(seed=st.integers(0, 1000), predicates_per_query=st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_order_of_queries_does_not_matter(seed: int, predicates_per_query: int) -> None:
    outputs = outputs_of(images=1, seed=seed)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(seed))
    shuffled = {name: value[:, order] for name, value in outputs.items()}
    options = {"top_k": None, "predicates_per_query": predicates_per_query}
    (a,) = post_process_scene_graph(outputs, SIZES[:1], **options)
    (b,) = post_process_scene_graph(shuffled, SIZES[:1], **options)
    assert torch.equal(a.boxes, b.boxes) and torch.equal(a.labels, b.labels)
    assert torch.equal(a.relations, b.relations) and torch.equal(a.relation_scores, b.relation_scores)
    assert torch.equal(a.query_indices, order[b.query_indices])


@given(seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_relations_are_unique_sorted_and_explained_by_their_query(seed: int) -> None:
    outputs = outputs_of(images=1, seed=seed, sharpness=1.0)
    (graph,) = post_process_scene_graph(outputs, SIZES[:1], top_k=None, predicates_per_query=3)
    assert graph.relations.unique(dim=0).shape == graph.relations.shape
    assert (graph.relation_scores.diff() <= 0).all() and (graph.scores.diff() <= 0).all()
    queries, predicates = graph.query_indices, graph.relations[:, 2]
    subject, obj, predicate = (
        outputs[f"{name}_logits"][0].softmax(-1)[queries] for name in ("subject", "object", "predicate")
    )
    assert torch.equal(graph.labels[graph.relations[:, 0]], subject[:, :-1].argmax(-1))
    assert torch.equal(graph.labels[graph.relations[:, 1]], obj[:, :-1].argmax(-1))
    assert torch.equal(graph.predicate_probabilities, predicate)
    best = subject[:, :-1].amax(-1) * predicate.gather(1, predicates.unsqueeze(1)).squeeze(1) * obj[:, :-1].amax(-1)
    torch.testing.assert_close(graph.relation_scores, best)


def test_top_k_counts_after_duplicates_are_gone() -> None:
    outputs = {name: value[:, :1].repeat(1, 8, 1) for name, value in outputs_of(images=1).items()}
    other = {name: value[:, 1:2] for name, value in outputs_of(images=1).items()}
    outputs = {name: torch.cat([value, other[name]], dim=1) for name, value in outputs.items()}
    (graph,) = post_process_scene_graph(outputs, SIZES[:1], top_k=2)
    assert len(graph) == 2 and sorted(graph.query_indices.tolist()) == [0, 8]


@pytest.mark.parametrize("top_k", [1, np.int64(5), 1000, None])
def test_top_k_is_a_prefix(top_k: int | None) -> None:
    (every,) = post_process_scene_graph(outputs_of(images=1), SIZES[:1], top_k=None)
    (graph,) = post_process_scene_graph(outputs_of(images=1), SIZES[:1], top_k=top_k)
    assert graph.relations.tolist() == every.relations.tolist()[:top_k]
    assert torch.equal(graph.boxes, every.boxes)


def test_score_threshold_is_on_the_whole_relation() -> None:
    (every,) = post_process_scene_graph(outputs_of(images=1), SIZES[:1])
    threshold = float(every.relation_scores[4])
    (graph,) = post_process_scene_graph(outputs_of(images=1), SIZES[:1], score_threshold=threshold)
    assert graph.relations.tolist() == every.relations.tolist()[:5]
    (empty,) = post_process_scene_graph(outputs_of(images=1), SIZES[:1], score_threshold=1.01)
    assert len(empty) == 0 and empty.triplets() == [] and empty.relations.shape == (0, 3)
    assert_same(SceneGraph.from_dict(empty.to_dict()), empty)


def test_no_queries() -> None:
    graphs = post_process_scene_graph(outputs_of(queries=0), SIZES)
    assert [(len(graph), len(graph.boxes)) for graph in graphs] == [(0, 0), (0, 0)]
    assert graphs[0].predicate_probabilities.shape[0] == 0


def test_boxes_are_scaled_and_clipped() -> None:
    outputs = outputs_of(images=1, queries=1)
    outputs["subject_boxes"][:] = torch.tensor([0.5, 0.5, 2.0, 0.5])
    outputs["object_boxes"][:] = torch.tensor([0.25, 0.75, 0.5, 0.5])
    outputs["subject_logits"][..., 0] = 50.0
    outputs["object_logits"][..., 1] = 40.0
    (graph,) = post_process_scene_graph(outputs, torch.tensor([[100, 200]]))
    boxes = dict(zip(graph.labels.tolist(), graph.boxes.tolist(), strict=True))
    assert boxes == {0: [0.0, 25.0, 200.0, 75.0], 1: [0.0, 50.0, 100.0, 100.0]}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_computed_in_float32(dtype: torch.dtype) -> None:
    outputs = {name: value.to(dtype) for name, value in outputs_of().items()}
    single = {name: value.float() for name, value in outputs.items()}
    for a, b in zip(post_process_scene_graph(outputs, SIZES), post_process_scene_graph(single, SIZES), strict=True):
        assert a.relation_scores.dtype == torch.float32
        assert_same(a, b)


def test_objects_and_mappings_are_read_alike() -> None:
    outputs = {name: value.requires_grad_() for name, value in outputs_of().items()}
    as_object = type("Outputs", (), outputs)()
    for a, b in zip(post_process_scene_graph(outputs, SIZES), post_process_scene_graph(as_object, SIZES), strict=True):
        assert_same(a, b)


# Names


def test_names_come_from_the_call_or_the_processor_or_are_numbered() -> None:
    labels, predicates = ({index: f"{kind} {index}" for index in range(count)} for kind, count in (("l", 6), ("p", 5)))
    processor = SpeaQImageProcessorPil(id2label=labels, id2predicate=predicates)
    graph = processor.post_process_scene_graph(outputs_of(), SIZES)[0]
    assert graph.id2label == labels and graph.id2predicate == predicates
    other = processor.post_process_scene_graph(outputs_of(), SIZES, id2predicate=dict(enumerate("abcde")))[0]
    assert other.id2label == labels and other.id2predicate[4] == "e"
    numbered = SpeaQImageProcessorPil().post_process_scene_graph(outputs_of(), SIZES)[0]
    assert numbered.id2label[5] == "LABEL_5" and numbered.id2predicate[4] == "PREDICATE_4"


# Errors


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_are_named(name: str, value: float) -> None:
    outputs = outputs_of()
    outputs[name][1, 3, 2] = value
    with pytest.raises(ValueError, match=rf"`{name}` is not finite.*\[1\]"):
        post_process_scene_graph(outputs, SIZES)


def test_a_class_may_be_switched_off() -> None:
    outputs = outputs_of()
    outputs["object_logits"][..., 2] = outputs["subject_logits"][..., 2] = -torch.inf
    assert all(2 not in graph.labels for graph in post_process_scene_graph(outputs, SIZES))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_k": -1}, "`top_k`"),
        ({"top_k": 0}, "`top_k` must be at least 1"),
        ({"nms_threshold": -0.1}, r"`nms_threshold`.*\[0, 1\].*-0.1"),
        ({"nms_threshold": 1.5}, r"`nms_threshold`.*\[0, 1\].*1.5"),
        ({"nms_threshold": float("nan")}, "`nms_threshold`.*nan"),
        ({"score_threshold": float("nan")}, "`score_threshold` must be finite.*nan"),
        ({"score_threshold": -float("inf")}, "`score_threshold` must be finite"),
        ({"target_sizes": [(3, 5), (3.5, 4)]}, r"`target_sizes\[1\]`.*whole pixels.*3.5"),
        ({"target_sizes": torch.tensor([[3, 5], [float("nan"), 4]])}, r"`target_sizes\[1\]`.*nan"),
        ({"id2label": dict(enumerate("abcdef", start=1))}, r"`id2label` must map 0, 1, 2.*\[1, 2, 3, 4, 5, 6\]"),
        ({"id2predicate": dict(enumerate("abcde", start=1))}, "`id2predicate` must map 0, 1, 2"),
        ({"predicates_per_query": 0}, r"`predicates_per_query` must be in \[1, 5\]"),
        ({"predicates_per_query": 6}, r"`predicates_per_query` must be in \[1, 5\]"),
        ({"target_sizes": SIZES[:1]}, "2 images, got 1"),
        ({"target_sizes": [(0, 5), (3, 4)]}, r"`target_sizes\[0\]`"),
        ({"target_sizes": [(3, 5), (3, 4, 3)]}, r"`target_sizes\[1\]`"),
        ({"id2label": {0: "cat"}}, "`id2label` names 1 classes but the model predicts 6"),
        ({"id2predicate": {0: "on"}}, "`id2predicate` names 1 classes but the model predicts 5"),
        ({"outputs": {"subject_logits": torch.zeros(2, 3, 7)}}, "no `object_logits`"),
        ({"outputs": outputs_of() | {"object_boxes": torch.zeros(2, 29, 4)}}, r"`object_boxes`.*\(2, 29, 4\)"),
        ({"outputs": outputs_of() | {"object_logits": torch.zeros(2, 30, 9)}}, "same number of classes"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        post_process_scene_graph(**({"outputs": outputs_of(), "target_sizes": SIZES} | arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_k": 2.0}, "`top_k` must be an integer, got 2.0"),
        ({"top_k": True}, "`top_k` must be an integer"),
        ({"predicates_per_query": 1.5}, "`predicates_per_query` must be an integer, got 1.5"),
        ({"nms_threshold": "0.5"}, "`nms_threshold` must be a number, got str"),
        ({"score_threshold": None}, "`score_threshold` must be a number, got NoneType"),
        ({"target_sizes": None}, "`target_sizes` must be a sequence or tensor"),
        ({"target_sizes": (375, 500)}, r"`target_sizes` must be a sequence or tensor.*\(375, 500\)"),
        ({"id2label": ["a", "b"]}, "`id2label` must be a dict from index to name, got list"),
    ],
)
def test_arguments_of_the_wrong_type_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        post_process_scene_graph(**({"outputs": outputs_of(), "target_sizes": SIZES} | arguments))


@pytest.mark.parametrize(
    "sizes", [torch.tensor(SIZES), np.array(SIZES, dtype=float), [torch.tensor(size) for size in SIZES]]
)
def test_sizes_may_be_tensors_arrays_or_whole_floats(sizes: Any) -> None:
    assert [graph.image_size for graph in post_process_scene_graph(outputs_of(), sizes)] == SIZES


def test_a_threshold_of_one_merges_no_boxes() -> None:
    outputs = {name: value.repeat(1, 2, 1) for name, value in outputs_of(images=1, queries=4).items()}
    (graph,) = post_process_scene_graph(outputs, SIZES[:1], nms_threshold=1)
    assert len(graph.boxes) == 16


# Objects alone


def test_detections_are_the_objects_of_the_graph_above_the_threshold() -> None:
    processor, outputs = SpeaQImageProcessorPil(), outputs_of()
    graphs = processor.post_process_scene_graph(outputs, SIZES)
    threshold = float(graphs[0].scores[2])
    detections = processor.post_process_object_detection(outputs, threshold, torch.tensor(SIZES))
    assert len(detections[0]["scores"]) == 2  # the third has the threshold itself
    for graph, found in zip(graphs, detections, strict=True):
        count = int((graph.scores > threshold).sum())
        for name in ("scores", "labels", "boxes"):
            assert torch.equal(found[name], getattr(graph, name)[:count])


def test_detections_are_relative_to_the_image_without_its_size() -> None:
    processor, outputs = SpeaQImageProcessorPil(), outputs_of()
    relative = processor.post_process_object_detection(outputs, threshold=0.0)
    absolute = processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=SIZES)
    for (height, width), one, other in zip(SIZES, relative, absolute, strict=True):
        scale = torch.tensor([width, height, width, height])
        torch.testing.assert_close(one["boxes"] * scale, other["boxes"], atol=1e-3, rtol=0)  # pixels
