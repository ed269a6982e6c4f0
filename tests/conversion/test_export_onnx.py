"""Exported files predict what the model predicts, and say all that is needed to run them without this package."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from speaq_hf import SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil
from speaq_hf.cli import app
from speaq_hf.export import ExportOptions, export_model, load_exported
from speaq_hf.models.speaq.layers_speaq import SpeaQZeroInitLinear
from speaq_hf.predictor import GraphOptions, SceneGraphPredictor
from tests.helpers import tiny_config


onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

ROOT = Path(__file__).parents[2]
PREDICTIONS = [
    "subject_logits", "subject_boxes", "object_logits", "object_boxes", "predicate_logits", "relation_boxes",
]  # fmt: skip
SIZES = [(120, 80), (75, 91), (300, 100), (64, 64)]


def write_model(folder, **overrides):
    """A model whose decoders listen to each other, as only training makes them."""
    torch.manual_seed(0)
    model = SpeaQForSceneGraphGeneration(tiny_config(**overrides))
    for module in model.modules():
        if isinstance(module, SpeaQZeroInitLinear):
            torch.nn.init.normal_(module.weight, std=0.2)
    model.save_pretrained(folder)
    SpeaQImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 100}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One layer: exporting takes a time that grows with their number."""
    return write_model(tmp_path_factory.mktemp("export") / "model", decoder_layers=1)


@pytest.fixture(scope="module")
def deeper(folder):
    return write_model(folder.parent / "deeper")


@pytest.fixture(scope="module")
def plain(folder):
    file = folder.parent / "plain.onnx"
    export_model(folder, file, ExportOptions(pixel_mask=True))
    return file


@pytest.fixture(scope="module")
def with_graphs(deeper):
    """Written by the program, as a user does."""
    file = deeper.parent / "graphs.onnx"
    program = [sys.executable, str(ROOT / "conversion" / "export_onnx.py"), "--model", str(deeper)]
    command = [*program, "--output", str(file), "--with-post-processing", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("Largest difference from the model: ") and f"Wrote {file}" in done.stdout
    assert done.stderr == ""
    return file


@pytest.fixture(scope="module")
def model(folder):
    return SpeaQForSceneGraphGeneration.from_pretrained(folder).eval()


def images():
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in SIZES]


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(1, 3, 96, 128), (3, 3, 61, 97), (2, 3, 200, 33), (1, 3, 1, 1)])
def test_predictions_equal_the_models(plain, model, shape):
    session = onnxruntime.InferenceSession(plain)
    mask = torch.ones(shape[0], *shape[2:], dtype=torch.long)
    mask[-1, :, shape[3] // 2 + 1 :] = 0
    with torch.no_grad():
        expected = model(noise(*shape), mask)
    outputs = session.run(PREDICTIONS, {"pixel_values": noise(*shape).numpy(), "pixel_mask": mask.numpy()})
    for name, value in zip(PREDICTIONS, outputs, strict=True):
        np.testing.assert_allclose(value, expected[name].numpy(), atol=1e-4, err_msg=name)


def test_the_graph_is_described_by_names_and_free_axes(plain):
    graph = onnx.load(plain)
    onnx.checker.check_model(graph, full_check=True)
    assert [output.name for output in graph.graph.output] == PREDICTIONS
    (batch, channels, height, width) = graph.graph.input[0].type.tensor_type.shape.dim
    assert channels.dim_value == 3 and all(axis.dim_param for axis in (batch, height, width))
    assert str(ROOT) not in str(graph)


def test_the_file_says_how_it_is_used(plain, model):
    metadata = {prop.key: json.loads(prop.value) for prop in onnx.load(plain).metadata_props}
    assert metadata["id2label"] == {str(index): name for index, name in model.config.id2label.items()}
    assert metadata["id2predicate"]["2"] == "wearing"
    settings = metadata["preprocessing"]
    assert settings["size"] == {"shortest_edge": 64, "longest_edge": 100}
    assert len(settings["image_mean"]) == len(settings["image_std"]) == 3 and settings["rescale_factor"] == 1 / 255


def test_a_predictor_takes_the_file_in_the_models_place(plain, folder):
    options = GraphOptions(top_k=9, predicates_per_query=2)
    expected = SceneGraphPredictor.from_pretrained(folder)(images(), options)
    assert_equal_graphs(load_exported(plain)(images(), options), expected)


def test_graphs_made_in_the_file_equal_those_of_the_package(with_graphs, deeper):
    predictor = load_exported(with_graphs)
    expected = SceneGraphPredictor.from_pretrained(deeper)(images())
    assert_equal_graphs(predictor(images()), expected)
    assert_equal_graphs(predictor(images(), GraphOptions()), expected)
    with pytest.raises(ValueError, match="cannot be changed"):
        predictor(images(), GraphOptions(top_k=3))


def assert_equal_graphs(graphs, expected):
    for graph, other in zip(graphs, expected, strict=True):
        assert graph.relations.tolist() == other.relations.tolist() and graph.labels.tolist() == other.labels.tolist()
        assert (graph.id2label, graph.image_size) == (other.id2label, other.image_size)
        for name in ("boxes", "scores", "relation_scores", "predicate_probabilities"):
            torch.testing.assert_close(getattr(graph, name), getattr(other, name), atol=1e-3, rtol=0)


def test_torch_export(folder, model):
    file = folder.parent / "program.pt2"
    differences = export_model(folder, file, ExportOptions(check=True))
    assert set(differences) == set(PREDICTIONS) and max(differences.values()) < 1e-4
    assert_equal_graphs(load_exported(file)(images()), SceneGraphPredictor.from_pretrained(folder)(images()))
    outputs = torch.export.load(file).module()(pixel_values=noise(2, 3, 61, 97))
    torch.testing.assert_close(outputs[0], model(noise(2, 3, 61, 97)).subject_logits, atol=1e-4, rtol=0)


def test_exported_models_refuse_what_they_do_not_know(plain, with_graphs):
    exported = load_exported(plain).model
    with pytest.raises(ValueError, match="computes no loss"):
        exported(noise(1, 3, 64, 64), labels=[{}])
    padded = torch.ones(1, 64, 64)
    padded[:, :, 50:] = 0
    with pytest.raises(ValueError, match="without padding"):
        load_exported(with_graphs).model(noise(1, 3, 64, 64), padded, torch.tensor([[64, 64]]))
    torch.testing.assert_close(
        exported(noise(1, 3, 64, 64))["subject_logits"],
        exported(noise(1, 3, 64, 64), torch.ones(1, 64, 64))["subject_logits"],
    )


@pytest.mark.parametrize("difference", [0.01, float("nan")])
def test_a_file_that_differs_from_its_model_is_reported(plain, model, difference):
    from speaq_hf.export.export_check import check_export
    from speaq_hf.export.exported_module import ExportedModule

    class Other(SpeaQForSceneGraphGeneration):
        def predict_layers(self, outputs):
            return [
                layer | {"object_boxes": layer["object_boxes"] + difference}
                for layer in super().predict_layers(outputs)
            ]

    other = Other(model.config)
    other.load_state_dict(model.state_dict())
    module = ExportedModule(other.eval(), ExportOptions(pixel_mask=True))
    with pytest.raises(ValueError, match=f"differs from the model.*'object_boxes': {difference}"):
        check_export(module, load_exported(plain).model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere/model", "OUT.onnx"], "/nowhere/model"),
        (["MODEL", "OUT.tflite"], "must end in .onnx or .pt2"),
        (["MODEL", "missing/OUT.onnx"], "there is no folder"),
        (["MODEL", "OUT.pt2", "--opset", "20"], "option of ONNX files"),
        (["MODEL", "OUT.onnx", "--top-k", "5"], "--top-k: without --with-post-processing"),
        (["MODEL", "OUT.onnx", "--with-post-processing", "--top-k", "0"], "`top_k` must be at least 1"),
        (["MODEL", "OUT.onnx", "--with-post-processing", "--predicates-per-query", "6"], "must be in \\[1, 5\\]"),
    ],
)
def test_errors_are_sentences(folder, tmp_path, arguments, message):
    places = {"MODEL": str(folder), "OUT.onnx": str(tmp_path / "model.onnx"), "OUT.pt2": str(tmp_path / "model.pt2")}
    result = CliRunner().invoke(app, ["export", *(places.get(argument, argument) for argument in arguments)])
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert re.search(message, " ".join(result.output.split())), result.output
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.onnx"):
        load_exported(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match="ends in .onnx or .pt2"):
        load_exported(tmp_path / "model.safetensors")
    for suffix in (".onnx", ".pt2"):
        (tmp_path / f"broken{suffix}").write_bytes(b"no model")
        with pytest.raises(ValueError, match=f"broken{suffix} cannot be read"):
            load_exported(tmp_path / f"broken{suffix}")
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "other", ends[:1], ends[1:])
    versions = {"opset_imports": [onnx.helper.make_opsetid("", 18)], "ir_version": 10}
    onnx.save(onnx.helper.make_model(graph, **versions), tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="other.onnx was not written by `speaq export`"):
        load_exported(tmp_path / "other.onnx")
