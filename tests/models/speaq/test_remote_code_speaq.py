"""The folder of the model can travel as remote code, and what is saved names it. Loading it is tested with the Hub."""

import ast
import json
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForObjectDetection
from transformers.dynamic_module_utils import get_imports, get_relative_import_files, get_relative_imports

from speaq_hf import (
    AutoModelForSceneGraphGeneration,
    SpeaQConfig,
    SpeaQForSceneGraphGeneration,
    SpeaQImageProcessorPil,
)
from speaq_hf.models.speaq import remote_code_speaq
from tests.helpers import tiny_config


FOLDER = Path(remote_code_speaq.__file__).parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
# What comes with transformers and torch; everything else is imported under a guard, or where it is used.
ALWAYS_THERE = {"huggingface_hub", "numpy", "PIL", "torch", "transformers"}
TASK = "scene-graph-generation"


class OwnConfig(SpeaQConfig):
    """Somebody's own model."""

    model_type = "own"


class OwnProcessor(SpeaQImageProcessorPil):
    """Somebody's own processor."""


def read(folder, name="config.json"):
    return json.loads((folder / name).read_text())


def code_of(folder):
    return {path.stem for path in folder.glob("*.py")}


def closure(module):
    return {module, *(Path(name).stem for name in get_relative_import_files(FOLDER / f"{module}.py"))}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders with a model, a processor and a configuration alone."""
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)
    SpeaQForSceneGraphGeneration(tiny_config()).save_pretrained(folder / "model")
    SpeaQImageProcessorPil().save_pretrained(folder / "processor")
    tiny_config().save_pretrained(folder / "config")
    return folder


class TestFolder:
    """What transformers demands of remote code."""

    @pytest.mark.parametrize("module", MODULES)
    def test_imports_siblings_only(self, module):
        """With one dot: transformers takes two for one, and does not find packages."""
        tree = ast.parse((FOLDER / f"{module}.py").read_text())
        relative = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
        for node in relative:
            assert node.level == 1 and node.module in MODULES, f"{module}.py line {node.lineno}"
        assert set(get_relative_imports(FOLDER / f"{module}.py")) == {node.module for node in relative}

    @pytest.mark.parametrize("module", MODULES)
    def test_needs_nothing_but_transformers(self, module):
        """transformers refuses to load a file when it cannot import something, wherever in it the import stands."""
        needed = set(get_imports(FOLDER / f"{module}.py")) - sys.stdlib_module_names
        assert needed <= ALWAYS_THERE, f"put these imports of {module}.py into `try` or `if is_..._available()`"

    def test_guards_are_needed(self):
        """The tests above would find an import without guard."""
        text = (FOLDER / "query_matching_speaq.py").read_text()
        assert "from scipy" in text and "scipy" not in get_imports(FOLDER / "query_matching_speaq.py")


class TestSaving:
    def test_code_is_saved(self, saved):
        model = closure("modeling_speaq") | (closure("pipeline_speaq") if "pipeline_speaq" in MODULES else set())
        assert code_of(saved / "model") == code_of(saved / "config") == model
        assert code_of(saved / "processor") == closure("image_processing_speaq")
        for folder in ("model", "processor"):
            for path in (saved / folder).glob("*.py"):
                assert path.read_bytes() == (FOLDER / path.name).read_bytes()
            assert not list((saved / folder).glob(".*"))

    def test_entries_name_classes_that_are_there(self, saved):
        entries = read(saved / "model")["auto_map"]
        assert list(entries) == [
            "AutoConfig",
            "AutoModel",
            "AutoModelForObjectDetection",
            "AutoModelForSceneGraphGeneration",
        ]
        assert entries == read(saved / "config")["auto_map"]
        backends = read(saved / "processor", "preprocessor_config.json")["auto_map"]["AutoImageProcessor"]
        assert list(backends) == ["pil", "torchvision"]
        for reference in (*entries.values(), *backends.values()):
            module, name = reference.split(".")
            assert hasattr(sys.modules[f"speaq_hf.models.speaq.{module}"], name)

    def test_a_loaded_configuration_has_no_entries(self, saved):
        """They belong to the files, and would make `pipeline` ask for trust in them."""
        for config in (
            AutoConfig.from_pretrained(saved / "model"),
            SpeaQConfig.from_json_file(saved / "model/config.json"),
        ):
            assert not hasattr(config, "auto_map") and not hasattr(config, "custom_pipelines")
        assert SpeaQConfig.from_pretrained(saved / "config").to_dict() == tiny_config().to_dict()

    def test_entries_are_written_again(self, saved, tmp_path):
        AutoConfig.from_pretrained(saved / "model").save_pretrained(tmp_path)
        AutoImageProcessor.from_pretrained(saved / "processor", backend="pil").save_pretrained(tmp_path)
        assert read(tmp_path) == read(saved / "model")
        name = "preprocessor_config.json"
        assert read(tmp_path, name) == read(saved / "processor", name)

    @pytest.mark.parametrize("auto_class", [AutoModelForSceneGraphGeneration, AutoModelForObjectDetection])
    @pytest.mark.parametrize("trust", [None, True, False])
    def test_the_package_is_used(self, saved, auto_class, trust):
        model = auto_class.from_pretrained(saved / "model", trust_remote_code=trust)
        assert type(model) is SpeaQForSceneGraphGeneration

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "file").write_text("kept")
        for part in (tiny_config(), SpeaQImageProcessorPil()):
            with pytest.raises(AssertionError, match="should be a directory"):
                part.save_pretrained(tmp_path / "file")
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


class TestOthers:
    """Classes derived from ours: their authors decide whether code is saved, as with any model."""

    def test_no_code_of_ours(self, tmp_path):
        OwnConfig(
            **{name: value for name, value in tiny_config().to_dict().items() if name != "model_type"}
        ).save_pretrained(tmp_path)
        OwnProcessor().save_pretrained(tmp_path)
        assert not code_of(tmp_path) and "auto_map" not in read(tmp_path)
        assert "auto_map" not in read(tmp_path, "preprocessor_config.json")

    def test_their_entries_stay(self, tmp_path):
        own = {"AutoModelForObjectDetection": "own_heads.OwnHeads", "AutoModelForDepthEstimation": "own_heads.Depth"}
        config = tiny_config(auto_map=own, custom_pipelines={"own-task": {"impl": "own.Pipeline", "pt": []}})
        config.save_pretrained(tmp_path)
        entries = read(tmp_path)["auto_map"]
        assert own.items() <= entries.items() and entries["AutoModel"] == "modeling_speaq.SpeaQModel"
        loaded = SpeaQConfig.from_pretrained(tmp_path)
        assert loaded.auto_map == own and loaded.custom_pipelines.keys() == {"own-task"}

    def test_registered_as_transformers_does(self, tmp_path, monkeypatch):
        """`register_for_auto_class` changes nothing, since everything is registered."""
        for part in (SpeaQConfig, SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil):
            monkeypatch.setattr(part, "_auto_class", None)
        model, processor = SpeaQForSceneGraphGeneration(tiny_config()), SpeaQImageProcessorPil()
        for folder in ("before", "after"):
            model.save_pretrained(tmp_path / folder)
            processor.save_pretrained(tmp_path / folder)
            SpeaQConfig.register_for_auto_class()
            SpeaQForSceneGraphGeneration.register_for_auto_class("AutoModelForObjectDetection")
            SpeaQImageProcessorPil.register_for_auto_class()
        assert code_of(tmp_path / "before") == code_of(tmp_path / "after")
        for name in ("config.json", "preprocessor_config.json"):
            assert read(tmp_path / "before", name) == read(tmp_path / "after", name)


class TestPipeline:
    """The pipeline travels when its module is in the folder."""

    @pytest.fixture
    def with_pipeline(self, tmp_path, monkeypatch):
        folder = tmp_path / "package"
        folder.mkdir()
        for module in MODULES:
            (folder / f"{module}.py").write_bytes((FOLDER / f"{module}.py").read_bytes())
        (folder / "pipeline_speaq.py").write_text("from .box_ops_speaq import box_iou\n")
        monkeypatch.setattr(remote_code_speaq, "_FOLDER", folder)
        return folder

    def test_entry_and_code(self, with_pipeline, tmp_path):
        config = tiny_config()
        # As a pipeline that is saved leaves it, with an Auto class that only speaq_hf has.
        impl = "pipeline_speaq.SpeaQSceneGraphPipeline"
        config.custom_pipelines = {TASK: {"impl": impl, "pt": ["AutoModelForSceneGraphGeneration"], "type": "image"}}
        config.save_pretrained(tmp_path / "saved")
        assert read(tmp_path / "saved")["custom_pipelines"] == {
            TASK: {"impl": impl, "pt": ["AutoModelForObjectDetection"], "type": "image"}
        }
        assert (tmp_path / "saved/pipeline_speaq.py").read_text() == (with_pipeline / "pipeline_speaq.py").read_text()
        assert not hasattr(SpeaQConfig.from_pretrained(tmp_path / "saved"), "custom_pipelines")

    def test_without_its_module_there_is_no_entry(self, with_pipeline, tmp_path):
        (with_pipeline / "pipeline_speaq.py").unlink()
        tiny_config().save_pretrained(tmp_path / "saved")
        assert "custom_pipelines" not in read(tmp_path / "saved")
        assert "pipeline_speaq" not in code_of(tmp_path / "saved")
