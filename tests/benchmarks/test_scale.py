"""The benchmarks of scale and of devices run, and what they compute of what they measure is right."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import accelerator, evaluation, import_time, scale
from benchmarks.made_models import made_config
from benchmarks.memory_model import GIBIBYTE, MemoryModel
from benchmarks.scale_point import Point


class TestMemoryModel:
    MODEL = MemoryModel(model=1e9, image=2e8, cell=1e6)

    def points(self, sizes):
        return [{"batch": b, "cells": c, "peak": self.MODEL.peak(b, c)} for b, c in sizes]

    def test_finds_the_numbers_behind_its_points(self):
        found = MemoryModel.fit(self.points([(1, 48), (2, 48), (1, 140)]))
        assert found.peak(7, 1050) == pytest.approx(self.MODEL.peak(7, 1050), rel=1e-6)
        (held_out,) = self.points([(2, 140)])
        assert found.error(held_out) == pytest.approx(0, abs=1e-6)
        assert found.error(held_out | {"peak": held_out["peak"] / 2}) == pytest.approx(1)

    def test_largest_batch_is_the_largest_that_fits(self):
        batch = self.MODEL.largest_batch(24 * GIBIBYTE, 1050)
        assert self.MODEL.peak(batch, 1050) <= 0.95 * 24 * GIBIBYTE < self.MODEL.peak(batch + 1, 1050)
        assert self.MODEL.largest_batch(1e9, 1050) == 0

    def test_two_points_are_too_few(self):
        with pytest.raises(ValueError, match="at least 3 measurements to fit 3 numbers to, got 2"):
            MemoryModel.fit(self.points([(1, 48), (2, 48)]))


class TestScale:
    def test_report(self, tmp_path, capsys):
        scale.main(["--quick", "--device", "cpu", "--output", str(tmp_path / "report.json")])
        report = json.loads((tmp_path / "report.json").read_text())
        assert set(report["sweeps"]) == set(scale.quick_plan("cpu").sweeps())
        for points in report["sweeps"].values():
            assert len(points) == 2 and all(point["seconds"] > 0 and point["peak"] > 0 for point in points)
        assert set(report["memory_models"]) == set(report["largest_batches"]) == {"bf16, checkpointing"}
        assert {entry["known"] for entry in report["largest_batches"]["bf16, checkpointing"].values()} == {"computed"}
        assert "error held out" in capsys.readouterr().out

    def test_a_size_is_measured_once(self, monkeypatch):
        measured = []
        monkeypatch.setattr(scale, "measure_point", lambda point, *counts: measured.append(point) or {"peak": 1})
        measurements = scale.Measurements(repeats=1)
        for _ in range(2):
            assert measurements.of(Point("inference", 64, 96))["cells"] == 6
        assert len(measured) == 1

    @pytest.mark.parametrize("plan", [scale.default_plan, scale.full_plan])
    def test_plans_change_one_thing_at_a_time(self, plan):
        for name, points in plan("cpu").sweeps().items():
            allowed = {"height", "width"} if name == "image size" else None
            for point in points[1:]:
                changed = {key for key, value in vars(point).items() if value != vars(points[0])[key]}
                assert len(changed) == 1 or changed <= (allowed or set())

    def test_batches_that_turn_out_too_large_are_made_smaller(self, monkeypatch):
        budget, peak = 8 * GIBIBYTE, 3.5e9
        monkeypatch.setattr(scale, "_free_memory", lambda device: 1e12)
        monkeypatch.setattr(scale, "measure_point", lambda point, *counts: {"peak": peak * point.batch})
        model = MemoryModel(0, 2.5e9, 0)
        assert model.largest_batch(budget, 1050) == 3
        entry = scale._largest_batch(Point("training", 800, 1333), model, 8, scale.Measurements(1), confirm=True)
        assert entry == {"batch": 2, "known": "measured", "peak": 2 * peak}


class TestAccelerator:
    def test_report(self, tmp_path):
        accelerator.main(["--quick", "--device", "cpu", "--output", str(tmp_path / "report.json")])
        report = json.loads((tmp_path / "report.json").read_text())
        assert set(report["best_rates"]) == set(accelerator.FORMATS)
        for formats in report["inference"].values():
            assert set(formats) == set(accelerator.FORMATS)
            assert all(0 < values["share_of_best_rate"] for values in formats.values())
        assert report["training"]["2"]["bf16"]["images_per_second"] > 0
        assert len(report["costs"]) == 3
        for costs in report["costs"].values():
            shares = [cost["share"] for cost in costs]
            assert len(costs) == 5 and shares == sorted(shares, reverse=True) and sum(shares) <= 1

    def test_operations_grow_with_the_image(self):
        config = made_config(small=True)
        small, large = (accelerator.count_operations(config, size) for size in ((64, 96), (128, 192)))
        assert small < large < 4.5 * small

    def test_products_are_as_before_afterwards(self):
        before = torch.get_float32_matmul_precision()
        with accelerator.products("tf32"):
            assert torch.get_float32_matmul_precision() == "high" and torch.backends.cudnn.allow_tf32
        with accelerator.products("fp32"):
            assert torch.get_float32_matmul_precision() == "highest" and not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == before

    def test_what_does_not_fit_is_left_out(self, capsys):
        def too_large():
            raise torch.OutOfMemoryError("no memory")

        assert set(accelerator._possible({"fp32": too_large, "bf16": lambda: None})) == {"bf16"}
        assert "fp32: does not fit" in capsys.readouterr().out


def test_evaluation_is_equal_to_the_package_and_compared_with_it(tmp_path):
    evaluation.main(["--quick", "--output", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["turns"][evaluation.PACKAGE]["times_sgbench"] == 1
    assert report["turns"]["strict, SceneGraph"]["per_second"] > 0 and "environment" in report


def test_imports_are_timed_in_processes_of_their_own(tmp_path, monkeypatch):
    programs = {"nothing": ["-c", ""], "a nap": ["-c", "import time; time.sleep(0.3)"]}
    monkeypatch.setattr(import_time, "PROGRAMS", programs)
    import_time.main(["--quick", "--output", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["processes"]["a nap"]["median"] > 0.3


def test_every_program_of_make_bench_is_in_the_list_of_programs():
    root = Path(__file__).parents[2]
    (line,) = [line for line in (root / "Makefile").read_text().splitlines() if line.startswith("BENCHMARKS :=")]
    page = (root / "benchmarks" / "README.md").read_text()
    for name in line.removeprefix("BENCHMARKS :=").split():
        assert (root / "benchmarks" / f"{name}.py").exists()
        assert f"python -m benchmarks.{name}" in page
