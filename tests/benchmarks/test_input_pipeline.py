"""All paths of the input benchmark give the same batches, and the program runs."""

import json

import numpy as np
import pytest
import torch

from benchmarks import input_pipeline
from benchmarks.input_pipeline import PLAIN, Effort, loaders, make_records, make_table, send


EFFORT = Effort(num_images=12, size=(300, 200))


@pytest.fixture(scope="module")
def epochs(tmp_path_factory):
    records = make_records(tmp_path_factory.mktemp("photos"), EFFORT)
    epochs = loaders(records, make_table(records), 0)
    return {name: list(epoch()) for name, epoch in epochs.items()}


@pytest.mark.parametrize(
    ("name", "tolerance"),
    # Floats are rounded otherwise; "quick" is off by up to 2 of 255 levels, which are 1/58 each after normalising.
    [("plain, bytes", 1e-5), ("collator", 1e-5), ("training", 1e-5), ("training, quick", 2.01 / (255 * 0.224))],
)
def test_every_path_gives_the_plain_batches(epochs, name, tolerance):
    assert len(epochs[PLAIN]) == 3
    for expected, batch in zip(epochs[PLAIN], epochs[name], strict=True):
        assert torch.equal(batch["pixel_mask"], expected["pixel_mask"])
        torch.testing.assert_close(batch["pixel_values"], expected["pixel_values"], atol=tolerance, rtol=0)
        for label, other in zip(batch["labels"], expected["labels"], strict=True):
            assert label.keys() == other.keys()
            for field, value in other.items():
                if field == "boxes":
                    torch.testing.assert_close(label[field], value, atol=1e-6, rtol=0)
                else:
                    assert torch.equal(label[field], value), field


def test_the_training_path_is_the_collators_to_the_last_bit(epochs):
    for expected, batch in zip(epochs["collator"], epochs["training"], strict=True):
        assert torch.equal(batch["pixel_values"], expected["pixel_values"])


def test_inference_inputs_are_equal(tmp_path):
    file = tmp_path / "photo.jpg"
    input_pipeline.write_photo(file, (120, 90), np.random.default_rng(0))
    plain, ours = (prepare() for prepare in input_pipeline.inference(file).values())
    torch.testing.assert_close(ours["pixel_values"], plain["pixel_values"], atol=1e-5, rtol=0)
    assert torch.equal(ours["pixel_mask"], plain["pixel_mask"])


def test_a_sent_batch_arrives_whole():
    batch = {"pixels": torch.arange(6), "labels": [{"boxes": torch.ones(2, 4)}]}
    arrived = send(batch)
    assert torch.equal(arrived["pixels"], batch["pixels"])
    assert torch.equal(arrived["labels"][0]["boxes"], batch["labels"][0]["boxes"])


def test_the_program_reports_every_part(tmp_path, capsys, monkeypatch):
    small = Effort(num_images=4, size=(60, 50), large_size=(90, 80), repeats=1, workers=(0,), demo_images=25)
    monkeypatch.setattr(input_pipeline, "QUICK", small)
    input_pipeline.main(["--quick", "--output", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report.keys() == {"environment", "loaders", "stages", "inference", "demo"}
    assert report["loaders"]["0 workers"]["training"]["images_per_second"] > 0
    assert report["demo"]["loader"] > 0 and "Demo: the loader gives" in capsys.readouterr().out
