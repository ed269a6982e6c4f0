import json
import subprocess
import sys

import numpy as np
import pytest
from datasets import concatenate_datasets, load_from_disk

from speaq_hf.data import load_synthetic_genome, load_visual_genome, object_names, predicate_names
from tests.data.factories import write_genome
from tests.helpers import REFERENCE


VG = REFERENCE / "vg"
EXPECTED = json.loads((VG / "expected_records.json").read_text())
VARIANTS = {
    "default": {},
    "keep_empty_relations": {"keep_empty": True},
    "filter_non_overlap": {"filter_non_overlap": True},
    "box_scale_512": {"box_scale": 512},
}


def load_reference(split, **kwargs):
    return load_visual_genome(VG, split, images="images", num_validation_images=5, **kwargs)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_records_equal_the_published_reader(variant, split):
    rows = load_reference(split, **VARIANTS[variant])
    expected = EXPECTED[variant][split]
    assert [row["path"].rsplit("/")[-1] for row in rows.data["image"].to_pylist()] == [row["file"] for row in expected]
    for row, record in zip(rows.remove_columns("image"), expected, strict=True):
        assert [row[key] for key in ("image_id", "width", "height")] == [
            record[key] for key in ("image_id", "width", "height")
        ]
        np.testing.assert_array_equal(np.float32(row["objects"]["bbox"]), np.float32(record["boxes"]))
        assert row["objects"]["category"] == record["labels"]
        assert row["relations"] == record["relations"]
        assert row["predicates"] == [predicate for _, _, predicate in record["relations"]]


def test_vocabulary_comes_from_the_file():
    rows = load_reference("test")
    assert predicate_names(rows) == EXPECTED["classes"]["predicates"]
    assert object_names(rows)[:3] == EXPECTED["classes"]["first"]
    assert len(object_names(rows)) == EXPECTED["classes"]["n"]


def test_names_survive_what_is_done_to_datasets(tmp_path):
    rows = load_reference("test")
    mapped = rows.map(lambda row: {"width": row["width"] + 1}).select([3, 1])
    joined = concatenate_datasets([mapped, rows.shuffle(seed=0)])
    joined.save_to_disk(tmp_path / "disk")
    joined.to_parquet(tmp_path / "rows.parquet")
    for kept in (joined, load_from_disk(tmp_path / "disk"), type(joined).from_parquet(str(tmp_path / "rows.parquet"))):
        assert predicate_names(kept) == predicate_names(rows)
        assert object_names(kept) == object_names(rows)


def test_names_of_a_foreign_dataset_are_refused():
    rows = load_reference("test")
    with pytest.raises(ValueError, match="'predicates'.*scene_graph_features"):
        predicate_names(rows.remove_columns("predicates"))
    with pytest.raises(ValueError, match="objects.category"):
        object_names(rows.remove_columns("objects"))


def test_val_and_validation_are_one_split():
    assert load_reference("val")["image_id"][:] == load_reference("validation")["image_id"][:]


def test_flag_one_is_the_validation_split_of_synthetic_sets(tmp_path):
    files = {
        "images": "VG_100K",
        "annotations": "VG-SGG-with-attri.h5",
        "categories": "VG-SGG-dicts-with-attri.json",
        "image_data": "image_data.json",
    }
    root = write_genome(tmp_path / "set")
    ids = {split: load_synthetic_genome(root, split, **files)["image_id"][:] for split in ("train", "val", "test")}
    assert ids == {"train": [1, 3], "val": [4], "test": [5]}
    assert load_synthetic_genome(root, "val", **files, num_validation_images=1)["image_id"][:] == [1]


def test_corrupted_ids_are_kept_where_they_have_a_row(tmp_path):
    root = write_genome(tmp_path / "set", image_ids=(1592, 2, 3, 4, 5))
    assert load_visual_genome(root, "train", num_validation_images=0)["image_id"][:] == [1592, 3]


def test_non_overlapping_images_without_relations_stay_if_asked(tmp_path):
    root = write_genome(tmp_path / "set")
    kept = load_visual_genome(root, "train", num_validation_images=0, filter_non_overlap=True, keep_empty=True)
    assert kept["image_id"][:] == [2, 3]  # image 1 lost its only relation, image 2 never had one
    assert kept["relations"][:] == [[], [[0, 1, 1], [1, 0, 0]]]


def test_image_is_decoded_on_access():
    rows = load_reference("test")
    assert rows[0]["image"].size == (rows[0]["width"], rows[0]["height"])


BROKEN_ARRAYS = {
    "missing array": ({"predicates": None}, "no array 'predicates'.*holds"),
    "other scale only": ({"boxes_1024": None}, "no array 'boxes_1024'"),
    "wrong columns": ({"relationships": [[0, 1, 2]] * 5}, r"'relationships'.*\(rows, 2\).*\(5, 3\)"),
    "wrong rows": ({"labels": [[1]]}, r"'labels'.*\(9, 1\).*\(1, 1\)"),
    "wrong type": ({"split": [0.5] * 5}, "'split' to be integers"),
    "image count": ({"split": [0] * 4}, r"'img_to_first_box'.*\(4, 1\).*\(5, 1\)"),
    "span outside": ({"img_to_last_box": [1, 2, 4, 6, 9]}, r"row 4: 'img_to_first_box' = 7.*'img_to_last_box' = 9.*0\.\.8"),
    "span inverted": ({"img_to_first_rel": [0, -1, 2, 3, 4], "img_to_last_rel": [0, -1, 1, 3, 4]}, "row 2: 'img_to_first_rel'"),
    "class 0": ({"labels": [[1]] * 4 + [[0]] * 5}, r"row 4 of 'labels': class 0 is not in 1\.\.3"),
    "unknown predicate": ({"predicates": [[1], [2], [3], [1], [1]]}, r"row 2 of 'predicates': class 3 is not in 1\.\.2"),
    "relation into other image": (
        {"relationships": [[0, 1], [3, 5], [4, 3], [5, 6], [7, 8]]},
        r"row 1 of 'relationships': \[3, 5\].*3\.\.4.*row 2 of 'split'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_ARRAYS)
def test_broken_annotations_name_file_row_and_field(tmp_path, name):
    arrays, message = BROKEN_ARRAYS[name]
    root = write_genome(tmp_path / "set", **arrays)
    with pytest.raises(ValueError, match=message) as error:
        load_visual_genome(root, "train", num_validation_images=0)
    assert "VG-SGG-with-attri.h5" in str(error.value)


def test_image_list_of_another_data_set(tmp_path):
    root = write_genome(tmp_path / "set", image_ids=(1, 2, 3, 4))
    with pytest.raises(ValueError, match="image_data.json lists 4 images.*'split' in .*has 5 rows"):
        load_visual_genome(root, "train", num_validation_images=0)


@pytest.mark.parametrize("entry", [{"image_id": 1, "width": 3}, {"image_id": 1, "width": 0, "height": 3}, 7])
def test_malformed_image_list(tmp_path, entry):
    root = write_genome(tmp_path / "set")
    (root / "image_data.json").write_text(json.dumps([entry]))
    with pytest.raises(ValueError, match="image_data.json, row 0"):
        load_visual_genome(root, "train")


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"label_to_idx": {"cat": 1, "dog": 3}, "predicate_to_idx": {"on": 1}}',
        '{"label_to_idx": {"cat": 1, "": 2, "hat": 3}, "predicate_to_idx": {"on": 1, "near": 2}}',
        r'{"label_to_idx": {"cat": 1, "\ud800": 2, "hat": 3}, "predicate_to_idx": {"on": 1, "near": 2}}',
    ],
)
def test_malformed_vocabulary(tmp_path, content):
    root = write_genome(tmp_path / "set")
    (root / "VG-SGG-dicts-with-attri.json").write_text(content)
    with pytest.raises(ValueError, match="VG-SGG-dicts-with-attri.json"):
        load_visual_genome(root, "train")


@pytest.mark.parametrize("file", ["VG-SGG-with-attri.h5", "VG-SGG-dicts-with-attri.json", "image_data.json"])
def test_missing_file(tmp_path, file):
    root = write_genome(tmp_path / "set")
    (root / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"{file} does not exist.*VG_100K"):
        load_visual_genome(root, "train")


def test_missing_root(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_visual_genome(tmp_path / "nowhere", "train")


def test_truncated_hdf5(tmp_path):
    root = write_genome(tmp_path / "set")
    file = root / "VG-SGG-with-attri.h5"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="VG-SGG-with-attri.h5: not an HDF5 file"):
        load_visual_genome(root, "train")


def test_missing_images_are_found_before_training(tmp_path):
    root = write_genome(tmp_path / "set")
    (root / "VG_100K" / "3.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of the split's 2 images, first \['3.jpg'\]"):
        load_visual_genome(root, "train", num_validation_images=0)
    with pytest.raises(FileNotFoundError, match="image folder .*elsewhere does not exist"):
        load_visual_genome(root, "train", num_validation_images=0, images="elsewhere")


def test_impossible_splits(tmp_path):
    root = write_genome(tmp_path / "set")
    with pytest.raises(ValueError, match="split must be one of .*'dev'"):
        load_visual_genome(root, "dev")
    with pytest.raises(ValueError, match="no image .* is left in split 'train'.*num_validation_images"):
        load_visual_genome(root, "train", num_validation_images=5000)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        load_visual_genome(root, "train", num_validation_images=-1)


def test_importing_the_package_imports_no_reader():
    code = "import sys, speaq_hf.data; sys.exit(bool({'h5py', 'datasets', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
