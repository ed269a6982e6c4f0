"""Post-processing in tensors of fixed shape gives the graphs that post-processing in Python gives."""

import pytest
import torch
from safetensors.torch import load_file
from torch.export import Dim

from speaq_hf import SceneGraph
from speaq_hf.export.graph_post_processing import GRAPH_OUTPUTS, GraphPostProcessing
from speaq_hf.models.speaq.post_processing_speaq import OUTPUT_NAMES, post_process_scene_graph
from speaq_hf.predictor import GraphOptions
from tests.helpers import REFERENCE, random_layers
from tests.models.speaq.test_post_processing_speaq import CASES, original_outputs


pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

NAMES = [*OUTPUT_NAMES, "target_sizes"]


def run_in_onnx(cases, options):
    """The outputs of one ONNX graph for several inputs, with any number of images and queries."""
    import onnxruntime

    from speaq_hf.export.onnx_export import convert_to_onnx, quiet_exporter

    example = {name: torch.cat([value, value]) for name, value in cases[0].items()}
    axes = {name: 2 if name.endswith("boxes") else 3 for name in OUTPUT_NAMES} | {"target_sizes": 1}
    shapes = {name: dict.fromkeys(range(count), Dim.DYNAMIC) for name, count in axes.items()}
    with quiet_exporter():
        program = torch.export.export(GraphPostProcessing(options), (), example, dynamic_shapes=shapes)
        model = convert_to_onnx(program, NAMES, list(GRAPH_OUTPUTS)).model_proto
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for case in cases:
        values = session.run(list(GRAPH_OUTPUTS), {name: value.numpy() for name, value in case.items()})
        yield {name: torch.from_numpy(value) for name, value in zip(GRAPH_OUTPUTS, values, strict=True)}


def with_sizes(outputs, sizes):
    return {name: outputs[name].contiguous() for name in OUTPUT_NAMES} | {"target_sizes": torch.tensor(sizes)}


def assert_equal_graphs(made, case, options):
    graphs = post_process_scene_graph(
        case,
        case["target_sizes"],
        top_k=options.top_k,
        predicates_per_query=options.predicates_per_query,
        nms_threshold=options.nms_threshold,
        score_threshold=options.threshold,
    )
    for index, graph in enumerate(graphs):
        assert_is_graph({name: values[index] for name, values in made.items()}, graph)


def assert_is_graph(made, graph: SceneGraph):
    assert (int(made["num_objects"]), int(made["num_relations"])) == (len(graph.labels), len(graph))
    for name in ("boxes", "labels", "scores"):
        count = len(graph.labels)
        torch.testing.assert_close(made[name][:count], getattr(graph, name), atol=1e-4, rtol=0)
        assert not made[name][count:].any()
    for name in ("relations", "relation_scores", "predicate_probabilities", "query_indices"):
        torch.testing.assert_close(made[name][: len(graph)], getattr(graph, name), atol=1e-6, rtol=0)
        assert not made[name][len(graph) :].any()


def recorded_groups():
    """The recorded cases by the options they were recorded with."""
    arrays = load_file(REFERENCE / "forward.safetensors") | load_file(REFERENCE / "postprocess.safetensors")
    groups = {}
    for name, case in CASES.items():
        inputs = with_sizes(original_outputs(name, case, arrays), [case["output_hw"]])
        groups.setdefault((case["num_rel"], case["nms_thresh"]), []).append(inputs)
    return groups


def test_recorded_cases_in_torch():
    groups = recorded_groups()
    assert sum(map(len, groups.values())) == len(CASES) > 10
    for (num_predicates, nms_threshold), cases in groups.items():
        options = GraphOptions(None, 0.0, num_predicates, nms_threshold)
        for case in cases:
            made = dict(zip(GRAPH_OUTPUTS, GraphPostProcessing(options)(**case), strict=True))
            assert_equal_graphs(made, case, options)


def test_recorded_and_random_cases_in_onnx():
    options = GraphOptions(top_k=30, threshold=0.01, predicates_per_query=3, nms_threshold=0.5)
    cases = [*recorded_groups()[3, 0.5], *map(random_case, range(12))]
    for name in ("subject_logits", "object_logits", "predicate_logits"):
        cases[-1][name] *= 0.0  # no relation reaches the threshold
    outputs = list(run_in_onnx(cases, options))
    for case, made in zip(cases, outputs, strict=True):
        assert_equal_graphs(made, case, options)
    assert not outputs[-1]["num_relations"].any() and outputs[-1]["num_objects"].all()
    assert (outputs[-2]["num_relations"] == 30).all()


def test_boxes_without_area_and_no_suppression():
    options = GraphOptions(nms_threshold=1.0)
    case = random_case(0)
    case["subject_boxes"][:, ::2, 2:] = 0.0
    made = dict(zip(GRAPH_OUTPUTS, GraphPostProcessing(options)(**case), strict=True))
    assert_equal_graphs(made, case, options)


def random_case(seed):
    """The same predictions several times, with other boxes: equal scores everywhere, and long chains of suppression."""
    images = 1 + seed % 3
    outputs = random_layers(1, images=images, queries=60, seed=seed)[0]
    copied = torch.arange(60) % 25
    copies = {name: value[:, copied] for name, value in outputs.items() if name.endswith("logits")}
    return with_sizes(outputs | copies, [(30 + seed, 40)] * images)
