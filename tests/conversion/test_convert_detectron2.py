import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from conversion.convert_detectron2 import convert, load_checkpoint
from conversion.detectron2_settings import read_settings
from conversion.detectron2_weights import rename
from speaq_hf import AutoModelForSceneGraphGeneration, SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil
from tests.helpers import REFERENCE, read_reference


CHECKPOINT, CONFIG = REFERENCE / "checkpoint_speaq.pth", REFERENCE / "config_speaq.json"


@pytest.fixture
def content() -> dict:
    return torch.load(CHECKPOINT, weights_only=True)


def write_settings(path: Path, **changes: object) -> Path:
    settings = read_reference("config_speaq.json") | changes
    path.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))
    return path


def nest(settings: dict) -> dict:
    nested: dict = {}
    for key, value in settings.items():
        *parents, name = key.split(".")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return nested


class TestReport:
    def test_every_tensor_is_accounted_for(self, tmp_path, content):
        model, report = convert(CHECKPOINT, CONFIG, tmp_path / "out")
        assert set(report.mapped) | set(report.ignored) == {*content["model"], "iteration", "__author__"}
        assert not set(report.mapped) & set(report.ignored)
        ours = [name for names in report.mapped.values() for name in names]
        assert sorted(ours) == sorted(model.state_dict())  # each of ours comes from exactly one place
        assert report.missing == []
        assert json.loads((tmp_path / "out" / "conversion_report.json").read_text())["mapped"] == report.mapped

    def test_other_entries_are_named_and_ignored(self, tmp_path, content):
        content |= {"optimizer": {"state": {}}, "scheduler": {}}
        content["model"]["backbone.extra"] = torch.zeros(1)
        torch.save(content, tmp_path / "x.pth")
        _, report = convert(tmp_path / "x.pth", CONFIG, tmp_path / "out")
        assert {"optimizer", "scheduler", "backbone.extra"} <= report.ignored.keys()
        assert "ignored: optimizer" in report.summary()

    def test_plain_state_dict(self, tmp_path, content):
        torch.save(content["model"], tmp_path / "x.pth")
        model, _ = convert(tmp_path / "x.pth", CONFIG, tmp_path / "out")
        assert isinstance(model, SpeaQForSceneGraphGeneration)


class TestResult:
    def test_loads_with_the_auto_classes(self, converted_dir):
        model, info = AutoModelForSceneGraphGeneration.from_pretrained(converted_dir, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"]
        processor = SpeaQImageProcessorPil.from_pretrained(converted_dir)
        assert processor.size["shortest_edge"] == 800 and processor.size["longest_edge"] == 1333
        assert processor.image_mean == pytest.approx([0.485, 0.456, 0.406])
        assert model.config.predicate_class_weights == pytest.approx(
            torch.load(CHECKPOINT, weights_only=True)["model"]["criterion.empty_rel_weight"].tolist()
        )

    def test_settings_become_the_configuration(self, converted_dir):
        config = SpeaQForSceneGraphGeneration.from_pretrained(converted_dir).config
        assert (config.assignment, config.assignment_quality, config.num_query_groups) == ("dynamic", "max", 4)
        assert (config.assignment_topk, config.assignment_predicate_weight, config.match_per_layer) == (4, -0.5, True)
        assert (config.encoder_layers, config.decoder_layers, config.relation_query_multiplier) == (2, 3, 2)
        assert (config.predicate_reweight_alpha, config.predicate_reweight_beta) == (0.07, 0.75)
        assert (config.freeze_backbone_stages, config.dropout, config.decoder_attention_heads) == (2, 0.1, 4)

    def test_baseline_is_iterative_sgg(self, tmp_path):
        model, _ = convert(REFERENCE / "checkpoint_baseline.pth", REFERENCE / "config_baseline.json", tmp_path / "out")
        config = model.config
        assert (config.assignment, config.match_per_layer, config.num_query_groups) == ("one_to_one", False, 1)
        assert config.relation_query_multiplier == 1

    @pytest.mark.parametrize("nested", [True, False])
    def test_yaml_equals_json(self, tmp_path, nested):
        settings = read_reference("config_speaq.json")
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(nest(settings) if nested else settings))
        assert read_settings(path) == settings

    def test_bgr_network_sees_the_same_picture(self, tmp_path, converted_dir):
        bgr = write_settings(tmp_path / "c.json", **{"INPUT.FORMAT": "BGR"})
        model, _ = convert(CHECKPOINT, bgr, tmp_path / "out")
        image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        expected = SpeaQForSceneGraphGeneration.from_pretrained(converted_dir)(image.flip(1)).predicate_logits
        torch.testing.assert_close(model.eval()(image).predicate_logits, expected, rtol=0, atol=5e-4)
        mean = SpeaQImageProcessorPil.from_pretrained(tmp_path / "out").image_mean
        assert mean == pytest.approx([0.406, 0.456, 0.485])

    def test_other_vocabulary(self, tmp_path):
        names = {"label_to_idx": {f"thing {i}": i for i in range(1, 151)}}
        names["predicate_to_idx"] = {f"does {i}": i for i in range(1, 51)}
        (tmp_path / "names.json").write_text(json.dumps(names))
        model, _ = convert(CHECKPOINT, CONFIG, tmp_path / "out", tmp_path / "names.json")
        assert model.config.id2label[0] == "thing 1" and model.config.id2predicate[49] == "does 50"
        assert model.config.group_predicate_counts is None  # Visual Genome's counts belong to its predicates

    def test_command(self, tmp_path):
        root = REFERENCE.parents[1]
        command = [sys.executable, "conversion/convert_detectron2.py", "--checkpoint", CHECKPOINT, "--config", CONFIG]
        done = subprocess.run([*command, "--output", tmp_path / "out"], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "missing: nothing" in done.stdout
        again = subprocess.run([*command, "--output", tmp_path / "out"], cwd=root, capture_output=True, text=True)
        assert again.returncode == 1 and "not an empty directory" in again.stderr and "Traceback" not in again.stderr


@pytest.fixture(scope="module")
def converted_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("converted") / "speaq"
    convert(CHECKPOINT, CONFIG, path)
    return path


class Executes:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("executed"),))


class TestRefusals:
    def test_pickled_code_is_not_executed(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        torch.save({"model": {"x": torch.zeros(1)}, "trainer": Executes()}, "evil.pth")
        with pytest.raises(ValueError, match="refused.*could execute code"):
            load_checkpoint(Path("evil.pth"))
        (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Executes()))
        with pytest.raises(ValueError):
            load_checkpoint(Path("plain.pkl"))
        assert not Path("executed").exists()

    @pytest.mark.parametrize("data", [b"", b"not a checkpoint", CHECKPOINT.read_bytes()[:5000]])
    def test_corrupt_file(self, tmp_path, data):
        (tmp_path / "x.pth").write_bytes(data)
        with pytest.raises(ValueError, match="x.pth"):
            load_checkpoint(tmp_path / "x.pth")

    def test_missing_files(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="nothing.pth"):
            convert(tmp_path / "nothing.pth", CONFIG, tmp_path / "out")
        with pytest.raises(FileNotFoundError, match="nothing.yaml"):
            convert(CHECKPOINT, tmp_path / "nothing.yaml", tmp_path / "out")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"MODEL.DETR.HIDDEN_DIM": 64}, "MODEL.DETR.HIDDEN_DIM is 64.*say 32"),
            ({"MODEL.DETR.PRE_NORM": True}, "MODEL.DETR.PRE_NORM"),
            ({"MODEL.RESNETS.DEPTH": 101}, "MODEL.RESNETS.DEPTH is 101"),
            ({"MODEL.RESNETS.NUM_GROUPS": 32}, "MODEL.RESNETS.NUM_GROUPS"),
            ({"MODEL.DETR.ONE2MANY_DYNAMIC_SCHEME": "median"}, "ONE2MANY_DYNAMIC_SCHEME.*median"),
            ({"INPUT.FORMAT": "YUV"}, "INPUT.FORMAT"),
        ],
    )
    def test_settings_that_do_not_fit(self, tmp_path, changes, message):
        with pytest.raises(ValueError, match=message):
            convert(CHECKPOINT, write_settings(tmp_path / "c.json", **changes), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("c.json", "{", "cannot be read"),
            ("c.yaml", "a: [", "cannot be read"),
            ("c.yaml", "- 1", "mapping"),
            ("c.yaml", "_BASE_: other.yaml", "_BASE_"),
        ],
    )
    def test_unreadable_settings(self, tmp_path, name, text, message):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=message):
            read_settings(tmp_path / name)

    def test_missing_weights_and_wrong_shapes(self, tmp_path, content):
        bias = content["model"].pop("detr.input_proj.bias")
        torch.save(content, tmp_path / "x.pth")
        with pytest.raises(ValueError, match=r"Missing: \['model.input_projection.bias'\]"):
            convert(tmp_path / "x.pth", CONFIG, tmp_path / "out")
        content["model"]["detr.input_proj.bias"] = bias[:-1]
        torch.save(content, tmp_path / "x.pth")
        with pytest.raises(ValueError, match=r"model.input_projection.bias: \(31,\) instead of \(32,\)"):
            convert(tmp_path / "x.pth", CONFIG, tmp_path / "out")

    def test_another_network(self, tmp_path):
        torch.save({"model": {"conv.weight": torch.zeros(1)}}, tmp_path / "x.pth")
        with pytest.raises(ValueError, match="not a SpeaQ or Iterative SGG checkpoint"):
            convert(tmp_path / "x.pth", CONFIG, tmp_path / "out")


def test_unknown_names_are_not_guessed():
    assert rename("detr.class_embed.weight") is None
