"""A data set goes to the Hub with its images in it, and another computer reads, reports and trains on it."""

import io
import json
import os
import shutil
from unittest import mock

import pytest
from datasets import Dataset
from PIL import Image
from typer.testing import CliRunner

from speaq_hf.cli import app
from speaq_hf.data import load_scene_graph_splits, load_scene_graphs, object_names, predicate_names, save_scene_graphs
from tests.data.factories import dataset, row
from training.arguments import DataArguments
from training.data import load_training_data

from .machine import message_of
from .repositories import Repository, StoredFile


NAME = "owner/kitchen"
# Names that YAML would take for something else: the card of the repository holds them.
OBJECTS, PREDICATES = ["no", "1.0", "null", "Bär", "a: b", "#tag", " space "], ["on", "yes", "~", "is: in"]


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def write_set(folder):
    """Three splits with a PNG, a JPEG that is stored lying on its side and an image of 16 bits."""
    exif = Image.Exif()
    exif[0x112] = 6
    jpeg = encoded(row(2, size=(30, 40))["image"], "JPEG", exif=exif)
    deep = encoded(Image.linear_gradient("L").convert("I;16").resize((40, 30)), "PNG")
    boxes, relations = [[0.1, 0.2, 30.5, 20.3], [1, 1, 2, 2]], [[0, 1, 1], [1, 0, 0], [0, 1, 1]]
    splits = {
        "train": [
            row(1, boxes=boxes, labels=[3, 6], relations=relations),
            row(2, boxes=boxes, labels=[0, 1], relations=[[1, 0, 3]]) | {"image": jpeg},
        ],
        "validation": [row(3, boxes=boxes[:1], labels=[5]) | {"image": deep}],
        "test": [row(4)],
    }
    save_scene_graphs({name: dataset(rows, OBJECTS, PREDICATES) for name, rows in splits.items()}, folder, "coco")
    return folder


def content(dataset):
    """Features, names, and rows with the pixels of their images."""
    rows = [
        example | {"image": (example["image"].mode, example["image"].size, example["image"].tobytes())}
        for example in dataset
    ]
    return {"features": dataset.features.to_dict(), "rows": rows, "split": str(dataset.split)}


def contents(source):
    return {split: content(dataset) for split, dataset in load_scene_graph_splits(source).items()}


def push(source, name, token=None):
    load_scene_graph_splits(source).push_to_hub(name, token=token)


def push_text(name):
    Dataset.from_dict({"text": ["no graph"]}).push_to_hub(name)


def error_of_push(source, name, token=None):
    return message_of(push, source, name, token)


def error_of_loading(name, token=None):
    with mock.patch.dict(os.environ, {} if token is None else {"HF_TOKEN": token}):
        return message_of(load_scene_graphs, name, "train")


def split_and_names(name, split):
    rows = load_scene_graphs(name, split)
    return content(rows), object_names(rows), predicate_names(rows)


def report(name, folder):
    words = ["data-report", name, "--json", str(folder / "report.json"), "--html", str(folder / "report.html")]
    result = CliRunner().invoke(app, words)
    return result.exit_code, result.output


def training_data(name):
    data = load_training_data(DataArguments(root=name, format="auto"))
    return data.train["image_id"][:], data.validation["image_id"][:], data.config_fields()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("sets") / "kitchen")


@pytest.fixture(scope="module")
def pushed(sender, folder, tmp_path_factory):
    """Content of the set that was pushed from files that are no more."""
    moved = tmp_path_factory.mktemp("moved") / "kitchen"
    shutil.copytree(folder, moved)
    expected = contents(moved)
    sender.run(push, moved, NAME)
    shutil.rmtree(moved)
    return expected


def test_everything_comes_back_on_another_computer(pushed, receiver):
    assert receiver.run(contents, NAME) == pushed


def test_one_split_by_its_short_name(pushed, receiver):
    assert receiver.run(split_and_names, NAME, "val") == (pushed["validation"], OBJECTS, PREDICATES)
    assert "there is no split 'extra'; it has ['test', 'train', 'validation']" in receiver.run(
        message_of, load_scene_graphs, NAME, "extra"
    )


def test_report(pushed, receiver, tmp_path):
    code, output = receiver.run(report, NAME, tmp_path)
    assert code == 0, output
    summary = json.loads((tmp_path / "report.json").read_text())["sets"][0]["summary"]
    assert {name: split["images"] for name, split in summary["splits"].items()} == {
        "test": 1,
        "train": 2,
        "validation": 1,
    }
    assert (tmp_path / "report.html").read_text().count("data:image/") >= 2


def test_training_takes_the_repository_as_its_root(pushed, receiver):
    train, validation, fields = receiver.run(training_data, NAME)
    assert (train, validation) == ([1, 2], [3])
    assert fields["id2label"] == dict(enumerate(OBJECTS)) and fields["id2predicate"] == dict(enumerate(PREDICATES))
    assert fields["predicate_counts"] == [1, 2, 0, 1]


def test_a_push_that_breaks_can_be_repeated(hub, sender, receiver, folder, pushed):
    """Everything is uploaded, then the commit fails: nothing of it is seen, and it need not be uploaded again."""
    hub.storage.large_files.clear()
    hub.faults.fail("POST", "/datasets/owner/twice/commit/main", 500)
    assert "500 Internal Server Error" in sender.run(error_of_push, folder, "owner/twice")
    assert list(hub.dataset("owner/twice").at("main").files) == [".gitattributes"]
    assert "doesn't contain any data files" in receiver.run(error_of_loading, "owner/twice")
    uploads = len(hub.called("PUT", "/lfs/"))
    sender.run(push, folder, "owner/twice")
    assert len(hub.called("PUT", "/lfs/")) == uploads
    assert receiver.run(contents, "owner/twice") == pushed


def test_what_was_pushed_again_is_read_anew(sender, receiver, folder, tmp_path):
    sender.run(push, folder, "owner/changing")
    before = receiver.run(contents, "owner/changing")
    smaller = dataset([row(9)], OBJECTS, PREDICATES)
    save_scene_graphs({"train": smaller, "validation": smaller, "test": smaller}, tmp_path / "new", "coco")
    sender.run(push, tmp_path / "new", "owner/changing")
    after = receiver.run(contents, "owner/changing")
    assert [len(before[split]["rows"]) for split in ("train", "test")] == [2, 1]
    assert after == contents(tmp_path / "new")


class TestErrors:
    def test_wrong_token(self, hub, sender, receiver, folder):
        message = sender.run(error_of_push, folder, "owner/other", "hf_wrong")
        assert "Invalid credentials in Authorization header" in message
        assert ("dataset", "owner/other") not in hub.storage.repositories
        hub.storage.repositories["dataset", "owner/private"] = Repository("dataset", "owner/private", private=True)
        message = receiver.run(error_of_loading, "owner/private", "hf_wrong")
        assert message.startswith("PermissionError: owner/private: the Hub refuses access with status 401")
        assert "hf auth login" in message and "\n" not in message

    def test_no_such_repository(self, receiver, tmp_path):
        expected = "there is no folder owner/nothing, and no such data set on the Hub"
        assert receiver.run(error_of_loading, "owner/nothing").startswith(f"FileNotFoundError: {expected}")
        code, output = receiver.run(report, "owner/nothing", tmp_path)
        assert code == 2 and "no such data set on the" in output

    def test_a_hub_that_fails(self, hub, receiver, pushed):
        hub.storage.copy("dataset", "owner/failing", hub.dataset(NAME).at("main").files)
        hub.faults.fail("GET", "failing/resolve/.*parquet", 500)
        message = receiver.run(error_of_loading, "owner/failing")
        assert message.startswith("ConnectionError: there is no folder owner/failing, and the Hub could not be asked")
        assert "500 Internal Server Error" in message and "\n" not in message

    def test_damaged_files(self, hub, receiver, pushed):
        files = dict(hub.dataset(NAME).at("main").files)
        path = next(path for path in files if "train" in path)
        files[path] = StoredFile(files[path].content[:-100], large=True)
        hub.storage.copy("dataset", "owner/damaged", files)
        message = receiver.run(error_of_loading, "owner/damaged")
        assert message.startswith("ValueError: owner/damaged: cannot read its files on the Hub (")
        assert "Parquet" in message

    def test_rows_that_are_no_scene_graphs(self, sender, receiver):
        sender.run(push_text, "owner/text")
        message = receiver.run(error_of_loading, "owner/text")
        assert message.startswith("ValueError: owner/text, split 'train': expected the dataset's field 'objects")
