"""The demo, with a handful of images and steps."""

import json
import shutil

import pytest

from training import demo


STEPS = ("--training.max_steps=2", "--training.batch_size=4", "--evaluation.steps=0")


@pytest.fixture
def output(tmp_path, monkeypatch):
    for name, value in {"NUM_VALIDATION_IMAGES": 4, "NUM_TEST_IMAGES": 6, "NUM_PICTURES": 2}.items():
        monkeypatch.setattr(demo, name, value)
    demo.run_demo(tmp_path / "demo", num_images=20, overrides=STEPS)
    return tmp_path / "demo"


def test_everything_is_there(output, capsys, monkeypatch):
    report = json.loads((output / "results.json").read_text())
    assert set(report["metrics"]) == {"trained", "untrained"} and 0 < report["frequency_baseline"] <= 1
    assert set(demo.METRICS) <= report["metrics"]["trained"].keys()
    page = (output / "index.html").read_text()
    assert page.count("<img") >= 2 and "R@20" in page
    before = (output / "data" / "demo.json").stat().st_mtime_ns
    demo.generate_data(output / "data", num_images=20)  # a second run uses the scenes again
    assert (output / "data" / "demo.json").stat().st_mtime_ns == before
    assert "holds the scenes already" in capsys.readouterr().out
    shutil.rmtree(output / "run")
    with pytest.raises(SystemExit, match="exit code"):
        monkeypatch.setattr(
            "sys.argv", ["demo.py", "--output", str(output), "--num_images", "20", "--training.colour", "red"]
        )
        demo.main()
