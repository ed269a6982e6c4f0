import copy
import json

import pytest
from PIL import Image

from speaq_hf.data import (
    load_scene_graph_splits,
    load_scene_graphs,
    object_names,
    predicate_names,
    save_scene_graphs,
)
from speaq_hf.data.scene_graph_files import recognise_format
from tests.data.formats.graphs import assert_same_sets


BASE = {
    "images": [{"id": 5, "file_name": "a.jpg", "width": 60, "height": 40}, {"id": 6, "file_name": "b.jpg"}],
    "categories": [{"id": 90, "name": "dog"}, {"id": 3, "name": "cat"}],
    "rel_categories": [{"id": 0, "name": "on"}, {"id": 7, "name": "near"}],
    "annotations": [
        {"id": 11, "image_id": 6, "category_id": 3, "bbox": [0, 0, 5, 5]},
        {"id": 12, "image_id": 5, "category_id": 90, "bbox": [1, 2, 10, 20]},
        {"id": 13, "image_id": 5, "category_id": 3, "bbox": [4.5, 5, 1, 1]},
    ],
    "rel_annotations": [
        {"id": 1, "image_id": 5, "subject_id": 13, "object_id": 12, "predicate_id": 7},
        {"id": 2, "image_id": 5, "subject_id": 12, "object_id": 13, "predicate_id": 0},
    ],
}
GRAPH = {
    "bbox": [[1, 2, 11, 22], [4.5, 5, 5.5, 6]],
    "category": [1, 0],
}  # of image 5: classes in the order of their ids
RELATIONS = [[1, 0, 1], [0, 1, 0]]


def write(folder, content, name="train.json", images="images"):
    (folder / images).mkdir(parents=True, exist_ok=True)
    for file in ("a.jpg", "b.jpg"):
        Image.new("RGB", (60, 40)).save(folder / images / file)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder / name


def edited(**changes):
    """BASE with whole fields replaced; None removes one."""
    content = copy.deepcopy(BASE) | changes
    return {key: value for key, value in content.items() if value is not None}


def check_first(rows):
    assert object_names(rows) == ["cat", "dog"]
    assert predicate_names(rows) == ["on", "near"]
    assert rows[0]["objects"] == GRAPH
    assert rows[0]["relations"] == RELATIONS
    assert rows[0]["predicates"] == [1, 0]


def test_relation_annotations(tmp_path):
    file = write(tmp_path, BASE)
    for path in (file, tmp_path):
        rows = load_scene_graphs(path)
        check_first(rows)
        assert rows["image_id"][:] == [5, 6]
        assert [(row["width"], row["height"]) for row in rows] == [(60, 40), (60, 40)]
        assert rows[1]["objects"] == {"bbox": [[0, 0, 5, 5]], "category": [0]} and rows[1]["relations"] == []


def test_relations_in_the_images(tmp_path):
    images = [BASE["images"][0] | {"relations": [[1, 0, 7], [0, 1, 0]]}, BASE["images"][1]]
    check_first(load_scene_graphs(write(tmp_path, edited(images=images, rel_annotations=None))))


@pytest.mark.parametrize(
    ("names", "shift"), [(["on", "near"], 0), (["__background__", "on", "near"], 1)], ids=["plain", "background"]
)
def test_relations_in_a_mapping_with_predicate_names(tmp_path, names, shift):
    relations = {"5": [[s, o, p + shift] for s, o, p in RELATIONS]}
    changes = {"rel_annotations": None, "rel_categories": None, "predicate_classes": names, "relations": relations}
    check_first(load_scene_graphs(write(tmp_path, edited(**changes))))


def test_the_second_file_of_reltr(tmp_path):
    relations = {split: {"5": [[1, 0, 2], [0, 1, 1]]} for split in ("train", "val")}
    (tmp_path / "rel.json").write_text(json.dumps(relations | {"rel_categories": ["__background__", "on", "near"]}))
    for name in ("train.json", "val.json"):
        write(tmp_path, edited(rel_annotations=None, rel_categories=None), name)
    splits = load_scene_graph_splits(tmp_path)
    assert sorted(splits) == ["train", "validation"]
    check_first(splits["validation"])
    write(tmp_path, edited(rel_annotations=None, rel_categories=None), "test.json")
    with pytest.raises(ValueError, match=r"rel.json: expected an object with the relations of split 'test'"):
        load_scene_graphs(tmp_path, "test")


def test_openpsg(tmp_path):
    image = {"file_name": "a.jpg", "width": 60, "height": 40, "relations": RELATIONS}
    boxes = [{"bbox": [1, 2, 11, 22], "bbox_mode": 0, "category_id": 1}, {"bbox": [4.5, 5, 5.5, 6], "category_id": 0}]
    data = [image | {"image_id": name, "annotations": boxes} for name in ("107902", "8")]
    content = {"data": data, "thing_classes": ["cat"], "stuff_classes": ["dog"], "predicate_classes": ["on", "near"]}
    write(tmp_path, content | {"test_image_ids": ["8"]}, "psg.json")
    splits = load_scene_graph_splits(tmp_path)
    assert {split: rows["image_id"][:] for split, rows in splits.items()} == {"train": [107902], "test": [8]}
    check_first(splits["train"])
    file = write(tmp_path, content | {"test_image_ids": None}, "psg.json")
    with pytest.raises(ValueError, match="psg.json: expected the field 'test_image_ids' to be a list, got None"):
        load_scene_graphs(file)


def annotated(*boxes):
    return [{"id": 20 + i, "image_id": 5, "category_id": 3, "bbox": box} for i, box in enumerate(boxes)]


@pytest.mark.parametrize(
    ("boxes", "warning"),
    [
        (
            [[30, 20, 55, 39], [1, 2, 3, 4]],
            "1 of 2 boxes reach beyond their image; if they are corners, write them as x, y, w",
        ),
        (
            [[0.1, 0.2, 0.5, 0.7], [0.3, 0.4, 0.9, 0.8]],
            "all 2 boxes are smaller than 1 pixel; if they are shares of the image",
        ),
        ([[1, 2, 3, 4], [0.1, 0.2, 0.5, 0.7]], ""),
    ],
)
def test_boxes_in_another_form_are_pointed_out(tmp_path, caplog, boxes, warning):
    load_scene_graphs(write(tmp_path, edited(annotations=annotated(*boxes), rel_annotations=[])))
    assert warning in caplog.text and bool(warning) == bool(caplog.text)


def test_boxes_without_relations(tmp_path, caplog):
    plain = edited(rel_categories=None, rel_annotations=None)
    write(tmp_path / "set", plain, "annotations/instances_train.json")
    (tmp_path / "set/annotations/captions_train.json").write_text(json.dumps({"images": [], "annotations": []}))
    splits = load_scene_graph_splits(tmp_path / "set")
    assert "instances_train.json: expected rel_annotations or relations" in caplog.text
    assert splits["train"][0]["objects"] == GRAPH and predicate_names(splits["train"]) == []
    for format in ("coco", "imagefolder", "arrow", "parquet"):
        save_scene_graphs(splits, tmp_path / format, format)
        assert_same_sets(load_scene_graph_splits(tmp_path / format), splits)
    with pytest.raises(ValueError, match="no predicates, which Visual Genome's files need"):
        save_scene_graphs(splits, tmp_path / "visual_genome", "visual_genome")


def test_boxes_beside_another_format_are_no_set_of_their_own(tmp_path):
    write(tmp_path, edited(rel_categories=None, rel_annotations=None))
    (tmp_path / "metadata.jsonl").write_text("")
    assert recognise_format(tmp_path) == "imagefolder"


def test_splits_of_files_and_of_images(tmp_path):
    write(tmp_path / "files", BASE, "annotations/instances_train2017.json")
    write(tmp_path / "files", BASE, "annotations/instances_val2017.json")
    assert sorted(load_scene_graph_splits(tmp_path / "files")) == ["train", "validation"]
    images = [image | {"split": split} for image, split in zip(BASE["images"], ("val", "test"), strict=True)]
    write(tmp_path / "fields", edited(images=images), "graphs.json")
    splits = load_scene_graph_splits(tmp_path / "fields")
    assert {split: rows["image_id"][:] for split, rows in splits.items()} == {"validation": [5], "test": [6]}


def test_two_files_of_one_split(tmp_path):
    write(tmp_path, BASE, "instances_train.json")
    write(tmp_path, BASE, "old_train.json")
    with pytest.raises(ValueError, match="old_train.json: images of split 'train' are in another file"):
        load_scene_graph_splits(tmp_path)
    check_first(load_scene_graphs(tmp_path / "old_train.json"))


def test_folders_of_images(tmp_path):
    check_first(
        load_scene_graphs(write(tmp_path / "coco", BASE, "annotations/instances_train.json", "train"), "train")
    )
    file = write(tmp_path / "else", BASE, images="pictures")
    with pytest.raises(FileNotFoundError, match="train.json, image 5: there is no image 'a.jpg' in .*option images"):
        load_scene_graphs(file)
    check_first(load_scene_graphs(file, images="pictures"))
    check_first(load_scene_graphs(file, images=str(tmp_path / "else" / "pictures")))


@pytest.mark.parametrize("name", ["../a.jpg", "x/../../a.jpg", "../../../etc/passwd", "/etc/passwd", "{folder}/a.jpg"])
def test_images_elsewhere_are_refused(tmp_path, name):
    name = name.format(folder=tmp_path / "set")
    file = write(tmp_path / "set", edited(images=[BASE["images"][0] | {"file_name": name}, BASE["images"][1]]))
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg")
    with pytest.raises(
        ValueError, match=f"image 5: 'file_name' must lie below the folder of the images.*got '{name}'"
    ):
        load_scene_graphs(file)
    with pytest.raises(ValueError, match="'file_name' must lie below"):
        load_scene_graphs(file, images="images")


def test_text_ids_become_stable_integers(tmp_path):
    images = [{"id": "beach/1", "file_name": "a.jpg"}, {"id": "17", "file_name": "b.jpg"}]
    images.append({"id": "\ud800", "file_name": "b.jpg"})
    rows = load_scene_graphs(write(tmp_path, edited(images=images, annotations=[], rel_annotations=[])))
    assert rows["image_id"][:2] == [4180793320945169, 17]


def annotation(**fields):
    return [BASE["annotations"][0], BASE["annotations"][1] | fields, BASE["annotations"][2]]


def relation(**fields):
    return [BASE["rel_annotations"][0] | fields]


WRONG = {
    "no list": ([], "expected an object with the field 'images', got \\[\\]"),
    "no images": (edited(images=[]), "the list 'images' is empty"),
    "images missing": (edited(images=None), "field 'images' to be a list, the fields are \\['annotations'"),
    "no annotations": (edited(annotations=3), "field 'annotations' to be a list, got 3"),
    "no predicates": (edited(rel_categories=None), "field 'predicate_classes' to be a list"),
    "empty predicates": (edited(rel_categories=[]), "'rel_categories': expected a list of names"),
    "category without name": (edited(categories=[{"id": 3}]), r"'categories'\[0\]: expected the field 'name' to be a text"),
    "category twice": (edited(categories=BASE["categories"] * 2), "'categories': every 'id' may occur once, but 90"),
    "empty name": (edited(categories=[{"id": 1, "name": "x"}, {"id": 2, "name": ""}]), "'categories': .* entry 1 is ''"),
    "name twice": (edited(categories=[{"id": 1, "name": "x"}, {"id": 2, "name": "x"}]), r"\['x'\] occur several times"),
    "image twice": (edited(images=BASE["images"][:1] * 2), "'images': every 'id' may occur once, but 5"),
    "image without id": (edited(images=[{"file_name": "a.jpg"}]), r"'images'\[0\]: expected the field 'id'"),
    "image without file": (edited(images=[{"id": 5}, {"id": 6}]), "image 5: expected the field 'file_name' to be a text"),
    "half a size": (edited(images=[{"id": 6, "file_name": "a.jpg", "width": 3}, BASE["images"][0]]), "image 6: .*'height'"),
    "no size": (edited(images=[BASE["images"][0] | {"width": 0}, BASE["images"][1]]), "image 5: 'width' and 'height' must be"),
    "huge size": (edited(images=[BASE["images"][0] | {"width": 2**70}, BASE["images"][1]]), "image 5: 'width' and 'height'"),
    "split": (edited(images=[BASE["images"][0] | {"split": "a b"}, BASE["images"][1]]), r"'images'\[0\]: the name of a split"),
    "annotation twice": (edited(annotations=annotation(id=11)), "'annotations': every 'id' may occur once, but 11"),
    "unknown image": (edited(annotations=annotation(image_id=7)), r"'annotations'\[1\]: 'image_id' 7 is not among"),
    "unknown class": (edited(annotations=annotation(category_id=4)), r"'annotations'\[1\], 'category_id': .*id 4; .*3…90"),
    "no box": (edited(annotations=annotation(bbox=None)), r"'annotations'\[1\]: expected the field 'bbox' to be a list"),
    "three numbers": (edited(annotations=annotation(bbox=[1, 2, 3])), "image 5, 'bbox' of its .* rows of 4 numbers"),
    "text box": (edited(annotations=annotation(bbox=["1", 2, 3, 4])), "image 5, 'bbox' .* rows of 4 numbers"),
    "nan box": (edited(annotations=annotation(bbox=[1, float("nan"), 3, 4])), "image 5: box 0 must have finite corners"),
    "huge box": (edited(annotations=annotation(bbox=[1, 2, 1e39, 4])), "image 5: box 0 must have finite corners"),
    "negative width": (edited(annotations=annotation(bbox=[1, 2, -3, 4])), "image 5: box 0 .*width and height not negative"),
    "missing object": (edited(rel_annotations=relation(object_id=99)), r"'rel_annotations'\[0\]: 'object_id' 99 .*no annotation"),
    "other image": (edited(rel_annotations=relation(subject_id=11)), "'subject_id' 11 must be .*an object of image 6"),
    "unknown predicate": (edited(rel_annotations=relation(predicate_id=1)), "'predicate_id': there is no class with id 1"),
    "relation twice": (edited(rel_annotations=relation() * 2), "'rel_annotations': every 'id' may occur once"),
    "index outside": (
        edited(rel_annotations=None, relations={"5": [[0, 2, 7]]}),
        r"image 5: relation 0, \[0, 2, 1\], must name a subject and an object among the image's 2 boxes",
    ),
    "unknown image of a mapping": (edited(rel_annotations=None, relations={"9": []}), r"'relations': \['9'\] are not among"),
    "two columns": (edited(rel_annotations=None, relations={"5": [[0, 1]]}), "image 5: expected a list of rows of 3 integers"),
    "half an index": (edited(rel_annotations=None, relations={"5": [[0, 1, 0.5]]}), "rows of 3 integers"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_name_file_and_place(tmp_path, name):
    content, message = WRONG[name]
    file = write(tmp_path, content)
    with pytest.raises(ValueError, match=message) as error:
        load_scene_graphs(file)
    assert "train.json" in str(error.value)


def test_damaged_files(tmp_path):
    file = write(tmp_path, BASE)
    text = file.read_text()
    for content in (text[:-5], "", "\ufeff" + text[:40], "[" * 100_000):
        file.write_text(content)
        with pytest.raises(ValueError, match="train.json: not valid JSON"):
            load_scene_graphs(file)
    file.write_text("\ufeff" + text)
    check_first(load_scene_graphs(file))
    (tmp_path / "images" / "b.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="image 6: .*b.jpg is not a readable image"):
        load_scene_graphs(file)


def test_sizes_follow_the_orientation_in_which_images_are_decoded(tmp_path):
    file = write(tmp_path, BASE)
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "images" / "b.jpg", exif=exif)
    turned = load_scene_graphs(file)[1]
    assert (turned["width"], turned["height"]) == turned["image"].size == (40, 60)
