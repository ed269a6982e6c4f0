import gzip
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
import yaml

from conversion.convert_detectron2 import convert, main
from conversion.detectron2_checkpoint import load_checkpoint
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

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "x.pth is no PyTorch checkpoint: it is empty"),
            (b"hello world", "no PyTorch checkpoint: it begins with b'hello world'"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer.*git lfs pull"),
            (b"\n<!DOCTYPE html><html>", "web page"),
            (b'{"model": {}}', "JSON"),
            (gzip.compress(b"hello", mtime=0), "gunzip"),
            (b"PK\x03\x04 and then nothing", "x.pth is not a readable PyTorch checkpoint"),
            (b"\x80\x02hello", "x.pth is not a readable PyTorch checkpoint"),
            (CHECKPOINT.read_bytes()[:5000], "x.pth is not a readable PyTorch checkpoint"),
        ],
    )
    def test_no_checkpoint(self, tmp_path, data, message):
        (tmp_path / "x.pth").write_bytes(data)
        with pytest.raises(ValueError, match=message):
            load_checkpoint(tmp_path / "x.pth")

    @pytest.mark.parametrize(
        ("state", "message"),
        [
            ({7: torch.zeros(1)}, "names in the state dict must be text, got 7"),
            ({"a.b": torch.eye(3).to_sparse()}, "a.b must be a dense tensor, got torch.sparse_coo"),
            ({"a.b": torch.zeros(3, device="meta")}, "a.b must be a dense tensor.*meta"),
        ],
    )
    def test_entries_that_cannot_be_weights(self, tmp_path, state, message):
        torch.save({"model": state}, tmp_path / "x.pth")
        with pytest.raises(ValueError, match=message):
            load_checkpoint(tmp_path / "x.pth")

    def test_format_of_before_2020(self, tmp_path, content):
        torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
        assert load_checkpoint(tmp_path / "x.pth")[0].keys() == content["model"].keys()

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
            ({"MODEL.DETR.ONE2MANY_SCHEME": "foo"}, "ONE2MANY_SCHEME must be 'static' or 'dynamic', got 'foo'"),
            ({"MODEL.DETR.MATCHER": "Foo"}, "'IterativeHungarianMatcher' or 'SpeaQHungarianMatcher', got 'Foo'"),
            ({"MODEL.DETR.MULTIPLY_QUERY": 1}, "MULTIPLY_QUERY is 1.*tensors say 2.*command line"),
            ({"MODEL.DETR.NHEADS": "8"}, "NHEADS must be a whole number, got '8'"),
            ({"MODEL.DETR.NHEADS": True}, "NHEADS must be a whole number, got True"),
            ({"MODEL.DETR.NHEADS": 0}, "NHEADS must be at least 1"),
            ({"MODEL.DETR.NHEADS": 5}, "multiple of `encoder_attention_heads`"),
            ({"MODEL.DETR.DROPOUT": "a"}, "DROPOUT must be a finite number, got 'a'"),
            ({"MODEL.DETR.DEEP_SUPERVISION": 1}, "DEEP_SUPERVISION must be true or false"),
            ({"MODEL.PIXEL_MEAN": "x"}, "PIXEL_MEAN must be a list of three finite numbers, got 'x'"),
            ({"MODEL.PIXEL_MEAN": [1, 2]}, "PIXEL_MEAN must be a list of three"),
            ({"MODEL.PIXEL_STD": [1, 2, float("nan")]}, "PIXEL_STD must be a list of three finite numbers"),
            ({"MODEL.PIXEL_STD": [1, 2, 0]}, "PIXEL_STD must be positive"),
            ({"INPUT.MIN_SIZE_TEST": 0}, "MIN_SIZE_TEST must be at least 1"),
            ({"INPUT.MAX_SIZE_TEST": 13.5}, "MAX_SIZE_TEST must be a whole number"),
            ({"INPUT.FORMAT": "YUV"}, "INPUT.FORMAT must be 'RGB' or 'BGR'"),
            ({"INPUT.FORMAT": ["RGB"]}, "INPUT.FORMAT must be text"),
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
            ("c.json", "{}", "has no MODEL.DETR keys"),
            ("c.yaml", "1: 2", "has no MODEL.DETR keys"),
            ("c.yaml", "MODEL: {DETR: null}", "has no MODEL.DETR keys"),
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

    def test_null_is_no_default(self, tmp_path):
        settings = read_reference("config_speaq.json") | {"MODEL.DETR.NHEADS": None}
        (tmp_path / "c.json").write_text(json.dumps(settings))
        with pytest.raises(ValueError, match="NHEADS must be a whole number, got None"):
            convert(CHECKPOINT, tmp_path / "c.json", tmp_path / "out")

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ([1], "must hold an object"),
            ({"a": "1"}, "`label_to_idx` must map"),
            ({"label_to_idx": {"a": "1"}}, "`label_to_idx` must map"),
            ({"label_to_idx": {"a": 1}, "predicate_to_idx": ["b"]}, "`predicate_to_idx` must map"),
            (None, "There is no categories file"),
        ],
    )
    def test_other_categories_files(self, tmp_path, names, message):
        path = tmp_path / "names.json"
        path.mkdir() if names is None else path.write_text(json.dumps(names))
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            convert(CHECKPOINT, CONFIG, tmp_path / "out", path)

    @pytest.mark.parametrize("kind", ["file", "below a file", "link to a file", "full folder"])
    def test_output_that_cannot_be_made(self, tmp_path, capsys, kind):
        (tmp_path / "file").touch()
        (tmp_path / "link to a file").symlink_to(tmp_path / "file")
        (tmp_path / "full folder" / "inner").mkdir(parents=True)
        with pytest.raises(typer.Exit) as end:
            main(tmp_path / "nothing.pth", CONFIG, tmp_path / kind.replace("below a file", "file/out"))
        assert end.value.exit_code == 1  # and this came before the missing checkpoint:
        assert capsys.readouterr().err.startswith(f"error: {tmp_path}") and (tmp_path / "file").is_file()


def test_link_to_an_empty_folder_is_kept(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    convert(CHECKPOINT, CONFIG, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target" / "config.json").is_file()


def test_assumed_number_of_heads_is_reported(tmp_path, caplog):
    model, report = convert(
        CHECKPOINT, write_settings(tmp_path / "c.json", **{"MODEL.DETR.NHEADS": None}), tmp_path / "o"
    )
    assert model.config.decoder_attention_heads == report.assumed["MODEL.DETR.NHEADS"] == 8
    assert "MODEL.DETR.NHEADS is not in" in caplog.text and "assumed: MODEL.DETR.NHEADS = 8" in report.summary()
    assert json.loads((tmp_path / "o" / "conversion_report.json").read_text())["assumed"] == report.assumed
    assert "MODEL.DETR.DROPOUT" not in report.assumed


def test_unknown_names_are_not_guessed():
    assert rename("detr.transformer.encoder.layers.0.norm3.weight") == "model.encoder.layers.0.norm3.weight"
    assert rename("detr.class_embed.weight") is None
