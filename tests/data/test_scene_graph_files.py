"""Promises over all formats: what is written is read again unchanged, formats are recognised, nothing is half-written."""

import io
import json
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from datasets import Image
from hypothesis import given
from typer.testing import CliRunner

from speaq_hf.cli import app
from speaq_hf.data import (
    load_scene_graph_splits,
    load_scene_graphs,
    load_visual_genome,
    object_names,
    save_scene_graphs,
)
from speaq_hf.data.scene_graph_files import WRITTEN_FORMATS, recognise_format
from tests.data.factories import OBJECTS, PREDICATES, dataset, row, write_genome
from tests.data.formats.graphs import FEW, SOME, assert_same_sets, scene_graph_sets


EXACT = ("coco", "imagefolder", "arrow", "parquet")


def small_set(image_ids=(1, 2), **kwargs):
    """A training split with an empty image, and a validation split with a JPEG."""
    boxes, relations = [[0.1, 0.2, 30.5, 20.3], [1, 1, 2, 2]], [[0, 1, 1], [1, 0, 0], [0, 1, 1]]
    validation = row(7, boxes=boxes[:1], labels=[1]) | {"image": {"bytes": encoded("JPEG"), "path": None}}
    rows = [row(image_ids[0], boxes=boxes, labels=[0, 2], relations=relations), row(image_ids[1])]
    return {"train": dataset(rows, **kwargs), "validation": dataset([validation], **kwargs)}


def encoded(format):
    buffer = io.BytesIO()
    row(7)["image"].save(buffer, format)
    return buffer.getvalue()


@contextmanager
def written(datasets, format):
    """A folder that holds the datasets in a format; hypothesis needs a new one for every example."""
    with tempfile.TemporaryDirectory() as folder:
        save_scene_graphs(datasets, Path(folder) / "set", format)
        yield Path(folder) / "set"


@pytest.mark.parametrize("format", ["coco", "imagefolder"])
@SOME
@given(datasets=scene_graph_sets())
def test_text_formats_give_back_what_was_written(format, datasets):
    with written(datasets, format) as folder:
        assert recognise_format(folder) == format
        found = load_scene_graph_splits(folder)
        assert found.keys() == datasets.keys()
        assert_same_sets(found, datasets)


@pytest.mark.parametrize("format", ["arrow", "parquet"])
@FEW
@given(datasets=scene_graph_sets())
def test_binary_formats_give_back_what_was_written(format, datasets):
    with written(datasets, format) as folder:
        assert recognise_format(folder) == format
        found = load_scene_graph_splits(folder)
        assert found.keys() == datasets.keys()
        assert_same_sets(found, datasets)


def test_a_chain_of_conversions_changes_nothing(tmp_path):
    """Also the image files: a PNG and a JPEG arrive byte for byte."""
    save_scene_graphs(small_set(), tmp_path / "start", "arrow")
    source = tmp_path / "start"
    for format in ("parquet", "imagefolder", "coco", "arrow"):
        result = CliRunner().invoke(app, ["convert-data", str(source), str(tmp_path / format), "--format", format])
        assert result.exit_code == 0, result.output
        assert "2 train, 1 validation images" in result.output
        source = tmp_path / format
    assert_same_sets(load_scene_graph_splits(source), small_set())


@pytest.mark.parametrize("format", EXACT)
def test_one_split(tmp_path, format):
    save_scene_graphs(small_set(), tmp_path / "set", format)
    assert load_scene_graphs(tmp_path / "set", "val")["image_id"][:] == [7]
    with pytest.raises(ValueError, match=r"no split 'test'; it has \['train', 'validation'\]"):
        load_scene_graphs(tmp_path / "set", "test")
    with pytest.raises(ValueError, match=r"name one of its splits; it has \['train', 'validation'\]"):
        load_scene_graphs(tmp_path / "set")


@pytest.mark.parametrize("format", WRITTEN_FORMATS)
def test_a_dataset_alone_is_the_training_split(tmp_path, format):
    rows = [row(5, boxes=[[0, 0, 20, 20], [10, 10, 40, 30]], labels=[0, 1], relations=[[0, 1, 0]])]
    save_scene_graphs(dataset(rows).with_transform(lambda batch: {"lost": batch["width"]}), tmp_path / "set", format)
    found = load_scene_graphs(tmp_path / "set")
    assert found["relations"][:] == [[[0, 1, 0]]]
    assert found[0]["image"].size == (40, 30)


@pytest.mark.parametrize("format", ["coco", "imagefolder"])
def test_other_image_files_become_png(tmp_path, format):
    example = row(3) | {"image": {"bytes": encoded("BMP"), "path": "x.bmp"}}
    save_scene_graphs(dataset([example]), tmp_path / "set", format)
    found = load_scene_graphs(tmp_path / "set")
    assert Path(found.cast_column("image", Image(decode=False))[0]["image"]["path"]).name == "x.png"
    np.testing.assert_array_equal(np.asarray(found[0]["image"]), np.asarray(dataset([example])[0]["image"]))


def named(image_id, path):
    return row(image_id) | {"image": {"bytes": encoded("JPEG"), "path": path}}


def names(rows):
    return [Path(image["path"]).name for image in rows.cast_column("image", Image(decode=False))["image"]]


def test_file_names_are_kept(tmp_path):
    expected = ["desk.jpg", "Büro 2.JPEG", "9.jpg", "twice-3.jpg", "TWICE-4.jpg", "5.jpg", "6.jpg", "png.jpg"]
    paths = ["a/desk.jpg", "Büro 2.JPEG", "b\\9.jpg", "b/twice.jpg", "TWICE.jpg", None, ".hidden", "png.png"]
    source = dataset([named(image_id, path) for image_id, path in enumerate(paths)])
    for format in EXACT:
        save_scene_graphs(source, tmp_path / format, format)
        source = load_scene_graphs(tmp_path / format)
        if format in ("coco", "imagefolder"):
            assert names(source) == expected and source["image_id"][:] == list(range(8))
    assert names(source) == expected


def test_names_that_ids_cannot_tell_apart(tmp_path):
    rows = dataset([named(1, "a.jpg"), named(2, "a.jpg"), named(3, "a-1.jpg")])
    save_scene_graphs(rows, tmp_path / "set", "coco")
    assert names(load_scene_graphs(tmp_path / "set")) == ["1.jpg", "2.jpg", "3.jpg"]


def test_errors_show_file_names(tmp_path):
    bad = named(7, "desk.jpg") | {"objects": {"bbox": [[5, 0, 4, 1]], "category": [0]}}
    with pytest.raises(ValueError, match=r"split 'train', row 0 \(desk.jpg\): box 0 must have"):
        save_scene_graphs(dataset([bad]), tmp_path / "set", "coco")
    broken = named(7, "desk.jpg") | {"image": {"bytes": b"no image", "path": "desk.jpg"}}
    with pytest.raises(ValueError, match=r"image 7 \(desk.jpg\): its image is not readable"):
        save_scene_graphs(dataset([broken]), tmp_path / "set", "coco")


def test_selected_rows_are_written_in_their_order(tmp_path):
    rows = dataset([row(image_id, boxes=[[0, 0, image_id, 1]], labels=[0]) for image_id in range(1, 5)])
    for format in EXACT:
        save_scene_graphs(rows.select([3, 0]), tmp_path / format, format)
        found = load_scene_graphs(tmp_path / format)
        assert found["image_id"][:] == [4, 1]
        assert [objects["bbox"] for objects in found["objects"]] == [[[0, 0, 4, 1]], [[0, 0, 1, 1]]]


class TestNothingHalfWritten:
    def test_a_missing_image_leaves_no_folder(self, tmp_path):
        save_scene_graphs(small_set(), tmp_path / "coco", "coco")
        splits = load_scene_graph_splits(tmp_path / "coco")
        (tmp_path / "coco/images/train/2.png").unlink()
        for format in WRITTEN_FORMATS:
            with pytest.raises(FileNotFoundError, match=r"2\.png"):
                save_scene_graphs(splits, tmp_path / "target", format)
        assert [path.name for path in tmp_path.iterdir()] == ["coco"]

    def test_a_folder_is_replaced_only_when_asked_and_only_in_the_end(self, tmp_path):
        save_scene_graphs(small_set(), tmp_path / "set", "coco")
        with pytest.raises(FileExistsError, match="not empty.*overwrite"):
            save_scene_graphs(small_set(), tmp_path / "set", "imagefolder")
        broken = dataset([row(1) | {"image": {"bytes": b"no image", "path": None}}])
        with pytest.raises(ValueError, match="split 'train', image 1: its image is not readable"):
            save_scene_graphs(broken, tmp_path / "set", "coco", overwrite=True)
        assert_same_sets(load_scene_graph_splits(tmp_path / "set"), small_set())
        (tmp_path / "set/.DS_Store").write_text("")
        save_scene_graphs(small_set(), tmp_path / "set", "imagefolder", overwrite=True)
        assert_same_sets(load_scene_graph_splits(tmp_path / "set"), small_set())
        assert (tmp_path / "set/metadata.jsonl").exists() or (tmp_path / "set/train/metadata.jsonl").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["set"]

    @pytest.mark.parametrize("is_there", [True, False])
    def test_a_link_stays_a_link(self, tmp_path, is_there):
        (tmp_path / "disk").mkdir()
        if is_there:
            (tmp_path / "disk/set").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "disk/set")
        save_scene_graphs(small_set(), tmp_path / "link", "coco")
        assert (tmp_path / "link").is_symlink()
        assert [path.name for path in (tmp_path / "disk").iterdir()] == ["set"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link"]
        assert_same_sets(load_scene_graph_splits(tmp_path / "disk/set"), small_set())

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "set").write_text("")
        with pytest.raises(FileExistsError, match="is a file"):
            save_scene_graphs(small_set(), tmp_path / "set", "coco", overwrite=True)


class TestNothingElseReplaced:
    """What lies in a folder that is to be overwritten stays unless it was written here."""

    @staticmethod
    def files(folder):
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    @pytest.mark.parametrize("format", EXACT)
    def test_a_source_is_never_the_target(self, tmp_path, format):
        save_scene_graphs(small_set(), tmp_path / "data/set", format)
        before = self.files(tmp_path)
        for target, relation in (("set", "is"), (".", "contains"), ("set/new", "lies inside")):
            words = [str(tmp_path / "data/set"), str(tmp_path / "data" / target), "-f", "coco", "--overwrite"]
            result = CliRunner().invoke(app, ["convert-data", *words])
            assert result.exit_code == 2
            assert f"{relation} the source" in re.sub(r"[\s│]+", " ", result.output)
        if format != "parquet":  # of which `datasets` keeps a copy
            with pytest.raises(FileExistsError, match="(is|contains) the source"):
                splits = load_scene_graph_splits(tmp_path / "data/set", format=format)
                save_scene_graphs(splits, tmp_path / "data/set", "coco", overwrite=True)
        assert self.files(tmp_path) == before

    @pytest.mark.parametrize("name", ["notes.txt", "images/train/mine.png", ".hidden", "images/more/1.png"])
    def test_other_files(self, tmp_path, name):
        save_scene_graphs(small_set(), tmp_path / "set", "coco")
        (tmp_path / "set" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "set" / name).write_text("mine")
        before = self.files(tmp_path)
        with pytest.raises(
            FileExistsError, match=f"holds {name}, which save_scene_graphs or convert-data did not write"
        ):
            save_scene_graphs(small_set(), tmp_path / "set", "coco", overwrite=True)
        assert self.files(tmp_path) == before

    def test_a_folder_that_others_wrote(self, tmp_path):
        root = write_genome(tmp_path / "set")
        before = self.files(root)
        with pytest.raises(FileExistsError, match="and 7 more files, which save_scene_graphs"):
            save_scene_graphs(small_set(), root, "coco", overwrite=True)
        assert self.files(root) == before

    def test_links_are_not_followed(self, tmp_path):
        save_scene_graphs(small_set(), tmp_path / "set", "coco")
        (tmp_path / "others").mkdir()
        (tmp_path / "set/linked").symlink_to(tmp_path / "others")
        with pytest.raises(FileExistsError, match="holds linked, which"):
            save_scene_graphs(small_set(), tmp_path / "set", "coco", overwrite=True)


BAD_ROWS = {
    "nan": (row(1, boxes=[[0, 0, float("nan"), 1]], labels=[0]), r"row 0: box 0 must have finite corners"),
    "infinite": (row(1, boxes=[[0, 0, 1e300, 1]], labels=[0]), r"row 0: box 0 must have finite corners"),
    "inverted": (row(1, boxes=[[5, 0, 4, 1]], labels=[0]), r"row 0: box 0 .* x1 <= x2"),
    "relation": (row(1, boxes=[[0, 0, 4, 1]], labels=[0], relations=[[0, 1, 0]]), r"relation 0, \[0, 1, 0\].*1 boxes"),
    "negative": (row(1, boxes=[[0, 0, 4, 1]], labels=[0], relations=[[-1, 0, 0]]), r"relation 0, \[-1, 0, 0\]"),
    "labels": (row(1, boxes=[[0, 0, 4, 1]], labels=[0, 1]), "'objects.category' has 2 entries, but 'objects.bbox' has 1"),
    "size": (row(1) | {"width": 0}, "width and height must be at least 1"),
    "predicates": (
        row(1, boxes=[[0, 0, 4, 1]], labels=[0], relations=[[0, 0, 0]]) | {"predicates": [1]},
        "row 0: 'predicates' must be the last column of 'relations', but entry 0 differs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows_are_not_written(tmp_path, name):
    example, message = BAD_ROWS[name]
    with pytest.raises(ValueError, match=rf"split 'train', .*{message}"):
        save_scene_graphs(dataset([example]), tmp_path / "set", "coco")
    dataset([example]).save_to_disk(tmp_path / "disk")
    with pytest.raises(ValueError, match=rf"disk, split 'train': .*{message}"):
        load_scene_graphs(tmp_path / "disk")


def test_what_cannot_be_saved(tmp_path):
    rows = dataset([row(1)])
    with pytest.raises(ValueError, match="format must be one of visual_genome, coco.*'voc'"):
        save_scene_graphs(rows, tmp_path / "set", "voc")
    with pytest.raises(ValueError, match="split 'train' has no images"):
        save_scene_graphs(rows.select([]), tmp_path / "set", "coco")
    with pytest.raises(ValueError, match="there is no split"):
        save_scene_graphs({}, tmp_path / "set", "coco")
    with pytest.raises(ValueError, match="row 1: image id 1 is also that of row 0"):
        save_scene_graphs(dataset([row(1), row(1)]), tmp_path / "set", "coco")
    with pytest.raises(ValueError, match=r"letters, digits and underscores, got '\.\./up'"):
        save_scene_graphs({"../up": rows}, tmp_path / "set", "coco")
    other = dataset([row(1)], predicates=[*PREDICATES, "under"])
    with pytest.raises(ValueError, match=r"different predicates \(2 and 3 names, only in one of them: \['under'\]\)"):
        save_scene_graphs({"train": rows, "test": other}, tmp_path / "set", "coco")
    reordered = dataset([row(1)], objects=OBJECTS[::-1])
    with pytest.raises(ValueError, match="different objects .*in another order"):
        save_scene_graphs({"train": rows, "test": reordered}, tmp_path / "set", "coco")
    for name in ("", "\ud800"):
        with pytest.raises(ValueError, match="split 'train', predicates: expected a list of names, .* entry 2 is"):
            save_scene_graphs(dataset([row(1)], predicates=[*PREDICATES, name]), tmp_path / "set", "coco")
    with pytest.raises(ValueError, match="'predicates'.*scene_graph_features"):
        save_scene_graphs(rows.remove_columns("predicates"), tmp_path / "set", "coco")
    assert not list(tmp_path.iterdir())


class TestRecognition:
    def test_a_folder_without_a_set(self, tmp_path):
        (tmp_path / "notes.txt").write_text("")
        with pytest.raises(
            ValueError, match=r"holds \['notes.txt'\], which is no scene graph data set; the formats are"
        ):
            load_scene_graphs(tmp_path)
        with pytest.raises(ValueError, match="notes.txt is a file, which is no scene graph data set"):
            load_scene_graphs(tmp_path / "notes.txt")
        with pytest.raises(FileNotFoundError, match="no file or folder .*nowhere"):
            load_scene_graphs(tmp_path / "nowhere")

    def test_several_formats_in_a_folder(self, tmp_path):
        root = write_genome(tmp_path / "set")
        (root / "metadata.jsonl").write_text("")
        with pytest.raises(ValueError, match="several formats, visual_genome and imagefolder; set the format"):
            load_scene_graphs(root, "test")
        assert load_scene_graphs(root, "test", format="visual_genome")["image_id"][:] == [5]

    def test_unknown_formats_and_options(self, tmp_path):
        root = write_genome(tmp_path / "set")
        with pytest.raises(ValueError, match="format must be one of .*hub, got 'voc'"):
            load_scene_graphs(root, "test", format="voc")
        with pytest.raises(ValueError, match="visual_genome has no option folder; its options are .*'images'"):
            load_scene_graphs(root, "test", folder="images")

    def test_splits_that_are_no_names(self, tmp_path):
        root = write_genome(tmp_path / "set")
        for split in (5, ["train"], ""):
            with pytest.raises(ValueError, match="split: the name of a split is made of letters.*got"):
                load_scene_graphs(root, split)
            with pytest.raises(ValueError, match="split must be one of"):
                load_visual_genome(root, split)

    def test_names_of_repositories(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert recognise_format("owner/name") == "hub"
        for path in ("nowhere", "./nowhere", "a/b/c", "/owner/name"):
            with pytest.raises(FileNotFoundError):
                recognise_format(path)

    def test_a_mistyped_path_is_no_repository(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "data/mine").mkdir(parents=True)
        with pytest.raises(
            FileNotFoundError, match="no file or folder data/mien; similar: data/mine; .*format to hub"
        ):
            recognise_format("data/mien")

    def test_the_home_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        write_genome(tmp_path / "set")
        assert load_scene_graphs("~/set", "test")["image_id"][:] == [5]


class TestCommand:
    def test_mistakes_are_reported_without_a_traceback(self, tmp_path):
        for words in (
            ["nowhere", "target", "--format", "coco"],
            [str(write_genome(tmp_path / "set")), "t", "-f", "voc"],
        ):
            result = CliRunner().invoke(app, ["convert-data", *words])
            assert result.exit_code == 2
            assert "Traceback" not in result.output

    def test_visual_genome_to_coco(self, tmp_path):
        root = write_genome(tmp_path / "set")
        result = CliRunner().invoke(
            app, ["convert-data", str(root), str(tmp_path / "coco"), "-f", "coco", "--keep-empty"]
        )
        assert "3 train, 1 validation, 1 test images" in result.output
        content = json.loads((tmp_path / "coco/train.json").read_text())
        assert [category["name"] for category in content["categories"]] == OBJECTS
        assert object_names(load_scene_graphs(tmp_path / "coco", "train")) == OBJECTS
        original = (root / "VG_100K/1.jpg").read_bytes()
        assert (tmp_path / "coco/images/train/1.jpg").read_bytes() == original
