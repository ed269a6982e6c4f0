"""Defects of people's own sets, in every format: each is named with its file and its line or row."""

import json

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import HealthCheck, given, settings
from PIL import Image
from typer.testing import CliRunner

from speaq_hf.cli import app
from speaq_hf.data import load_scene_graph_splits, save_scene_graphs
from speaq_hf.data.report import report_data
from speaq_hf.data.report_page import report_page
from speaq_hf.data.report_text import report_text
from tests.data.factories import dataset, row


FORMATS = ("imagefolder", "coco", "arrow", "parquet")
SIZE = (60, 40)


def picture(path, seed, size=SIZE):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def line(name, boxes=(), categories=(), relations=(), **fields):
    return {"file_name": name, "objects": {"bbox": boxes, "category": categories}, "relations": relations} | fields


CUP, TABLE, LAMP = [4, 8, 20, 10], [2, 5, 9, 25], [20, 20, 8, 8]
SOUND = line("a.jpg", [CUP, TABLE], ["cup", "table"], [[0, 1, "on"]])


def write(folder, *lines):
    """An image folder with pictures a to f; texts are lines as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate("abcdef"):
        picture(folder / f"{name}.jpg", seed)
    texts = [entry if isinstance(entry, str) else json.dumps(entry) for entry in lines]
    (folder / "metadata.jsonl").write_text("\n".join(texts))
    return folder


def defects(*sources, **options):
    """(kind, line or row) of every defect of a set, and the messages."""
    log = report_data(*sources, num_samples=0, **options).sets[0].defects
    return [(d.kind, d.row if d.line is None else d.line) for d in log.listed], " | ".join(
        d.message for d in log.listed
    )


def as_format(folder, format):
    """The set of an image folder in another format, whatever is wrong with its rows."""
    if format == "imagefolder":
        return folder
    target = folder.with_name(f"{folder.name}_{format}")
    save_scene_graphs(load_scene_graph_splits(folder), target, format)
    return target


# What readers take, so that it can be written in every format: the row, what is found there, and a part of the message.
READABLE = {
    "duplicate_relation": (line("b.jpg", [CUP, TABLE], ["cup", "table"], [[0, 1, "on"], [1, 0, "on"], [0, 1, "on"]]), "relation 2 is the same as relation 0"),
    "self_relation": (line("b.jpg", [CUP, TABLE], ["cup", "table"], [[1, 1, "on"]]), "relation 0 of box 1 to itself"),
    "duplicate_box": (line("b.jpg", [CUP, TABLE, CUP], ["cup", "table", "cup"]), "box 2 is the same as box 0"),
    "empty_box": (line("b.jpg", [[4, 8, 0, 10]], ["cup"]), "box 0 with corners [4.0, 8.0, 4.0, 18.0]"),
    "box_outside_image": (line("b.jpg", [CUP, CUP, CUP, [60, 8, 4, 4]], ["cup", "table", "lamp", "cup"]), "box 3 with corners [60.0, 8.0, 64.0, 12.0], b.jpg of 60 x 40"),
    "box_across_border": (line("b.jpg", [CUP, TABLE, LAMP, [55, 8, 9, 4]], ["cup", "table", "lamp", "cup"]), "box 3 with corners"),
    "size_mismatch": (line("b.jpg", [CUP], ["cup"], width=70, height=40), "b.jpg is 60 x 40, the list says 70 x 40"),
}  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", READABLE)
def test_one_planted_defect_is_one_defect_at_its_row(tmp_path, kind, format):
    entry, message = READABLE[kind]
    root = as_format(write(tmp_path / "set", SOUND, line("c.jpg", [LAMP], ["lamp"]), entry), format)
    found, messages = defects(root)
    if format in ("arrow", "parquet"):
        message = message.replace("b.jpg is", "train row 2 (b.jpg) is")
    assert found == [(kind, 3 if format == "imagefolder" else 2)] and message in messages.replace(
        str(root) + "/", ""
    ).replace("images/train/", "")


@pytest.mark.parametrize("format", FORMATS)
def test_images_that_do_not_decode_and_copies(tmp_path, format):
    """The newcomer's set: everything is told, and nothing ends the report."""
    root = write(
        tmp_path / "set",
        SOUND,
        line("b.jpg", [CUP, TABLE, CUP], ["cup", "table", "cup"], [[0, 1, "on"], [0, 1, "on"], [1, 1, "on"]]),
        line("c.jpg"),
    )
    (root / "b.jpg").write_bytes((root / "a.jpg").read_bytes())
    (root / "c.jpg").write_bytes((root / "c.jpg").read_bytes()[:-300])
    root = as_format(root, format)
    found, messages = defects(root)
    first = 1 if format == "imagefolder" else 0
    assert sorted(found) == sorted(
        [("duplicate_relation", first + 1), ("self_relation", first + 1), ("duplicate_box", first + 1)]
        + [("duplicate_image", first + 1), ("unreadable_image", first + 2)]
    )
    assert "c.jpg" in messages and "a.jpg" in messages
    result = CliRunner().invoke(app, ["data-report", str(root), "--html", str(tmp_path / "r.html")])
    assert result.exit_code == 1
    for text in (result.output, (tmp_path / "r.html").read_text()):
        assert "relation annotated twice" in text and "image file cannot be decoded" in text
        assert "Not looked for" not in text
    assert "No samples" not in result.output and "b.jpg (train)" in (tmp_path / "r.html").read_text()


BROKEN_LINES = {
    "no JSON": ('{"file_name": ', "broken_entry", "not valid JSON"),
    "no objects": ({"file_name": "b.jpg"}, "broken_entry", "expected the field 'objects'"),
    "three numbers": (line("b.jpg", [[1, 2, 3]], ["cup"]), "broken_entry", "rows of 4 numbers"),
    "lengths": (line("b.jpg", [CUP], ["cup", "table"]), "broken_entry", "1 boxes but 2 categories"),
    "missing image": (line("gone.jpg", [CUP], ["cup"]), "missing_image", "there is no image 'gone.jpg'"),
    "missing box": (line("b.jpg", [CUP], ["cup"], [[0, 1, "on"]]), "relation_to_missing_box", "boxes [0, 1], but there are 1"),
    "class": (line("b.jpg", [CUP, TABLE], ["cup", 7]), "unknown_class", "7 is neither one of the 3 names"),
    "index without a vocabulary": (line("b.jpg", [CUP, TABLE], ["cup", 0]), "unknown_class", "0 is neither one of the 3"),
    "predicate": (line("b.jpg", [CUP, TABLE], ["cup", "table"], [[0, 1, 9]]), "unknown_class", "9 is neither one of the 1"),
    "not finite": ('{"file_name": "b.jpg", "objects": {"bbox": [[1, NaN, 3, 4]], "category": ["cup"]}, "relations": []}', "broken_box", "nan"),
    "same id": (line("a.jpg", [LAMP], ["cup"]), "duplicate_image_id", "is that of"),
    "no image": (line("empty.jpg", [CUP], ["cup"]), "unreadable_image", "empty.jpg"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_LINES)
def test_lines_that_the_reader_refuses_are_named_with_the_others(tmp_path, name):
    broken, kind, message = BROKEN_LINES[name]
    twice = line("d.jpg", [TABLE, TABLE], ["table", "table"])
    root = write(tmp_path / "set", SOUND, broken, line("c.jpg", [LAMP], ["lamp"]), twice)
    (root / "empty.jpg").write_bytes(b"")
    with pytest.raises((ValueError, FileNotFoundError)):
        load_scene_graph_splits(root)
    found, messages = defects(root)
    assert sorted(found) == sorted([(kind, 2), ("duplicate_box", 4)]) and message in messages
    reported = report_data(root).sets[0]
    assert reported.summary.total.images >= 3 and reported.summary.total.relations >= 1
    assert "metadata.jsonl, line 2" in report_text(report_data(root))


def coco():
    return {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg", "width": 60, "height": 40}],
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "table"}],
        "rel_categories": [{"id": 1, "name": "on"}],
        "annotations": [
            {"id": 5, "image_id": 1, "category_id": 1, "bbox": CUP},
            {"id": 6, "image_id": 1, "category_id": 2, "bbox": TABLE},
            {"id": 7, "image_id": 2, "category_id": 2, "bbox": TABLE},
        ],
        "rel_annotations": [{"id": 1, "image_id": 1, "subject_id": 5, "object_id": 6, "predicate_id": 1}],
    }


BROKEN_COCO = {
    "class": ("annotations", 2, {"category_id": 9}, "unknown_class"),
    "box": ("annotations", 0, {"bbox": [1, 2, 3]}, "broken_entry"),
    "owner": ("annotations", 2, {"image_id": 9}, "broken_entry"),
    "id twice": ("annotations", 2, {"id": 6}, "broken_entry"),
    "subject": ("rel_annotations", 0, {"subject_id": 99}, "relation_to_missing_box"),
    "object elsewhere": ("rel_annotations", 0, {"object_id": 7}, "relation_to_missing_box"),
    "predicate": ("rel_annotations", 0, {"predicate_id": 4}, "unknown_class"),
    "image": ("images", 1, {"file_name": "gone.jpg"}, "missing_image"),
    "image id": ("images", 1, {"id": 1.5}, "broken_entry"),
    "size": ("images", 1, {"width": 0}, "broken_image_entry"),
}


@pytest.mark.parametrize("name", BROKEN_COCO)
def test_entries_of_coco_that_the_reader_refuses(tmp_path, name):
    key, number, change, kind = BROKEN_COCO[name]
    content = coco()
    content[key][number] |= change
    (write(tmp_path / "set") / "metadata.jsonl").unlink()
    (tmp_path / "set/train.json").write_text(json.dumps(content))
    with pytest.raises((ValueError, FileNotFoundError)):
        load_scene_graph_splits(tmp_path / "set")
    log = report_data(tmp_path / "set", num_samples=0).sets[0].defects
    assert (kind, key, number) in [(d.kind, d.field, d.row) for d in log.listed]
    assert {d.file for d in log.listed} == {str(tmp_path / "set/train.json")}


def test_relations_by_position_with_and_without_their_box(tmp_path):
    content = coco()
    del content["rel_annotations"]
    content["annotations"][0]["bbox"] = "none"
    content["images"][0]["relations"] = [[0, 1, 1], [1, 1, 1], [1, 5, 1], [1, 0, 3]]
    (write(tmp_path / "set") / "metadata.jsonl").unlink()
    (tmp_path / "set/train.json").write_text(json.dumps(content))
    reported = report_data(tmp_path / "set").sets[0]
    assert [(d.kind, d.field, d.row) for d in reported.defects.listed] == [
        ("broken_entry", "annotations", 0),
        ("unknown_class", "images", 0),
        ("relation_to_missing_box", "images", 0),
        ("self_relation", "images", 0),
    ]
    assert (reported.summary.total.boxes, reported.summary.total.relations) == (2, 1)


def with_class(rows, number):
    """The rows with another class in the first box, which `datasets` itself would not write."""
    table = rows.data.table
    objects = table["objects"].combine_chunks()
    categories = pa.array([[number], *objects.field("category").to_pylist()[1:]], objects.field("category").type)
    objects = pa.StructArray.from_arrays([objects.field("bbox"), categories], fields=list(objects.type))
    return Dataset(table.set_column(table.column_names.index("objects"), table.schema.field("objects"), objects))


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_rows_of_datasets(tmp_path, place):
    bad = row(2, SIZE, [[0, 0, 9, 9]], [1], [[0, 3, 0]])
    rows = with_class(dataset([row(1, SIZE, [[0, 0, 5, 5]], [0]), bad]), 7)
    source = DatasetDict(train=dataset([row(5, SIZE)]), test=rows)
    if place == "disk":
        source.save_to_disk(tmp_path / "set")
        source = tmp_path / "set"
    log = report_data(source, num_samples=0).sets[0].defects
    assert [(d.kind, d.field, d.row) for d in log.listed] == [
        ("unknown_class", "test", 0),
        ("relation_to_missing_box", "test", 1),
    ]


def test_sets_that_cannot_be_read_at_all(tmp_path):
    save_scene_graphs(dataset([row(1)]), tmp_path / "set", "parquet")
    next((tmp_path / "set").rglob("*.parquet")).write_bytes(b"PAR1")
    assert defects(tmp_path / "set")[0] == [("unreadable_file", None)]
    Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "text")
    assert defects(tmp_path / "text")[0] == [("broken_entry", None)]
    assert defects(write(tmp_path / "empty"))[0] == [("unreadable_file", None)]
    other = DatasetDict(train=dataset([row(1)]), test=dataset([row(2)], objects=["cat"]))
    assert defects(other)[0] == [("broken_vocabulary", None)]
    text = report_text(report_data(tmp_path / "text"))
    assert "The annotations cannot be counted" in text and "errors" in report_page(report_data(tmp_path / "text"))


def test_boxes_in_another_form_are_a_warning(tmp_path):
    root = write(tmp_path / "set", line("a.jpg", [[0.1, 0.1, 0.4, 0.4]], ["cup"], []), SOUND | {"relations": []})
    (root / "vocabulary.json").write_text(json.dumps({"objects": ["cup", "table"], "predicates": ["on"]}))
    corners = line("b.jpg", [[30, 20, 55, 39]], ["cup"])
    (root / "metadata.jsonl").write_text(json.dumps(corners))
    assert ("doubtful_boxes", None) in defects(root)[0] and '"bbox_format": "xyxy"' in defects(root)[1]


def test_a_format_is_chosen_where_a_folder_holds_several(tmp_path):
    root = write(tmp_path / "set", SOUND)
    (root / "train.json").write_text(json.dumps(coco()))
    with pytest.raises(ValueError, match="several formats"):
        report_data(root)
    assert report_data(root, format="coco").sets[0].summary.total.images == 2
    result = CliRunner().invoke(app, ["data-report", str(root), "--format", "imagefolder"])
    assert result.exit_code == 0 and "No defects." in result.output


def test_without_decoding_only_rows_are_checked(tmp_path):
    root = write(tmp_path / "set", SOUND, line("b.jpg", [CUP, CUP], ["cup", "cup"]))
    (root / "a.jpg").write_bytes((root / "a.jpg").read_bytes()[:-300])
    assert defects(root, decode_images=False)[0] == [("duplicate_box", 2)]


VALUES = st.sampled_from(
    [None, True, -1, 0, 1, 7, 2**70, 1e400, float("nan"), "", "a.jpg", [], [0], [[]], [[0, 0, 0]], {}]
)


def places(value, path=()):
    """Paths to all values of a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def with_value(content, path, value):
    if not path:
        return value
    copy = content.copy()
    copy[path[0]] = with_value(content[path[0]], path[1:], value)
    return copy


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_value_in_a_file_ends_the_report(tmp_path_factory, data):
    folder = write(tmp_path_factory.getbasetemp() / "fuzzed", SOUND)
    if data.draw(st.booleans()):
        content, file, format = (
            [SOUND, line("b.jpg", [LAMP], ["lamp"], split="val", width=60, height=40)],
            "metadata.jsonl",
            "imagefolder",
        )
    else:
        content, file, format = coco(), "train.json", "coco"
        if data.draw(st.booleans()):
            del content["rel_annotations"]
            content["images"][0]["relations"] = [[0, 1, 1]]
    path = data.draw(st.sampled_from(places(content)[1:]))
    content = with_value(content, path, data.draw(VALUES))
    lines = content if format == "imagefolder" else [content]
    (folder / file).write_text("\n".join(map(json.dumps, lines)))
    try:
        load_scene_graph_splits(folder, format=format)
        is_sound = True
    except (ValueError, FileNotFoundError):
        is_sound = False
    reported = report_data(folder, format=format, num_samples=0, decode_images=False).sets[0]
    assert is_sound or reported.defects.num_errors
    assert report_text(report_data(folder, format=format, num_samples=0, decode_images=False))
