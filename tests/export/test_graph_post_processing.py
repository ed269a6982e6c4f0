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
    shapes = {name: {0: Dim.DYNAMIC, 1: Dim.DYNAMIC} for name in OUTPUT_NAMES} | {"target_sizes": {0: Dim.DYNAMIC}}
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


def test_recorded_cases():
    groups = recorded_groups()
    assert sum(map(len, groups.values())) == len(CASES) > 10
    for (num_predicates, nms_threshold), cases in groups.items():
        options = GraphOptions(None, 0.0, num_predicates, nms_threshold)
        for case, made in zip(cases, run_in_onnx(cases, options), strict=True):
            assert_equal_graphs(made, case, options)


@pytest.mark.parametrize(
    "options",
    [GraphOptions(top_k=7, threshold=0.02, predicates_per_query=3, nms_threshold=0.3), GraphOptions(nms_threshold=1.0)],
)
def test_random_predictions_alone_and_in_batches(options):
    cases = []
    for seed in range(12):
        outputs = random_layers(1, images=1 + seed % 3, queries=60, seed=seed)[0]
        # The same predictions several times, with other boxes: equal scores everywhere, and long chains of suppression.
        copied = torch.arange(60) % 25
        copies = {name: value[:, copied] for name, value in outputs.items() if name.endswith("logits")}
        cases.append(with_sizes(outputs | copies, [(30 + seed, 40)] * (1 + seed % 3)))
    for case, made in zip(cases, run_in_onnx(cases, options), strict=True):
        assert_equal_graphs(made, case, options)


def test_no_relation_reaches_the_threshold():
    options = GraphOptions(threshold=2.0)
    case = with_sizes(random_layers(1, images=2, queries=9)[0], [(10, 10), (20, 20)])
    (made,) = run_in_onnx([case], options)
    assert made["num_relations"].tolist() == [0, 0] and made["num_objects"].min() > 0
    assert not made["relation_scores"].any()
    assert_equal_graphs(made, case, options)
