"""Cards say what the files of a model say, their metadata is what the Hub reads, and published numbers stay published."""

import ast
import json
import re
import sys
from importlib import util
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from PIL import Image

from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration
from speaq_hf.cards.card_results import read_results, to_eval_results
from speaq_hf.cards.citations import read_references, to_bibtex
from speaq_hf.cards.model_card import CardOptions, build_model_card, is_written_here, write_model_card
from speaq_hf.cards.published_results import PUBLISHED
from speaq_hf.checkpoints.checkpoint_files import CheckpointFiles
from speaq_hf.checkpoints.training_record import DataSource, TrainingRecord, public_name
from speaq_hf.packaged_models import packaged_model
from tests.helpers import save_tiny_model, tiny_config


ROOT = Path(__file__).parents[2]
CARDS = ROOT / "model_cards"


@pytest.fixture
def saved(tmp_path):
    return save_tiny_model(tmp_path / "graphs")


@pytest.fixture
def write_cards():
    spec = util.spec_from_file_location("write_cards", CARDS / "write_cards.py")
    module = util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


def packaged_record():
    return TrainingRecord.read(CheckpointFiles.of(packaged_model()))


def card_of(folder, **options):
    return build_model_card(CheckpointFiles.of(folder), CardOptions(**options))


def report(**changes):
    metrics = {"num_images": 7, "R@20": 0.12345, "R@50": float("nan"), "mR@20": None, "mR@50": 0.5}
    protocols = {"strict": {"fingerprint": "a51b", "metrics": metrics}}
    fixed = {"data": "/home/me/data/mine", "split": "test", "mode": "sgdet", "oracle": False, "iou_threshold": 0.5}
    return fixed | {"ks": [20, 50], "protocols": protocols} | changes


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def test_the_cards_of_the_repository_are_what_the_library_writes(write_cards):
    for name in ("speaq-r101-vg150", "isg-r101-vg150"):
        assert (CARDS / f"{name}.md").read_text() == write_cards.converted_card(name)
    card = write_cards.packaged_card()
    assert (packaged_model() / "README.md").read_text() == card
    assert (CARDS / "speaq-tiny.md").read_text() == write_cards.shown_elsewhere(card, packaged_model(), CARDS)


def test_pictures_of_the_cards_are_there():
    for card in (*CARDS.glob("*.md"), packaged_model() / "README.md"):
        for address in re.findall(r"!\[.*?\]\((.*?)\)", card.read_text()):
            assert (card.parent / address).is_file()


def test_metadata_of_the_packaged_model_are_its_numbers():
    text = (packaged_model() / "README.md").read_text()
    data = ModelCard(text).data
    assert (data.library_name, data.pipeline_tag, data.license) == ("transformers", "object-detection", "apache-2.0")
    assert {"scene-graph-generation", "speaq"} <= set(data.tags)
    evaluation = json.loads((packaged_model() / "evaluation_test.json").read_text())["protocols"]
    found = {(result.metric_config, result.metric_type): result.metric_value for result in data.eval_results}
    assert found == {
        (protocol, f"{metric}@{k}"): round(100 * evaluation[protocol]["metrics"][f"{metric}@{k}"], 2)
        for protocol in ("speaq", "strict")
        for metric in ("R", "ng-R", "mR", "zR", "F")
        for k in (20, 50, 100)
    }
    assert found["speaq", "R@20"] == 40.03 and found["strict", "mR@20"] == 37.58
    assert "| speaq (747d9e47) | zR | 15.00 |" in text
    assert all(result.source_name is None for result in data.eval_results)


@pytest.mark.parametrize(("name", "key"), [("speaq-r101-vg150", "speaq"), ("isg-r101-vg150", "iterative_sgg")])
def test_published_numbers_are_quoted_with_their_source_and_nothing_else(name, key):
    text = (CARDS / f"{name}.md").read_text()
    results = ModelCard(text).data.eval_results
    quoted = {result.metric_type: result.metric_value for result in results}
    published = {
        f"{m}@{k}": v for m, row in PUBLISHED[key].recalls.items() for k, v in zip((20, 50, 100), row, strict=True)
    }
    assert quoted == published and len(results) == 12
    assert {result.source_url for result in results} == {PUBLISHED[key].paper}
    assert all("not measured" in result.source_name for result in results)
    assert "Nothing was measured with these files." in text and "Measured with" not in text


def test_published_numbers_are_not_those_of_another_model(saved):
    with pytest.raises(ValueError, match="cannot be this model's, which is SpeaQ"):
        card_of(saved, published="iterative_sgg")
    with pytest.raises(ValueError, match="only of speaq, iterative_sgg"):
        card_of(saved, published="reltr")
    SpeaQConfig.iterative_sgg().save_pretrained(saved)
    (saved / "model.safetensors").unlink()
    assert "27.12" in str(card_of(saved, published="iterative_sgg"))


def test_a_converted_model_without_results_claims_none(saved):
    (saved / "conversion_report.json").write_text("{}")
    card = card_of(saved)
    assert "`speaq convert" in card.text and "Nothing was measured." in card.text
    assert card.data.eval_results is None and card.data.license is None


def test_undefined_numbers_are_left_out_and_the_others_read_back(saved, tmp_path):
    card = build_model_card(
        CheckpointFiles.of(saved), CardOptions(name="mine"), [read_results(write(tmp_path / "e.json", report()))]
    )
    results = ModelCard(str(card)).data.eval_results
    assert {result.metric_type: result.metric_value for result in results} == {"R@20": 12.35, "mR@50": 50.0}
    assert {result.dataset_name for result in results} == {"mine"}
    assert results[0].metric_args == {"rules": "a51b", "iou_threshold": 0.5, "num_images": 7}
    assert "| strict (a51b) | R | 12.35 | – |" in card.text and "/home/me" not in str(card)


def test_results_beside_the_model_enter_its_card_and_an_oracle_says_so(saved):
    write(saved / "evaluation_test.json", report())
    write(saved / "evaluation_test_predcls.json", report(mode="predcls", oracle=True))
    card = write_model_card(saved).read_text()
    assert "SGDet, 7 images" in card and "PredCls, objects matched with the annotated ones (oracle), 7 images" in card
    configs = [result.dataset_config for result in ModelCard(card).data.eval_results]
    assert configs == ["sgdet", "sgdet", "predcls-oracle", "predcls-oracle"]


def test_results_of_a_file_of_predictions_are_read(tmp_path):
    evaluation = {name: value for name, value in report().items() if name not in ("data", "split", "oracle")}
    content = {"ground_truth": "/data/vg", "predictions": [{"file": "a.jsonl"} | evaluation]}
    results = read_results(write(tmp_path / "one.json", content))
    assert (results.data, results.split, results.num_images) == ("vg", None, 7)
    assert len(to_eval_results(results)) == 2
    content["predictions"] *= 2
    with pytest.raises(ValueError, match="two.json compares 2 files"):
        read_results(write(tmp_path / "two.json", content))


@pytest.mark.parametrize("content", [[], {}, {"protocols": {}}, report(protocols={"a": {}}), report(ks=3)])
def test_what_is_no_evaluation_is_refused(tmp_path, content):
    with pytest.raises(ValueError, match="holds no evaluation"):
        read_results(write(tmp_path / "other.json", content))


def test_a_card_tells_sources_and_recipe(saved):
    record = packaged_record()
    source = DataSource("real", "owner/scenes", True, "hub", 5000, 12_000, 0.75, 1.0)
    other = DataSource("synthetic", "drawn", False, "synthetic_genome", 900, 1800, 0.25, 0.5, "synthetic")
    start = {"option": "detr", "name": "owner/detr", "on_hub": True}
    changed = {"sources": [source, other], "start": start, "num_processes": 3, "skipped_steps": 2}
    TrainingRecord(**vars(record) | changed).write(saved)
    card = ModelCard(str(card_of(saved)))
    assert (card.data.datasets, card.data.base_model) == (["owner/scenes"], "owner/detr")
    for line in (
        "| real | owner/scenes (hub) | 5,000 | 12,000 | 75 % | 1 |",
        "| synthetic | drawn (synthetic_genome, drawn) | 900 | 1,800 | 25 % | 0.5 |",
        "| images per step | 48 (16 × 3 processes) |",
        "| steps | 3,800, 2 of them skipped |",
        "| schedule | cosine to 0, rising from 0 in the first 4 % of the steps |",
        "from the detector owner/detr.",
    ):
        assert line in card.text
    assert "drawn scenes only" not in card.text
    options = yaml.safe_load(re.search(r"```yaml\n(.*?)```", card.text, re.DOTALL).group(1))
    assert options == record.options


def test_without_an_evaluation_the_validation_of_the_training_is_shown(saved):
    packaged_record().write(saved)
    card = card_of(saved)
    assert "split val: SGDet, 185 images" in card.text
    value = packaged_record().evaluation["R@20"]
    assert card.data.eval_results[0].metric_value == round(100 * value, 2)


def test_the_code_of_a_card_runs(saved, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (80, 60), (90, 60, 30)).save("photo.jpg")
    code = re.search(r"```python\n(.*?)```", card_of(saved).text, re.DOTALL).group(1)
    exec(code, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines and all(re.fullmatch(r"0\.\d\d  \w+ \w+ \w+", line) for line in lines)
    assert Image.open("graph.png").width > 100


def test_only_what_people_wrote_is_not_replaced(saved):
    path = write_model_card(saved)
    assert is_written_here(path) and is_written_here(saved / "none.md") and not is_written_here(saved)
    path.write_text("# My model\n")
    assert not is_written_here(path)


def test_every_paper_becomes_an_entry_with_its_own_key():
    entries = [to_bibtex(reference) for reference in read_references()]
    keys = [re.match(r"@inproceedings{(\w+),", entry).group(1) for entry in entries]
    assert keys == ["kim2024groupwise", "khandelwal2022iterative"]
    assert "author = {Khandelwal, Siddhesh and Sigal, Leonid}" in entries[1]


def test_places_of_the_machine_are_not_told(tmp_path):
    assert public_name(tmp_path / "vg") == "vg"
    assert public_name("owner/name") == "owner/name" and public_name("data/vg") == "data/vg"
    assert public_name("~/vg") == "vg"


def test_names_are_no_markdown(tmp_path):
    """Vocabularies of downloaded models hold anything; so do names that a shell gives."""
    config = tiny_config()
    names = ["a|b", "x\n# Heading\n", "<script>alert(1)</script>", "[link](javascript:alert(1))", "---\nlicense: mit"]
    names += list(config.id2label.values())[len(names) :]
    names = names[: len(config.id2label)]
    odd = tiny_config(id2label=dict(enumerate(names)), object_counts=[0] * len(names))
    SpeaQForSceneGraphGeneration(odd).save_pretrained(tmp_path)
    source = '"); import os; ("'
    text = str(card_of(tmp_path, name="mine\n---\n<b>|", source=source))
    assert "# mine --- \\<b\\>\\|\n" in text and "\n# Heading" not in text and "\nlicense: mit" not in text
    assert re.search(r"(?<!\\)(<script|\[link)", text) is None
    [row] = [line for line in text.splitlines() if line.startswith("| object classes")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    [line] = [line for line in text.splitlines() if "from_pretrained(" in line]
    assert ast.literal_eval(line.split("from_pretrained(")[1][:-1]) == source


def test_published_numbers_are_not_those_of_weights_that_were_trained_here():
    with pytest.raises(ValueError, match="was trained here"):
        card_of(packaged_model(), published="speaq")
