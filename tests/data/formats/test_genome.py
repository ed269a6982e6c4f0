import tempfile
from pathlib import Path

import h5py
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from speaq_hf.data import generate_synthetic_genome, load_scene_graph_splits, load_scene_graphs, save_scene_graphs
from tests.data.factories import dataset, row, write_genome
from tests.data.formats.graphs import SOME, assert_same_sets
from tests.helpers import REFERENCE


def arrays_of(root):
    with h5py.File(root / "VG-SGG-with-attri.h5", "r") as file:
        return {name: file[name][()] for name in file}


@SOME
@given(st.lists(st.tuples(*[st.integers(-40, 1100)] * 2, *[st.integers(1, 1100)] * 2), min_size=9, max_size=9))
def test_hdf5_arrays_written_again_are_the_same(boxes):
    with tempfile.TemporaryDirectory() as folder:
        root = write_genome(Path(folder) / "set", boxes_1024=boxes)
        splits = load_scene_graph_splits(root, keep_empty=True)
        save_scene_graphs(splits, Path(folder) / "again", "visual_genome")
        assert_same_sets(load_scene_graph_splits(Path(folder) / "again", keep_empty=True), splits)
        before, after = arrays_of(root), arrays_of(Path(folder) / "again")
    boxes, written = np.array(boxes), after["boxes_1024"]
    # The one choice that the reader cannot tell: x1 = trunc(1 / 2) = trunc(-1 / 2).
    ambiguous = np.isin(2 * boxes[:, :2] - boxes[:, 2:], (-1, 1))
    assert np.array_equal(written[:, 2:], boxes[:, 2:])
    assert np.array_equal(written[:, :2][~ambiguous], boxes[:, :2][~ambiguous])
    for name in before.keys() - {"boxes_1024"}:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def test_published_layout_written_and_read_again(tmp_path):
    """Visual Genome's own split, where the first training images are for validation."""
    splits = load_scene_graph_splits(REFERENCE / "vg", images="images", num_validation_images=5, keep_empty=True)
    save_scene_graphs(splits, tmp_path / "set", "visual_genome")
    assert_same_sets(load_scene_graph_splits(tmp_path / "set", keep_empty=True), splits)


def test_corners_from_elsewhere_move_by_half_a_unit(tmp_path):
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(-3, 40, (50, 2, 2)), axis=1).reshape(50, 4)
    corners[0] = [0.2, 0.2, 0.21, 0.21]  # less than a unit
    rows = dataset([row(1, (40, 30), corners.tolist(), [0] * 50, [[0, 1, 1], [0, 1, 1]])])
    save_scene_graphs(rows, tmp_path / "set", "visual_genome")
    found = np.array(load_scene_graphs(tmp_path / "set", "train")[0]["objects"]["bbox"])
    unit = 40 / 1024
    assert np.abs(found - corners)[1:].max() <= unit / 2 + 1e-5
    assert np.allclose(found[0, 2:] - found[0, :2], unit)


def test_generated_sets_are_recognised(tmp_path):
    root = generate_synthetic_genome(tmp_path / "set", 20, image_size=32, num_workers=1)
    splits = load_scene_graph_splits(root, keep_empty=True)
    assert sorted(splits) == ["test", "train", "validation"]
    save_scene_graphs(splits, tmp_path / "again", "visual_genome")
    assert_same_sets(load_scene_graph_splits(tmp_path / "again", keep_empty=True), splits)
    file = tmp_path / "again" / "VG-SGG-with-attri.h5"
    assert load_scene_graphs(file, "test", keep_empty=True)["image_id"][:] == splits["test"]["image_id"][:]


GRAPH = {"boxes": [[0, 0, 20, 20]], "labels": [0], "relations": [[0, 0, 0]]}


@pytest.mark.parametrize("splits", [["train"], ["validation"], ["test"], ["train", "test"], ["train", "validation"]])
def test_splits_come_back(tmp_path, splits):
    datasets = {split: dataset([row(number, **GRAPH)]) for number, split in enumerate(splits)}
    save_scene_graphs(datasets, tmp_path / "set", "visual_genome")
    found = load_scene_graph_splits(tmp_path / "set")
    assert {split: rows["image_id"][:] for split, rows in found.items()} == {
        split: [number] for number, split in enumerate(splits)
    }


def test_first_training_images_validate_if_asked_or_in_files_from_elsewhere(tmp_path):
    save_scene_graphs(dataset([row(1, **GRAPH), row(2, **GRAPH)]), tmp_path / "set", "visual_genome")
    found = load_scene_graph_splits(tmp_path / "set", num_validation_images=1)
    assert {split: rows["image_id"][:] for split, rows in found.items()} == {"train": [2], "validation": [1]}
    root = write_genome(tmp_path / "other", split=[0, 0, 0, 0, 2])
    with pytest.raises(ValueError, match="left in split 'train'.*num_validation_images = 5000"):
        load_scene_graph_splits(root)
    assert sorted(load_scene_graph_splits(root, num_validation_images=0)) == ["test", "train"]


@pytest.mark.parametrize("domain", ["real", "synthetic"])
def test_generated_sets_without_validation_images(tmp_path, domain):
    shares = {"split_shares": (0.5, 0, 0.5), "image_size": 32, "num_workers": 1}
    root = generate_synthetic_genome(tmp_path / "set", 4, domain=domain, **shares)
    assert sorted(load_scene_graph_splits(root, keep_empty=True)) == ["test", "train"]


def test_png_files_become_jpeg(tmp_path):
    rows = dataset([row(1, boxes=[[0, 0, 20, 20]], labels=[0], relations=[[0, 0, 0]])])
    save_scene_graphs({"test": rows}, tmp_path / "set", "visual_genome")
    with Image.open(tmp_path / "set/VG_100K/1.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (40, 30))


def test_images_without_boxes_are_written_and_pointed_out(tmp_path, caplog):
    rows = dataset([row(1), row(2, boxes=[[0, 0, 20, 20]], labels=[0], relations=[[0, 0, 0]])])
    save_scene_graphs({"test": rows}, tmp_path / "set", "visual_genome")
    assert "1 images have no boxes" in caplog.text
    assert arrays_of(tmp_path / "set")["img_to_first_box"].tolist() == [-1, 0]
    assert load_scene_graphs(tmp_path / "set", "test")["image_id"][:] == [2]


def test_what_the_layout_cannot_hold(tmp_path):
    rows = dataset([row(1)])
    with pytest.raises(ValueError, match=r"splits of Visual Genome's files are .*, got \['extra'\]"):
        save_scene_graphs({"extra": rows}, tmp_path / "set", "visual_genome")
    with pytest.raises(ValueError, match="image 1 of all splits: image id 1 is also that of image 0"):
        save_scene_graphs({"train": rows, "test": rows}, tmp_path / "set", "visual_genome")
    assert not list(tmp_path.iterdir())


def test_a_damaged_file(tmp_path):
    root = write_genome(tmp_path / "set")
    file = root / "VG-SGG-with-attri.h5"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match="not an HDF5 file, or damaged"):
        load_scene_graph_splits(root)


def test_moved_boxes_are_told_once(tmp_path, caplog):
    boxes = [[0, 0, 20, 20], [3, 5, 53.0, 22]]
    rows = dataset([row(1, (1000, 30), boxes, [0, 1], [[0, 1, 0]])])
    save_scene_graphs({"train": rows, "test": rows.map(lambda _: {"image_id": 2})}, tmp_path / "set", "visual_genome")
    (message,) = caplog.messages
    assert "4 of 4 boxes moved, by 0.4" in message and "0.47 at most" in message
    caplog.clear()
    save_scene_graphs(load_scene_graphs(tmp_path / "set", "test"), tmp_path / "again", "visual_genome")
    assert not caplog.messages
