"""Compilers see the whole optimised model as one graph, for images of any size."""

import torch

from speaq_hf import SpeaQForSceneGraphGeneration
from tests.helpers import tiny_config


def test_the_optimised_model_is_one_graph_for_all_sizes():
    model = SpeaQForSceneGraphGeneration(tiny_config(decoder_layers=1)).optimize_for_inference()
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, backend=count, fullgraph=True, dynamic=True)
    with torch.inference_mode():
        for shape in ((2, 3, 64, 80), (3, 3, 70, 91), (2, 3, 200, 50)):
            images = torch.randn(shape)
            outputs, expected = compiled(images), model(images)
            for name in ("subject_boxes", "predicate_logits"):
                torch.testing.assert_close(outputs[name], expected[name], atol=1e-4, rtol=1e-4)
    assert len(graphs) == 1
