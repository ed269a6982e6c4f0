"""A data set is known by what is annotated, not by where and how it is stored."""

import shutil

import pytest

from speaq_hf.data import load_scene_graphs, save_scene_graphs
from speaq_hf.data.vocabulary import renumber_classes
from training import train
from training.fingerprint import data_fingerprint

from .test_train import run


@pytest.mark.parametrize("format", ["coco", "imagefolder", "parquet"])
def test_place_and_format_do_not_matter(genome, tmp_path, format):
    rows = load_scene_graphs(genome, "train")
    save_scene_graphs(rows, tmp_path / "set", format)
    assert data_fingerprint(load_scene_graphs(tmp_path / "set", "train")) == data_fingerprint(rows)


def change(row, field):
    if field == "image_id":
        return {"image_id": row["image_id"] + 1}
    if field == "relations":
        return {"relations": [[*pair, (predicate + 1) % 3] for *pair, predicate in row["relations"]]}
    boxes, classes = row["objects"]["bbox"], row["objects"]["category"]
    if field == "bbox":
        return {"objects": {"bbox": [[x, y, a, b + 1e-3] for x, y, a, b in boxes], "category": classes}}
    return {"objects": {"bbox": boxes, "category": [(number + 1) % 3 for number in classes]}}


@pytest.mark.parametrize("field", ["image_id", "relations", "bbox", "category"])
def test_every_annotation_matters(genome, field):
    rows = load_scene_graphs(genome, "train")
    changed = rows.map(lambda row, index: change(row, field) if index == 3 else {}, with_indices=True)
    assert data_fingerprint(changed) != data_fingerprint(rows)


def test_order_and_names_matter(genome):
    rows = load_scene_graphs(genome, "train")
    predicates = rows.features["predicates"].feature.names
    others = [
        rows.select(range(len(rows) - 1, -1, -1)),
        renumber_classes(rows, rows.features["objects"]["category"].feature.names, predicates[::-1]),
    ]
    assert len({data_fingerprint(dataset) for dataset in (rows, *others)}) == 3


def test_a_run_that_goes_on_with_other_data_says_so(micro_run, genome, tmp_path, caplog):
    same, other = tmp_path / "same", tmp_path / "other"
    shutil.copytree(genome, same)
    rows = load_scene_graphs(genome, "train")
    save_scene_graphs(
        {"train": rows.select(range(len(rows) - 1, -1, -1)), "validation": load_scene_graphs(genome, "val")},
        other,
        "coco",
    )
    run(micro_run("run", "--training.max_steps", "1"))
    run(micro_run("run", "--data.root", str(same), "--training.max_steps", "2", "--training.resume_from", "auto"))
    assert "the checkpoint was made with" not in caplog.text
    options = ("--data.root", str(other), "--data.format", "auto", "--training.resume_from", "auto")
    train.build_trainer(train.parse_arguments(micro_run("run", *options))).folder.close()
    assert "Resuming with data_fingerprint=" in caplog.text
