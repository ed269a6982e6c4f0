"""A saved model comes with how it was made and a card, and is saved without them if they cannot be written."""

import json
import sys

import pytest
from huggingface_hub import ModelCard

from speaq_hf.checkpoints.checkpoint_files import CheckpointFiles
from speaq_hf.checkpoints.training_record import TrainingRecord
from training import pretrain_detector

from .test_pretrain_detector import run as run_program
from .test_train import run


def record_of(folder):
    return TrainingRecord.read(CheckpointFiles.of(folder))


def test_the_model_of_a_mixture_tells_its_sources_recipe_and_validation(micro_run, genome, tmp_path):
    mixture = ("--data.synthetic_root", str(genome), "--training.gradient_accumulation_steps", "2")
    folder = run(micro_run("graphs", *mixture, "--evaluation.steps", "2"))
    record = record_of(folder)
    assert (record.step, record.images_per_step, record.num_validation_images, record.start) == (4, 8, 6, None)
    real, synthetic = record.sources
    assert (real.ratio, synthetic.ratio, real.loss_weight, synthetic.loss_weight) == (0.7, 0.3, 1.0, 0.5)
    assert (
        real.num_images == synthetic.num_images > 0 and real.num_relations == synthetic.num_relations > real.num_images
    )
    assert (real.generated, real.format, real.data) == ("synthetic", "synthetic_genome", genome.name)
    logged = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    last = [entry for entry in logged if entry["type"] == "evaluation"][-1]
    assert {name: last[name] for name in record.evaluation} == record.evaluation and last["step"] == 4
    card = (folder / "final" / "README.md").read_text()
    values = {result.metric_type: result.metric_value for result in ModelCard(card).data.eval_results}
    assert values["R@20"] == round(100 * last["R@20"], 2)
    assert f"# {folder.name}\n" in card and "drawn scenes only" in card
    assert str(tmp_path) not in card + (folder / "final" / "training_run.json").read_text()
    assert record_of(folder / "best").step in (2, 4) and (folder / "best" / "README.md").is_file()


def test_what_was_measured_before_a_resumed_step_is_not_told_of_it(micro_run):
    run(micro_run("run", "--evaluation.steps", "2", "--training.max_steps", "2"))
    folder = run(micro_run("run", "--evaluation.steps", "0", "--training.resume_from", "auto"))
    assert record_of(folder).evaluation is None
    assert "Nothing was measured." in (folder / "final" / "README.md").read_text()


def test_a_model_tells_what_it_started_from(micro_run, tmp_path):
    first = run(micro_run("first", "--training.max_steps", "1"))
    second = run(micro_run("second", "--model.pretrained", str(first / "final"), "--training.max_steps", "1"))
    assert record_of(second).start == {"option": "pretrained", "name": "final", "on_hub": False}
    card = ModelCard((second / "final" / "README.md").read_text())
    assert "from the scene graph model final." in card.text and card.data.base_model is None


@pytest.mark.parametrize("missing", ["jinja2", "CITATION.cff"])
def test_a_model_is_saved_without_a_card_if_it_cannot_be_written(micro_run, monkeypatch, caplog, missing):
    if missing == "jinja2":
        monkeypatch.setitem(sys.modules, "jinja2", None)
        monkeypatch.delitem(sys.modules, "speaq_hf.cards.text_templates", raising=False)
    else:
        monkeypatch.setattr("speaq_hf.project_files._MARKS", ("no such file",))
    folder = run(micro_run("run", "--training.max_steps", "1"))
    assert (folder / "final" / "model.safetensors").is_file() and record_of(folder).step == 1
    assert not (folder / "final" / "README.md").exists()
    assert "No model card was written" in caplog.text


def test_a_detector_has_a_record_and_no_card(micro_run):
    words = micro_run("detector", "--training.max_steps", "1", evaluation={"best_metric": "recall@10"})
    folder = run_program(words, pretrain_detector)
    assert record_of(folder).step == 1
    assert not (folder / "final" / "README.md").exists()
