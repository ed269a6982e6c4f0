"""Times are those of the parts, and options that cannot be measured are refused."""

import dataclasses
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from speaq_hf import SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil
from speaq_hf.inspection.benchmark_run import BenchOptions, run_benchmark
from speaq_hf.inspection.model_benchmark import Timing, measure, measure_batch, peak_memory, reset_peak_memory
from speaq_hf.inspection.report_tables import benchmark_text
from speaq_hf.inspection.system_report import extras, missing_libraries, system_report
from speaq_hf.predictor import SceneGraphPredictor
from tests.helpers import tiny_config


@pytest.fixture(scope="module")
def predictor():
    processor = SpeaQImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 100})
    return SceneGraphPredictor(SpeaQForSceneGraphGeneration(tiny_config()), processor)


def test_a_timing_is_the_middle_of_its_runs():
    assert Timing.of([3.0, 1.0, 2.0, 100.0, 2.0]) == Timing(2.0, 2.0, 3.0, 5)
    assert Timing.of([4.0]) == Timing(4.0, 4.0, 4.0, 1)


def test_runs_to_warm_up_do_not_count():
    waits = iter([0.2, 0.01, 0.01, 0.01])
    timing = measure(lambda: time.sleep(next(waits)), repeats=3, warm_up=1)
    assert timing.count == 3 and 0.01 <= timing.median <= timing.high < 0.2


def test_a_slow_part_is_found_in_its_stage(predictor, monkeypatch):
    post_process = predictor.processor.post_process_scene_graph

    def slow(*arguments, **options):
        time.sleep(0.3)
        return post_process(*arguments, **options)

    monkeypatch.setattr(predictor.processor, "post_process_scene_graph", slow)
    speed = measure_batch(predictor, _image(), batch_size=3, repeats=2, warm_up=0)
    assert list(speed.stages) == ["preprocess", "forward", "post-process", "total"]
    assert speed.stages["post-process"].median > 0.3 > speed.stages["forward"].median
    assert speed.images_per_second == pytest.approx(3 / speed.stages["total"].median)


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"batch_size": 1, "repeats": 0}, {"batch_size": 1, "warm_up": -1}]
)
def test_numbers_too_small_are_named(predictor, options):
    with pytest.raises(ValueError, match=f"{list(options)[-1]} must be at least"):
        measure_batch(predictor, _image(), **options)


def test_the_peak_of_a_process_is_what_the_system_says():
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("this system has no /proc")
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
    assert peak_memory(torch.device("cpu")) == pytest.approx(1024 * int(kilobytes), rel=0.05)


@pytest.mark.parametrize("knows_memory", [True, False])
def test_the_peak_of_an_accelerator_is_its_own_if_it_tells(monkeypatch, knows_memory):
    peaks = {"cuda": 900}
    known = {"reset_peak_memory_stats": lambda device: peaks.update({device.type: 0}),
             "max_memory_allocated": lambda device: peaks[device.type]}  # fmt: skip
    monkeypatch.setattr(torch, "get_device_module", lambda device: SimpleNamespace(**known if knows_memory else {}))
    device = torch.device("cuda")
    assert peak_memory(device) == (900 if knows_memory else None)
    reset_peak_memory(device)
    assert peak_memory(device) == (0 if knows_memory else None)


def test_the_packaged_model_is_measured_on_noise():
    report, speeds = run_benchmark(BenchOptions(batch_sizes=(1, 2), repeats=1, warm_up=0))
    assert report["model"] == "speaq-tiny" and report["image"] == "noise, 640 x 480" and report["dtype"] == "float32"
    assert [speed.batch_size for speed in speeds] == [1, 2]
    assert json.dumps([dataclasses.asdict(speed) for speed in speeds])
    lines = benchmark_text(report, speeds).splitlines()
    assert lines[-3].split() == "batch preprocess forward post-process total images/s peak memory".split()
    assert [line.split()[0] for line in lines[-2:]] == ["1", "2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "dtype must be one of float32, bfloat16, float16, got int8"),
        ({"form": "fast"}, "must be one of optimized, plain, compiled, got fast"),
        ({"model": "speaq.onnx", "dtype": "bfloat16"}, "speaq.onnx is measured as it was exported"),
        ({"model": "/nowhere.onnx"}, "there is no file /nowhere.onnx"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"device": "abacus"}, "there is no device 'abacus'"),
        ({"image": "/nowhere.jpg"}, "nowhere.jpg cannot be read: No such file"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run_benchmark(BenchOptions(**options))


def test_a_model_is_measured_in_the_form_that_was_asked_for(monkeypatch):
    models = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: models.append(options))
    monkeypatch.setattr(
        "speaq_hf.inspection.benchmark_run.measure_batch", lambda predictor, *_: models.append(predictor.model)
    )
    for form in ("plain", "optimized", "compiled"):
        report, _ = run_benchmark(BenchOptions(form=form, batch_sizes=(1,)))
        assert report["form"] == form
    plain, optimized, compilation, compiled = models
    assert compilation == {"dynamic": True}
    assert [model.is_optimized_for_inference for model in (plain, optimized, compiled)] == [False, True, True]


def test_the_system_report_names_what_an_extra_lacks(monkeypatch):
    report = system_report()
    assert json.loads(json.dumps(report)) == report
    assert report["versions"]["torch"] == torch.__version__ and report["devices"][0]["type"] == "cpu"
    assert set(report["extras"]) == set(extras()) >= {"train", "viz"}
    needs = [
        "torch>=2.6",
        'h5py>=3.10; extra == "train"',
        'no-such-library>=1; extra == "train"',
        "other; extra == 'viz'",
    ]
    monkeypatch.setattr("speaq_hf.inspection.system_report.metadata.requires", lambda name: needs)
    assert missing_libraries("train") == ["no-such-library>=1"] and missing_libraries("viz") == ["other"]


def _image():
    return Image.new("RGB", (80, 60))
