"""Files that are not what they should be: one sentence each, with file, image and field."""

import bz2
import gzip
import json
import lzma
import pickle
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speaq_hf.predictions import FORMATS, read_predictions
from speaq_hf.predictions.predicted_image import check_boxes_inside
from tests.predictions.factories import LINES, NAMES, content_of, write_content


NAN, INFINITY = float("nan"), float("inf")
MISSING = object()
CORNERS = r"corners \(x1, y1, x2, y2\)"


def edited(content: Any, place: str, value: Any) -> Any:
    """The content with another value at a place such as "1.boxes.0"; MISSING removes what is there."""
    *parents, last = place.split(".")
    target = content
    for key in parents:
        target = target[int(key) if isinstance(target, list) else key]
    last = int(last) if isinstance(target, list) else last
    if value is MISSING:
        del target[last]
    else:
        target[last] = value
    return content


# Place, value, what the message says; `line` of image 7 is "1", its vocabulary "0".
LINE_FAULTS = [
    ("1.image_id", MISSING, "line 2: expected the field 'image_id' to be an integer"),
    ("1.image_id", None, "line 2: expected the field 'image_id' to be an integer, got None"),
    ("1.image_id", 7.5, "'image_id'.*got 7.5"),
    ("1.image_id", True, "'image_id'.*got True"),
    ("1.image_id", [7], r"'image_id'.*got \[7\]"),
    ("2.image_id", 7, "line 3, image 7: this image is predicted twice, first in .*line 2, image 7"),
    ("2.image_id", "7", "line 3, image '7': this image is predicted twice"),
    ("1", [1, 2], r"line 2: expected an object with the field 'image_id', got \[1, 2\]"),
    ("1", "text", "line 2: expected an object with the field 'image_id', got 'text'"),
    ("1.boxes", MISSING, "image 7: the field 'boxes' is missing; the fields are image_id, "),
    ("1.labels", MISSING, "image 7: the field 'labels' is missing"),
    ("1.scores", MISSING, "image 7: the field 'scores' is missing"),
    ("1.relations", MISSING, "image 7: the field 'relations' is missing"),
    ("1.relations", None, "image 7: the field 'relations' must be a list, got None"),
    ("1.boxes", None, "image 7: expected the field 'boxes' to be a list, got None"),
    ("1.boxes", {"a": 1}, "expected the field 'boxes' to be a list"),
    ("1.boxes", [1, 2, 3, 4], r"'boxes' row 0 must be 4 finite numbers \(x1, y1, x2, y2\), got 1"),
    ("1.boxes.1", [1, 2, 3], r"'boxes' row 1 must be 4 finite numbers \(x1, y1, x2, y2\), got \[1, 2, 3\]"),
    ("1.boxes.1", [1, 2, 3, 4, 0.9], "'boxes' row 1 must be 4 finite numbers"),
    ("1.boxes.1", [], "'boxes' row 1 must be 4"),
    ("1.boxes.2.3", NAN, r"image 7: 'boxes' row 2 must be 4 finite .*nan\]"),
    ("1.boxes.0.0", INFINITY, "'boxes' row 0 must be 4 finite .*inf"),
    ("1.boxes.0.0", -INFINITY, "'boxes' row 0 must be 4 finite .*-inf"),
    ("1.boxes.0.0", "20", "'boxes' row 0 must be 4 finite .*'20'"),
    ("1.boxes.0.0", None, "'boxes' row 0 must be 4 finite .*None"),
    ("1.boxes.0.0", True, "'boxes' row 0 must be 4 finite .*True"),
    ("1.boxes.0.2", 10**400, "'boxes' row 0 must be 4 finite"),
    ("1.boxes.0.2", 1e300, r"'boxes' row 0 must be 4 finite .*1e\+300"),
    (
        "1.boxes.1",
        [60, 50, 20, 20],
        rf"'boxes' row 1 is \[60.0.*boxes are {CORNERS}.*are they \(x, y, width, height\)\?",
    ),
    ("1.boxes.2", [20, 50, 30, 15], r"'boxes' row 2 .*ends before it begins; are they \(x, y, width, height\)\?"),
    ("1.boxes.1", [20, 50, 400, 300], "'boxes' row 1 reaches .* to x2, y2 = .*image is 120 x 100.*resized image"),
    ("1.boxes.1", [-99, 0, 10, 10], r"'boxes' row 1 reaches from x1, y1 = \[-99.0"),
    ("1.boxes", [[0.1, 0.1, 0.5, 0.5]] * 3, "'boxes': no box reaches beyond 1, .* boxes are in pixels, not shares"),
    ("1.boxes", [[0, 0, 9, 9]] * 2, "'labels' has 3 values, but there are 2 boxes"),
    ("1.labels", [0, 1], "'labels' has 2 values, but there are 3 boxes"),
    ("1.labels", 0, "expected the field 'labels' to be a list"),
    ("1.labels.1", 3, "'labels' row 1: there is no object class 3, the numbers are 0…2"),
    ("1.labels.1", -1, "'labels' row 1: there is no object class -1"),
    ("1.labels.1", 1.0, "'labels' row 1: the object class must be a name or an integer, got 1.0"),
    ("1.labels.1", True, "'labels' row 1: .*got True"),
    ("1.labels.1", None, "'labels' row 1: .*got None"),
    ("1.labels.1", [1], r"'labels' row 1: .*got \[1\]"),
    ("1.labels.1", {"id": 1}, "'labels' row 1: .*integer, got"),
    ("1.labels.1", "hores", "'labels' row 1: there is no object class 'hores' .*did you mean 'horse'"),
    ("1.labels.1", "zebra", "there is no object class 'zebra' .*they are 'man', 'horse', 'hat'"),
    ("1.scores", [0.9, 0.8], "'scores' has 2 values, but there are 3 boxes"),
    ("1.scores.2", NAN, "'scores' row 2 must be a finite number, got nan"),
    ("1.scores.2", -INFINITY, "'scores' row 2 must be a finite number, got -inf"),
    ("1.scores.2", "0.7", "'scores' row 2 must be a finite number, got '0.7'"),
    ("1.scores.2", False, "'scores' row 2 must be a finite number, got False"),
    ("1.scores.2", [0.7], "'scores' row 2 must be a finite number"),
    ("1.scores", None, "'scores' must be a list, got None"),
    ("1.relations.1", [0, 3, 1], r"'relations' row 1 is \[0, 3, 1\], but there are 3 objects, counted from 0"),
    ("1.relations.1", [-1, 2, 1], r"'relations' row 1 is \[-1, 2, 1\]"),
    ("1.relations.1", [0, 2], r"'relations' row 1 must be \(subject, object, predicate\), got \[0, 2\]"),
    ("1.relations.1", [0, 2, 1, 0.5], r"'relations' row 1 must be \(subject, object, predicate\)"),
    ("1.relations.1", "0 2 1", r"'relations' row 1 must be \(subject, object, predicate\), got '0 2 1'"),
    ("1.relations.1", [0.0, 2, 1], "'relations' row 1 must be .* with object numbers"),
    ("1.relations.1", [True, 2, 1], "'relations' row 1 must be .* with object numbers"),
    ("1.relations.1", ["man", "hat", 1], "'relations' row 1 must be .* with object numbers"),
    ("1.relations.1", [0, 2, 2], "'relations' row 1: there is no predicate 2, the numbers are 0…1"),
    ("1.relations.1", [0, 2, -1], "'relations' row 1: there is no predicate -1"),
    (
        "1.relations.1",
        [0, 2, "waering"],
        "'relations' row 1: there is no predicate 'waering' .*did you mean 'wearing'",
    ),
    ("1.relations.1", [0, 2, None], "'relations' row 1: the predicate must be a name or an integer, got None"),
    ("1.relations", {"0": 1}, "'relations' must be a list"),
    ("1.relation_scores", [0.5], "'relation_scores' has 1 values, but there are 2 relations"),
    ("1.relation_scores.1", NAN, "'relation_scores' row 1 must be a finite number, got nan"),
    ("1.predicate_probabilities", [[0.7, 0.2, 0.1]], "'predicate_probabilities' has 1 values, but there are 2"),
    ("1.predicate_probabilities.1", [0.5, 0.5], r"row 1 must be 3 finite numbers \(2 predicates and background\)"),
    ("1.predicate_probabilities.1.2", NAN, "'predicate_probabilities' row 1 must be 3 finite"),
    ("1.predicate_probabilities", 0.5, "'predicate_probabilities' must be a list, got 0.5"),
    ("1.unconstrained_relations", [[0, 9, 0]], r"'unconstrained_relations' row 0 is \[0, 9, 0\]"),
    ("1.query_indices.0", 0.5, "'query_indices' row 0 must be an integer, got 0.5"),
    ("1.image_size", [100], r"'image_size' must be \[height, width\] in whole pixels, got \[100\]"),
    ("1.image_size", [100.5, 120], "'image_size' must be"),
    ("1.image_size", [0, 120], "'image_size' must be"),
    ("2.width", 30, r"image 8: 'image_size' must be .*got \[None, 30\]"),
    ("2.relation_score", [1], "image 8: there is no field 'relation_score'; rename it if 'relation_scores' is meant"),
    ("0.id2label", MISSING, "line 1: expected the field 'id2label' to be an object"),
    ("0.id2label", ["man"], "line 1: expected the field 'id2label' to be an object"),
    ("0.id2label.3", 5, "line 1: 'id2label' must give every class number from 0 a name"),
    ("0.id2label.0", MISSING, "line 1: 'id2label' must give every class number from 0"),
    ("0.id2label.1", "man", r"line 1: 'id2label': every name may occur once, but \['man'\] occur several times"),
    ("0.id2label.1", "mare", "image 7: 'labels' row 1: 1 is 'mare' in 'id2label'; there is no object class 'mare'"),
    (
        "0.id2predicate.1",
        "wears",
        "image 7: 'relations' row 1: 1 is 'wears' in 'id2predicate'; .*did you mean 'wearing'",
    ),
    ("0.id2predicate.2", "on", "image 7: 'predicate_probabilities' row 0 must be 4 finite numbers"),
]
SGBENCH_FAULTS = [
    ("images.0.id", MISSING, r"'images'\[0\]: expected the field 'id'"),
    ("images.1.id", 7, r"'images'\[1\], image 7: this image is predicted twice"),
    ("images.0", 3, r"'images'\[0\]: expected an object with the field 'id', got 3"),
    ("images", {}, "expected lines with 'image_id'"),
    ("images", [], "the file predicts no image"),
    ("images.0.triplets", MISSING, "image 7: expected the field 'triplets' to be a list"),
    ("images.0.triplets.1", [0, 3, 1], r"image 7: 'triplets' row 1 is \[0, 3, 1\], but there are 3 objects"),
    ("images.0.triplets.1", [0, 2, 50], "'triplets' row 1: there is no predicate 50"),
    ("images.0.ng_triplets.0", [0, 1], "'ng_triplets' row 0 must be"),
    ("images.0.annotation", MISSING, "image 7: expected the field 'annotation' to be a list"),
    ("images.0.annotation.1.bbox", MISSING, "image 7: 'bbox' of 'annotation': expected the field 'bbox'"),
    ("images.0.annotation.1.bbox", [1, 2], r"'bbox' of 'annotation' row 1 must be 4 finite numbers"),
    ("images.0.annotation.1.bbox", [50, 60, 20, 20], r"row 1 .*are they \(x, y, width, height\)"),
    ("images.0.annotation.1.bbox.1", NAN, "row 1 must be 4 finite"),
    ("images.0.annotation.1.category", MISSING, "image 7: 'annotation': expected the field 'category'"),
    ("images.0.annotation.1.category", 150, "'category' of 'annotation' row 1: there is no object class 150"),
]
COCO_FAULTS = [
    ("categories", MISSING, "expected the field 'categories' to be a list"),
    ("rel_categories", MISSING, "expected the field 'rel_categories' to be a list"),
    ("rel_annotations", MISSING, "there are no relations; expected 'rel_annotations', or 'relations' of each image"),
    (
        "categories.0.name",
        "cap",
        r"image 7: 'category_id' row 2: 9 is 'cap' in 'categories'; there is no object class",
    ),
    ("rel_categories.0.name", "ridng", "image 7: relations row 1: 5 is 'ridng' in 'rel_categories'; .*'riding'"),
    ("images.1.id", 7, r"'images'\[1\]: image 7 is listed twice"),
    ("images.1.id", 9, r"'annotations'\[1\]: 'image_id' 8 is not among the ids of 'images'"),
    ("images.0.width", None, r"image 7: 'width' and 'height' must be whole pixels, got \(None, 100\)"),
    ("images.0.width", 12, "image 7: 'bbox' row 0 reaches .*image is 12 x 100"),
    (
        "annotations.0.score",
        MISSING,
        r"image 7, 'annotations'\[0\]: the field 'score' is missing; is this a file of annot",
    ),
    ("annotations.0.score", NAN, "image 7: 'score' row 0 must be a finite number, got nan"),
    ("annotations.0.id", 12, r"'annotations': every 'id' may occur once, but 12"),
    ("annotations.0.image_id", MISSING, r"'annotations'\[0\]: expected the field 'image_id'"),
    (
        "annotations.0.category_id",
        "man",
        r"image 7, 'annotations'\[0\]: expected the field 'category_id' to be an integer",
    ),
    ("annotations.0.category_id", 2, "image 7: 'category_id' row 0: there is no object class 2"),
    ("annotations.0.bbox", [20, 10, 30], r"image 7: 'bbox' row 0 must be 4 finite numbers \(x, y, width, height\)"),
    ("annotations.0.bbox", [20, 10, -3, 5], rf"'bbox' row 0 .*ends before it begins; are they {CORNERS}\?"),
    ("annotations.2.bbox", [100, 90, 115, 98], rf"image 7: 'bbox' row 1 reaches .*are they {CORNERS}\?"),
    (
        "rel_annotations.0.subject_id",
        99,
        r"image 7, 'rel_annotations'\[0\]: 'subject_id' 99 .*no annotation has this id",
    ),
    (
        "rel_annotations.0.object_id",
        14,
        "'object_id' 14 must be an annotation of this image: that is an object of image 8",
    ),
    ("rel_annotations.0.predicate_id", 4, "image 7: relations row 0: there is no predicate 4"),
    ("rel_annotations.0.score", MISSING, "image 7: 'score' of relations row 0 is missing, though other relations"),
    ("rel_annotations.0.score", "high", "'score' of relations row 0 must be a finite number, got 'high'"),
]
FAULTS = [
    pytest.param(format, *fault, id=f"{format} {fault[0]} {number}")
    for format, faults in (("jsonl", LINE_FAULTS), ("sgbench", SGBENCH_FAULTS), ("coco", COCO_FAULTS))
    for number, fault in enumerate(faults)
]


def complaint(path) -> str:
    """The message about a file, which must be one sentence that names it."""
    with pytest.raises(ValueError) as caught:
        list(read_predictions(path, **NAMES))
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and len(message) < 450
    return message


def test_a_tiny_box_in_the_corner_is_no_share_of_the_image():
    check_boxes_inside(np.array([[0.1, 0.1, 0.5, 0.5]] * 2), (100, 120), "here", "xyxy")
    with pytest.raises(ValueError, match="not shares of the image"):
        check_boxes_inside(np.array([[0.1, 0.1, 0.5, 0.5]] * 3), (100, 120), "here", "xyxy")


@pytest.mark.parametrize("format", FORMATS)
def test_the_files_before_they_are_damaged_are_sound(format, tmp_path):
    assert len(list(read_predictions(write_content(tmp_path, format, content_of(format)), **NAMES))) == 2


@pytest.mark.parametrize(("format", "place", "value", "message"), FAULTS)
def test_every_fault_is_named(format, place, value, message, tmp_path):
    path = write_content(tmp_path, format, edited(content_of(format), place, value))
    found = complaint(path)
    assert re.search(message, found), found


def text_of(line: dict, **replacements: str) -> str:
    text = json.dumps(line)
    for old, new in replacements.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        (json.dumps(LINES[0]), "the file predicts no image"),
        (json.dumps(LINES[1])[:-30], "not valid JSON, the file may be cut off or damaged"),
        (json.dumps(LINES[1]) + json.dumps(LINES[2]), "not valid JSON, .*Extra data"),
        (text_of(LINES[2], image_id='image_id": 8, "image_id'), "image 8: the field 'image_id' occurs twice"),
        (text_of(LINES[2], boxes='scores": [1], "boxes'), "image 8: the field 'scores' occurs twice in one object"),
        (text_of(LINES[2]).replace("[1]", "[1e999]"), "image 8: 'scores' row 0 must be a finite number, got inf"),
        (text_of(LINES[2]).replace("[1]", f"[{'9' * 5000}]"), "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("{'image_id': 7}", "not valid JSON"),
        ("boxes,labels\n1,2\n", "not valid JSON"),
        ("[]", r"expected lines with 'image_id' \(jsonl\), .*got \[\]"),
        ("3", "expected lines with 'image_id'.*got 3"),
        ('{"data": [], "predicate_classes": []}', "got an object with 'data', 'predicate_classes'"),
        ('[{"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]', "expected lines with .* got "),
    ],
)
@pytest.mark.parametrize("name", ["predictions.json", "predictions.jsonl"])
def test_text_that_is_no_predictions(text, message, name, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    found = complaint(path)
    if name.endswith(".json") or "expected lines" not in message and "got an object" not in message:
        assert re.search(message, found), found


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(json.dumps(LINES[1]).encode() + b"\n\xff\xfe{}\n")
    assert "line 2: not valid JSON" in complaint(path)
    path.write_bytes(b"PK\x03\x04 and so on")
    assert "a ZIP file; of SGBench's formats, only JSON with boxes is read" in complaint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": MISSING}, "line 1: expected the field 'image_id' to be an integer"),
        ({"annotations": [], "boxes": 5}, "line 1, image 7: expected the field 'boxes' to be a list, got 5"),
        ({"image_id": MISSING, "annotations": []}, "line 1: expected the field 'image_id'"),
        (-30, "line 1: not valid JSON"),
        (9, "line 1: not valid JSON"),
    ],
)
@pytest.mark.parametrize("name", ["predictions.json", "predictions.jsonl"])
def test_a_faulty_first_line_is_named_whatever_the_file_is_called(change, message, name, tmp_path):
    first = LINES[1] | change if isinstance(change, dict) else LINES[1]
    text = json.dumps({field: value for field, value in first.items() if value is not MISSING})
    text = text if isinstance(change, dict) else text[:change]
    path = tmp_path / name
    path.write_text(f"{text}\n{json.dumps(LINES[2])}\n")
    assert message in complaint(path)


@pytest.mark.parametrize("name", ["predictions.json", "predictions.jsonl"])
def test_a_list_of_lines_is_no_lines(name, tmp_path):
    path = tmp_path / name
    path.write_text("[\n" + ",\n".join(map(json.dumps, LINES)) + "\n]\n")
    message = complaint(path)
    assert "list" in message and "one object on each line, without brackets" in message and "cut off" not in message


@pytest.mark.parametrize("name", ["predictions.json", "predictions.jsonl"])
@pytest.mark.parametrize(
    ("pack", "found"),
    [
        (gzip.compress, "gzip has packed"),
        (bz2.compress, "bzip2 has packed"),
        (lzma.compress, "xz has packed"),
        (lambda content: content.decode().encode("utf-16"), "UTF-16"),
        (lambda content: content.decode().encode("utf-16-le"), "UTF-16"),
        (lambda content: content.decode().encode("utf-16-be"), "UTF-16"),
        (pickle.dumps, "a pickle"),
    ],
)
def test_what_is_no_plain_text_is_called_by_its_name(pack, found, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(pack(json.dumps(LINES[1]).encode()))
    assert found in (message := complaint(path)) and "cut off" not in message


def test_sgbench_of_the_readme_and_of_masks(tmp_path):
    readme = {
        "version": 1,
        "images": [{"id": "7", "bboxes": [[1, 2, 3, 4]], "categories": [0], "triplets": [[0, 0, 0]]}],
    }
    assert "SGBench's program reads objects from 'annotation'" in complaint(write_content(tmp_path, "sgbench", readme))
    masks = content_of("sgbench")
    masks["images"][0]["seg_filename"] = "7.tiff"
    del masks["images"][0]["annotation"][0]["bbox"]
    assert "its objects are masks" in complaint(write_content(tmp_path, "sgbench", masks))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 1]], r"image 7: 'relations' row 0 must be \[subject, object, predicate, score\], got \[0, 1\]"),
        ([[0, 1, 5, None], [0, 1, 5, 1]], "'score' of relations row 0 is missing"),
        ([[0, 3, 5, 1]], r"relations row 0 is \[0, 3, 5\], but there are 3 objects"),
        ("none", "'relations' row 0 must be"),
    ],
)
def test_faulty_relation_rows_of_coco(rows, message, tmp_path):
    content = content_of("coco")
    del content["rel_annotations"]
    assert re.search(message, complaint(write_content(tmp_path, "coco", content | {"relations": {"7": rows}})))
    assert "image '99' is not among the images" in complaint(
        write_content(tmp_path, "coco", content | {"relations": {"99": []}})
    )


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="p.jsonl does not exist"):
        read_predictions(tmp_path / "p.jsonl")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        read_predictions(tmp_path)


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 200),
    st.floats(),
    st.sampled_from(["", "man", "riding", [], {}, [[]], [[0, 0, 0]], [[0, 0, 9, 9]], 2**70, -1]),
)


def places(content: Any, parents: tuple = ()) -> list[tuple]:
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, value in entries for place in [(*parents, key), *places(value, (*parents, key))]]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), format=st.sampled_from(FORMATS))
def test_nothing_but_a_named_error_comes_of_a_damaged_value(data, format, tmp_path_factory):
    content = content_of(format)
    *parents, last = data.draw(st.sampled_from(places(content)))
    target = content
    for key in parents:
        target = target[key]
    target[last] = data.draw(values)
    path = write_content(tmp_path_factory.mktemp("files"), format, content)
    try:
        list(read_predictions(path, **NAMES))
    except ValueError as error:
        assert str(path) in str(error) and "\n" not in str(error)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), format=st.sampled_from(FORMATS))
def test_a_file_that_is_cut_off_is_noticed(data, format, tmp_path_factory):
    path = write_content(tmp_path_factory.mktemp("files"), format, content_of(format))
    text = path.read_text().rstrip("\n")
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    path.write_text(cut)
    lines = cut.rstrip("\n").split("\n")
    if format == "jsonl" and len(lines) > 1 and lines == text.split("\n")[: len(lines)]:  # cut between lines
        assert len(list(read_predictions(path, **NAMES))) == len(lines) - 1  # the first line holds the names
    else:
        with pytest.raises(ValueError, match=re.escape(str(path))):
            list(read_predictions(path, **NAMES))
