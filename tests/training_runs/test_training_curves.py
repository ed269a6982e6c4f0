import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from speaq_hf.cli import app
from speaq_hf.training_runs.training_curves import plot_training_log, read_log


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


def write(folder, **losses):
    folder.mkdir()
    lines = [{"step": step, "type": "train", "loss": 3 - step / 10} | losses for step in range(1, 11)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def titled(figure):
    return {axis.get_title(loc="left"): axis for axis in figure.axes}


def legend(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_every_loss_of_each_source_is_drawn(tmp_path):
    names = [
        f"loss_{kind}_{stream}/{source}"
        for kind in ("class", "bbox", "giou")
        for stream in ("subject", "object")
        for source in ("real", "synthetic")
    ]
    axes = titled(plot_training_log(write(tmp_path / "run", **dict.fromkeys(names, 1.0))))
    drawn = [label for title, axis in axes.items() if "each source" in title for label in legend(axis)]
    assert sorted(drawn) == sorted(name.removeprefix("loss_").replace("_", " ") for name in names)
    detector = titled(plot_training_log(write(tmp_path / "detector", loss_class=1.0, loss_bbox=1.0, loss_giou=1.0)))
    assert legend(detector["Losses of the last layer: boxes"]) == ["bbox", "giou"]


def test_several_runs_are_drawn_over_each_other(tmp_path):
    runs = [
        write(tmp_path / name, loss_predicate=value, loss_class_subject=1.0)
        for name, value in (("a", 1.0), ("b", 2.0))
    ]
    axes = titled(plot_training_log(*runs))
    assert legend(axes["Loss, all layers together"]) == ["a", "b"]
    lines = axes["Losses of the last layer: classes and predicate"].lines
    looks = {line.get_label(): (line.get_color(), line.get_linestyle()) for line in lines}
    assert set(looks) == {"predicate, a", "class subject, a", "predicate, b", "class subject, b"}
    assert len(set(looks.values())) == 4 and looks["predicate, a"][0] == looks["predicate, b"][0]
    result = CliRunner().invoke(app, ["plot-log", *map(str, runs)])
    assert result.exit_code == 0 and (tmp_path / "curves.png").exists()
    with pytest.raises(ValueError, match="at least one run"):
        plot_training_log()
    assert legend(titled(plot_training_log(runs[0], runs[0]))["Loss, all layers together"]) == ["a (1)", "a (2)"]


@pytest.mark.parametrize("high", [2.1, 5.0, 40.0, 1e5])
def test_a_logarithmic_axis_has_several_numbers(tmp_path, high):
    folder = write(tmp_path / "run")
    (folder / "log.jsonl").write_text(
        "".join(json.dumps({"step": i, "type": "train", "loss": v}) + "\n" for i, v in ((1, high), (2, 1.0)))
    )
    figure = plot_training_log(folder)
    figure.draw_without_rendering()
    (axis,) = figure.axes
    low, top = axis.get_ylim()
    assert len([tick for tick in axis.get_yticks() if low <= tick <= top]) >= 3


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
