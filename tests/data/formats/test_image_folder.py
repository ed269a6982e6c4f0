import json

import pytest
from datasets import load_dataset
from PIL import Image

from speaq_hf.data import load_scene_graph_splits, load_scene_graphs, object_names, predicate_names, save_scene_graphs
from tests.data.factories import dataset, row


LINE = {
    "file_name": "a.jpg",
    "objects": {"bbox": [[4, 8, 50, 30], [2, 5, 9, 2.5]], "category": ["table", "cup"]},
    "relations": [[1, 0, "on"], [0, 1, "under"], [1, 0, "on"]],
}
EMPTY = {"file_name": "b.jpg", "objects": {"bbox": [], "category": []}, "relations": []}
NAMES = {"objects": ["table", "tree", "cup"], "predicates": ["under", "on"]}


def write(folder, *lines, vocabulary=None):
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("a.jpg", "b.jpg"):
        Image.new("RGB", (60, 40)).save(folder / file)
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    if vocabulary is not None:
        (folder / "vocabulary.json").write_text(json.dumps(vocabulary))
    return folder


def test_names_make_the_vocabulary(tmp_path):
    rows = load_scene_graphs(write(tmp_path, LINE, EMPTY))
    assert object_names(rows) == ["cup", "table"] and predicate_names(rows) == ["on", "under"]
    assert rows[0]["objects"] == {"bbox": [[4, 8, 54, 38], [2, 5, 11, 7.5]], "category": [1, 0]}
    assert rows[0]["relations"] == [[1, 0, 0], [0, 1, 1], [1, 0, 0]]
    assert (rows[0]["width"], rows[0]["height"]) == rows[0]["image"].size == (60, 40)
    assert rows[1]["relations"] == []
    assert len(set(rows["image_id"])) == 2


def test_a_vocabulary_file_gives_order_and_box_format(tmp_path):
    line = LINE | {"image_id": 7, "objects": {"bbox": [[4, 8, 50, 30]] * 2, "categories": ["table", 2]}}
    rows = load_scene_graphs(write(tmp_path, line, vocabulary=NAMES | {"bbox_format": "xyxy"}))
    assert object_names(rows) == NAMES["objects"]
    assert rows[0]["objects"] == {"bbox": [[4, 8, 50, 30]] * 2, "category": [0, 2]}
    assert rows[0]["relations"] == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert rows[0]["image_id"] == 7


def test_splits_of_folders_and_lines(tmp_path):
    write(tmp_path, LINE, EMPTY | {"split": "val"})
    write(tmp_path / "test", LINE)
    splits = load_scene_graph_splits(tmp_path)
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 1, "validation": 1, "test": 1}
    assert object_names(splits["validation"]) == ["cup", "table"]
    assert len(load_scene_graphs(tmp_path / "metadata.jsonl", "val")) == 1


def test_other_names_of_splits(tmp_path):
    write(tmp_path, LINE | {"split": "training"}, EMPTY | {"split": "Valid"})
    write(tmp_path / "Testing", LINE)
    assert sorted(load_scene_graph_splits(tmp_path)) == ["test", "train", "validation"]
    assert len(load_scene_graphs(tmp_path, "training")) == 1


def test_a_set_without_validation_images_names_the_remedy(tmp_path):
    write(tmp_path, LINE, EMPTY)
    message = r"""no split 'validation'; it has \['train'\]. Mark images.*"split": "val" in the lines.*num_validation_images"""
    with pytest.raises(ValueError, match=message):
        load_scene_graphs(tmp_path, "val")
    with pytest.raises(ValueError, match=r"no split 'test'; it has \['train'\]$"):
        load_scene_graphs(tmp_path, "test")


def test_datasets_reads_what_is_written(tmp_path):
    rows = [row(1, boxes=[[1, 2, 11, 22]], labels=[2], relations=[[0, 0, 1]]), row(2)]
    save_scene_graphs({"train": dataset(rows), "test": dataset(rows[:1])}, tmp_path / "set", "imagefolder")
    found = load_dataset("imagefolder", data_dir=str(tmp_path / "set"))
    assert found["train"][0]["objects"] == {"bbox": [[1, 2, 10, 20]], "category": [2]}
    assert found["train"][0]["relations"] == [[0, 0, 1]]
    assert found["train"][0]["image"].size == (40, 30)
    assert found["test"].num_rows == 1


def test_corners_read_as_sizes_are_pointed_out(tmp_path, caplog):
    line = LINE | {"objects": {"bbox": [[30, 20, 55, 39]] * 2, "category": ["table", "cup"]}}
    load_scene_graphs(write(tmp_path, line))
    assert '2 of 2 boxes reach beyond their image; if they are corners, say "bbox_format": "xyxy"' in caplog.text
    caplog.clear()
    load_scene_graphs(write(tmp_path, line, vocabulary=NAMES | {"bbox_format": "xyxy"}))
    assert not caplog.text


def objects(**fields):
    return LINE | {"objects": LINE["objects"] | fields}


WRONG = {
    "list": (["a.jpg"], "expected an object with the field 'objects', got"),
    "no objects": ({"file_name": "a.jpg", "relations": []}, "field 'objects' to be an object, the fields are"),
    "no relations": ({"file_name": "a.jpg", "objects": LINE["objects"]}, "field 'relations' to be a list"),
    "no boxes": (LINE | {"objects": {"category": []}}, "'objects': expected the field 'bbox'"),
    "no categories": (LINE | {"objects": {"bbox": []}}, "'objects': expected the field 'category'"),
    "lengths": (objects(category=["cup"]), "'objects': 2 boxes but 1 categories"),
    "name": (objects(category=["cup", "car"]), "'category': 'car' is neither one of the 3 names"),
    "index": (objects(category=[0, 3]), "'category': 3 is neither one of the 3 names"),
    "category": (objects(category=[0, {}]), r"'category': \{\} is neither"),
    "box": (objects(bbox=[[0, 0, 1, 1], [0, 0, 1]]), "'bbox': expected a list of rows of 4 numbers"),
    "nan": (objects(bbox=[[0, 0, 1, 1], [0, 0, float("nan"), 1]]), "box 1 must have finite corners"),
    "predicate": (LINE | {"relations": [[0, 1, "above"]]}, "'relations': 'above' is neither"),
    "relation": (LINE | {"relations": [[0, 2, "on"]]}, r"relation 0, \[0, 2, 1\], must name .* the image's 2 boxes"),
    "columns": (LINE | {"relations": [[0, 1, "on"], [0, 1]]}, r"'relations'\[1\]: expected a row .*, got \[0, 1\]"),
    "no row": (LINE | {"relations": [7]}, r"'relations'\[0\]: expected a row \[subject, object, predicate\], got 7"),
    "ends": (LINE | {"relations": [[0, "cup", "on"]]}, "'relations': expected a list of rows of 3 integers"),
    "escape": (LINE | {"file_name": "../a.jpg"}, "'file_name' must lie below the folder"),
    "absolute": (LINE | {"file_name": "/a.jpg"}, "'file_name' must lie below the folder"),
    "file name": (LINE | {"file_name": 3}, "field 'file_name' to be a text, got 3"),
    "image id": (LINE | {"image_id": 1.5}, "field 'image_id' to be an integer, got 1.5"),
    "split": (LINE | {"split": "a/b"}, "the name of a split"),
    "size": (LINE | {"width": 60, "height": -1}, "must be at least 1 pixel, got 60 and -1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_name_file_and_line(tmp_path, name):
    line, message = WRONG[name]
    root = write(tmp_path, EMPTY, line, vocabulary=NAMES)
    with pytest.raises(ValueError, match=rf"metadata.jsonl, line 2.*{message}"):
        load_scene_graphs(root)


@pytest.mark.parametrize("name", ["", "\ud800", "cup\udfff"])
def test_names_that_no_vocabulary_could_hold(tmp_path, name):
    message = f"line 2, '%s': a name is a text of Unicode that is not empty, got {name!r}".replace("\\", "\\\\")
    with pytest.raises(ValueError, match=message % "category"):
        load_scene_graphs(write(tmp_path / "object", LINE, objects(category=["cup", name])))
    with pytest.raises(ValueError, match=message % "relations"):
        load_scene_graphs(write(tmp_path / "predicate", LINE, LINE | {"relations": [[0, 1, name]]}))


def test_mistakes_of_the_folder(tmp_path):
    with pytest.raises(ValueError, match="line 2: image id .* is also that of .*line 1"):
        load_scene_graphs(write(tmp_path / "twice", LINE, LINE))
    with pytest.raises(ValueError, match="'category': 0 is not a name; use names, or put the lists"):
        load_scene_graphs(write(tmp_path / "index", objects(category=[0, 1])))
    with pytest.raises(ValueError, match="'category': no line has any"):
        load_scene_graphs(write(tmp_path / "bare", EMPTY))
    with pytest.raises(ValueError, match="metadata.jsonl: there is no image"):
        load_scene_graphs(write(tmp_path / "empty"))
    for relation, shown in (([0, 1], r"\[0, 1\]"), ({"subject": 0}, "{'subject': 0}")):
        with pytest.raises(ValueError, match=rf"line 1, 'relations'\[0\]: expected a row .*, got {shown}"):
            load_scene_graphs(write(tmp_path / "only", LINE | {"relations": [relation]}))
    with pytest.raises(FileNotFoundError, match="line 1: there is no image 'c.jpg' in .*missing; put it there$"):
        load_scene_graphs(write(tmp_path / "missing", LINE | {"file_name": "c.jpg"}))
    root = write(tmp_path / "json", LINE)
    (root / "metadata.jsonl").write_text(json.dumps(LINE) + "\n\n{'file_name'}\n")
    with pytest.raises(ValueError, match="metadata.jsonl, line 3: not valid JSON"):
        load_scene_graphs(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected an object with the field 'objects'"),
        ({"objects": ["a"]}, "field 'predicates' to be a list"),
        (NAMES | {"objects": ["a", "a"]}, r"'objects': every name may occur once, but \['a'\]"),
        (NAMES | {"objects": [3]}, "'objects': expected a list of names, .* entry 0 is 3"),
        (NAMES | {"objects": ["table", ""]}, "'objects': expected a list of names, .* entry 1 is ''"),
        (NAMES | {"predicates": ["\ud800"]}, r"'predicates': expected a list of names, .* entry 0 is '\\ud800'"),
        (NAMES | {"bbox_format": "cxcywh"}, "'bbox_format' must be one of .*'cxcywh'"),
    ],
)
def test_mistakes_of_the_vocabulary(tmp_path, content, message):
    with pytest.raises(ValueError, match=f"vocabulary.json.*{message}"):
        load_scene_graphs(write(tmp_path, LINE, vocabulary=content))
