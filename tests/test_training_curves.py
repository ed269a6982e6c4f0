import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from speaq_hf.cli import app
from speaq_hf.training_curves import plot_training_log, read_log


@pytest.fixture
def run(tmp_path):
    """The log of a mixed run of 300 lines, of which a crash cut the last."""
    folder = tmp_path / "run"
    folder.mkdir()
    lines = []
    for step in range(10, 3010, 10):
        losses = {"loss": 30 / step, "loss_predicate": 1.0, "loss_class_subject": 2.0, "loss_bbox_subject": 0.1}
        sources = {f"loss_predicate/{name}": value for name, value in (("real", 1.5), ("synthetic", 0.5))}
        lines.append({"step": step, "type": "train", "learning_rate": 1e-4, "gradient_norm": None} | losses | sources)
        if step % 1000 == 0:
            lines.append({"step": step, "type": "evaluation", "R@20": step / 1e4, "mR@20": None, "num_images": 6})
    lines.insert(3, {"step": 40, "type": "skipped", "image_ids": [7]})
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 3010, "ty')
    return folder


def test_curves_show_what_was_logged(run):
    axes = {axis.get_title(loc="left"): axis for axis in plot_training_log(run).axes}
    assert len(axes) == 7  # no box losses of the sources were logged
    by_source = axes["Predicate loss of each source"]
    assert [text.get_text() for text in by_source.get_legend().get_texts()] == [
        "predicate/real",
        "predicate/synthetic",
    ]
    assert by_source.lines[0].get_ydata() == pytest.approx([1.5] * len(by_source.lines[0].get_ydata()))
    recall = axes["Recall on the validation images (%)"].lines[0]
    assert (list(recall.get_xdata()), list(recall.get_ydata())) == ([1000, 2000, 3000], [10, 20, 30])
    loss = axes["Loss, all layers together"].lines[0]
    assert 50 <= len(loss.get_xdata()) <= 60 and loss.get_xdata()[-1] <= 3000


def test_command(run, tmp_path):
    result = CliRunner().invoke(app, ["plot-log", str(run)])
    assert result.exit_code == 0 and str(run / "curves.png") in result.output.replace("\n", "")
    assert Image.open(run / "curves.png").width > 1000
    result = CliRunner().invoke(app, ["plot-log", str(run / "log.jsonl"), "--output", str(tmp_path / "curves.svg")])
    assert result.exit_code == 0 and "<svg" in (tmp_path / "curves.svg").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.svg", "run"]
    result = CliRunner().invoke(app, ["plot-log", str(run), "--output", str(tmp_path)])
    assert result.exit_code == 2 and "folder" in result.output and not list(tmp_path.parent.glob(".*.tmp"))
    result = CliRunner().invoke(app, ["plot-log", str(tmp_path / "nowhere")])
    assert result.exit_code == 2 and "Invalid value" in result.output


def test_damaged_logs_are_named(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1, "type": "train"}\nnot json\n')
    with pytest.raises(ValueError, match="log.jsonl, line 2: expected a JSON object, got 'not json'"):
        read_log(tmp_path)
    (tmp_path / "log.jsonl").write_text("[1]\n")
    with pytest.raises(ValueError, match="line 1: expected an object with a whole number 'step'"):
        read_log(tmp_path)
    for type in (["train"], None, 3):
        (tmp_path / "log.jsonl").write_text(json.dumps({"step": 1, "type": type}) + "\n")
        with pytest.raises(ValueError, match="line 1: expected an object with a text 'type'"):
            read_log(tmp_path)
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(ValueError, match="no training step yet"):
        read_log(tmp_path)
