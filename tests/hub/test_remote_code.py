"""Somebody without speaq_hf loads with `trust_remote_code=True` what was pushed with it, and computes the same."""

from pathlib import Path

import pytest
import torch
from huggingface_hub import create_tag, upload_file
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForObjectDetection

from speaq_hf import AutoModelForSceneGraphGeneration, SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil
from speaq_hf.models.speaq import remote_code_speaq
from tests.helpers import tiny_config

from . import without_package
from .machine import start
from .outputs import assert_same, graph, outputs


NAME = "owner/travelling"
HERE = Path(remote_code_speaq.__file__).parent
MODEL_CODE = {
    "box_ops_speaq.py",
    "configuration_speaq.py",
    "detr_weights_speaq.py",
    "label_resizing_speaq.py",
    "loss_speaq.py",
    "modeling_speaq.py",
    "remote_code_speaq.py",
    "vg150.py",
}
PROCESSOR_CODE = {
    "annotation_speaq.py",
    "box_ops_speaq.py",
    "image_processing_speaq.py",
    "post_processing_speaq.py",
    "remote_code_speaq.py",
    "scene_graph_speaq.py",
}


def make(seed):
    torch.manual_seed(seed)
    config = tiny_config()
    model = SpeaQForSceneGraphGeneration(config).eval()
    torch.nn.init.normal_(model.class_head.bias)
    size = {"shortest_edge": 64, "longest_edge": 96}
    return model, SpeaQImageProcessorPil(size=size, id2label=config.id2label, id2predicate=config.id2predicate)


def push(name, seed=0):
    model, processor = make(seed)
    model.push_to_hub(name)
    processor.push_to_hub(name)
    return outputs(model, processor), graph(model, processor), model.class_head.bias.tolist()


def push_versions(name):
    """A tagged version, and a second one whose code is broken."""
    first = push(name)[0]
    create_tag(name, tag="v1")
    push(name, seed=1)
    upload_file(path_or_fileobj=b"raise ValueError('broken')", path_in_repo="modeling_speaq.py", repo_id=name)
    return first


def push_while_saving(name, folder):
    """The other way: files are pushed from the folders they are saved to."""
    model, processor = make(0)
    for part in (model.config, processor, model):
        part.save_pretrained(f"{folder}/{type(part).__name__}", push_to_hub=True, repo_id=name)
    return outputs(model, processor)


def pull_by_all_names(name, **kwargs):
    """The classes that a user of speaq_hf gets, and what the heads compute."""
    loaders = (
        AutoConfig,
        AutoModel,
        AutoImageProcessor,
        AutoModelForObjectDetection,
        AutoModelForSceneGraphGeneration,
    )
    parts = [loader.from_pretrained(name, **kwargs) for loader in loaders]
    return without_package.described(parts), outputs(parts[-1], parts[2])


def run_pipeline(name, **kwargs):
    """With speaq_hf, which this module imports."""
    return without_package.run_pipeline(name, **kwargs)


@pytest.fixture(scope="module")
def pushed(sender):
    """What the pushed model computes where it was made, its scene graph, and the biases of its classes."""
    return sender.run(push, NAME)


def test_speaq_hf_is_missing(stranger):
    for name in ("speaq_hf", "speaq_hf.models.speaq.vg150"):
        message = stranger.run(without_package.error_of_import, name)
        assert message == "ModuleNotFoundError: No module named 'speaq_hf'"


def test_code_of_the_repository(hub, pushed):
    files = hub.model(NAME).at("main").files
    code = {name for name in files if name.endswith(".py")}
    assert code >= MODEL_CODE | PROCESSOR_CODE and code <= {path.name for path in HERE.iterdir()} - {"__init__.py"}
    assert all(files[name].content == (HERE / name).read_bytes() for name in code)


def test_auto_classes(stranger, pushed):
    names = ["SpeaQConfig", "SpeaQModel", "SpeaQForSceneGraphGeneration", "SpeaQImageProcessorPil"]
    assert stranger.run(without_package.auto_classes, NAME) == [("transformers_modules", name) for name in names]
    assert stranger.run(without_package.from_config, NAME) == [("transformers_modules", name) for name in names[1:3]]


def test_the_same_is_computed(stranger, pushed):
    assert_same(stranger.run(without_package.compute, NAME), pushed[0])
    assert_same(stranger.run(without_package.compute_by_custom_name, NAME), pushed[0])
    assert stranger.run(without_package.predict, NAME) == pushed[1]


def test_nothing_is_run_without_trust(stranger, pushed):
    for error in (without_package.error_of_model, without_package.error_of_processor):
        for answer in (None, False):
            message = stranger.run(error, NAME, trust_remote_code=answer)
            assert message.startswith(f"ValueError: The repository {NAME} contains custom code")
            assert "pass the argument `trust_remote_code=True`" in message


@pytest.mark.parametrize("answer", [None, True, False])
def test_with_speaq_hf_its_own_classes_are_used(receiver, pushed, answer):
    classes, computed = receiver.run(pull_by_all_names, NAME, trust_remote_code=answer)
    names = ["SpeaQConfig", "SpeaQModel", "SpeaQImageProcessorPil", *["SpeaQForSceneGraphGeneration"] * 2]
    assert classes == [("speaq_hf", name) for name in names]
    assert_same(computed, pushed[0])


def test_with_speaq_hf_no_code_is_downloaded(hub, receiver):
    hub.storage.copy("model", "owner/unseen", hub.model(NAME).at("main").files)
    receiver.run(pull_by_all_names, "owner/unseen", trust_remote_code=True)
    paths = [call.path for call in hub.called("GET", "owner/unseen/resolve")]
    assert len(paths) == 3 and not any(path.endswith(".py") for path in paths), paths


def test_a_revision_comes_with_its_own_code(sender, stranger):
    first = sender.run(push_versions, "owner/versions")
    assert_same(stranger.run(without_package.compute, "owner/versions", revision="v1"), first)
    message = stranger.run(without_package.error_of_model, "owner/versions", trust_remote_code=True)
    assert message == "ValueError: broken"


def test_once_cached_no_hub_is_needed(hub, stranger, pushed):
    stranger.run(without_package.compute, NAME)
    calls = len(hub.calls)
    assert_same(stranger.run(without_package.compute, NAME, local_files_only=True), pushed[0])
    assert_same(stranger.run(without_package.compute_offline, NAME), pushed[0])
    assert hub.calls[calls:] == []


def test_a_missing_module_is_named(hub, stranger, pushed):
    files = dict(hub.model(NAME).at("main").files)
    del files["loss_speaq.py"]
    hub.storage.copy("model", "owner/headless", files)
    message = stranger.run(without_package.error_of_model, "owner/headless", trust_remote_code=True)
    assert "owner/headless does not appear to have a file named loss_speaq.py" in message


def test_what_a_stranger_saves_travels_on(stranger, receiver, pushed, tmp_path):
    stranger.run(without_package.save, NAME, str(tmp_path))
    assert {path.name for path in tmp_path.glob("*.py")} >= MODEL_CODE | PROCESSOR_CODE
    assert_same(stranger.run(without_package.compute, str(tmp_path)), pushed[0])
    stranger.run(without_package.push, str(tmp_path), "owner/again")
    assert_same(stranger.run(without_package.compute, "owner/again"), pushed[0])
    assert_same(receiver.run(pull_by_all_names, "owner/again")[1], pushed[0])


def test_a_stranger_resizes_the_heads(stranger, pushed):
    names, biases = stranger.run(without_package.relabelled, NAME, ["tree", "zebra", "person"])
    assert names == {0: "tree", 1: "zebra", 2: "person"}
    assert biases == [pushed[2][5], 0.0, pushed[2][0], pushed[2][6]]


def test_pushing_while_saving(hub, sender, stranger, tmp_path):
    computed = sender.run(push_while_saving, "owner/saved", str(tmp_path))
    assert {name for name in hub.model("owner/saved").at("main").files if name.endswith("_speaq.py")} >= MODEL_CODE - {
        "vg150.py"
    }
    assert_same(stranger.run(without_package.compute, "owner/saved"), computed)


@pytest.mark.skipif(not (HERE / "pipeline_speaq.py").exists(), reason="this version has no pipeline")
def test_the_pipeline_travels(hub, receiver, stranger, pushed):
    """Its task is inferred by the stranger; with speaq_hf nobody is asked for trust."""
    classes, relations = stranger.run(without_package.run_pipeline, NAME, trust_remote_code=True)
    assert classes == [("transformers_modules", "SpeaQSceneGraphPipeline")] and relations
    here = receiver.run(run_pipeline, NAME, task="scene-graph-generation")
    assert here == ([("speaq_hf", "SpeaQSceneGraphPipeline")], relations)


# Enough of torchvision for transformers to take it for installed, and for nothing more.
TORCHVISION = {
    "__init__.py": "__version__ = '0.27.0'\nio = None",
    "transforms/__init__.py": (
        "from enum import Enum\n"
        "NAMES = 'NEAREST NEAREST_EXACT BILINEAR BICUBIC BOX HAMMING LANCZOS'\n"
        "InterpolationMode = Enum('InterpolationMode', NAMES)\n"
    ),
    "transforms/functional.py": "pil_to_tensor = None",
    "transforms/v2/__init__.py": "",
    "transforms/v2/functional.py": "",
}


def test_where_torchvision_is_installed_its_processor_is_loaded(hub, stranger, pushed, tmp_path):
    """By the entry of the repository. What it computes is compared where torchvision is really there, see the processors."""
    for name, text in TORCHVISION.items():
        path = tmp_path / "packages" / "torchvision" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    home = tmp_path / "home"
    with start(hub.endpoint, hub.token, home, without=["speaq_hf"], also=tmp_path / "packages") as machine:
        for backend in (None, "torchvision"):
            classes = machine.run(without_package.processor_classes, NAME, backend)
            assert classes[0] == "SpeaQImageProcessor" and "TorchvisionBackend" in classes
        assert machine.run(without_package.processor_classes, NAME, "pil")[0] == "SpeaQImageProcessorPil"
    assert stranger.run(without_package.processor_classes, NAME, "torchvision")[0] == "SpeaQImageProcessorPil"
