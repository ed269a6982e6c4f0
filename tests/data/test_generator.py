"""Generated sets: Visual Genome's file formats, determinism, refusals."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from speaq_hf.data import generator
from speaq_hf.data.domains import DOMAINS
from speaq_hf.data.frequency_baseline import pair_frequency_accuracy
from speaq_hf.data.generator import assign_splits, generate_synthetic_genome
from speaq_hf.data.rendering import render_flat
from speaq_hf.data.scenes import SceneComplexity
from speaq_hf.data.visual_genome import load_synthetic_genome
from speaq_hf.models.speaq.vg150 import VG150_OBJECTS, VG150_PREDICATES
from tests.helpers import REFERENCE


H5, DICTS, SIZES = "synthetic-SGG-with-attri.h5", "synthetic-SGG-dicts-with-attri.json", "synthetic_image_data.json"


def read_arrays(path):
    with h5py.File(path) as file:
        return {name: file[name][()] for name in file}


def read_images(root):
    return {path.name: path.read_bytes() for path in (root / "synthetic_images").iterdir()}


def same_set(first, second):
    """Whether two folders hold the same arrays, JSON files and JPEGs."""
    one, other = read_arrays(first / H5), read_arrays(second / H5)
    return (
        one.keys() == other.keys()
        and all(np.array_equal(one[name], other[name]) for name in one)
        and all((first / name).read_text() == (second / name).read_text() for name in (DICTS, SIZES))
        and read_images(first) == read_images(second)
    )


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    return generate_synthetic_genome(tmp_path_factory.mktemp("genome"), 60, seed=3, image_size=128, num_workers=1)


# Files ----------------------------------------------------------------------------------------------------------------


def test_arrays_have_the_names_types_and_shapes_of_the_original(genome):
    original = read_arrays(REFERENCE / "vg" / "VG-SGG-with-attri.h5")
    ours = read_arrays(genome / H5)
    assert ours.keys() == original.keys()
    for name, array in original.items():
        assert ours[name].dtype == array.dtype, name
        assert ours[name].shape[1:] == array.shape[1:], name


def test_vocabularies_are_those_of_vg150(genome):
    original = json.loads((REFERENCE / "vg" / "VG-SGG-dicts-with-attri.json").read_text())
    ours = json.loads((genome / DICTS).read_text())
    assert ours["label_to_idx"] == original["label_to_idx"]
    assert ours["predicate_to_idx"] == original["predicate_to_idx"]
    assert ours["idx_to_label"] == original["idx_to_label"]
    assert ours["idx_to_predicate"] == original["idx_to_predicate"]
    assert original.keys() <= ours.keys()


def test_counts_in_the_dictionary_match_the_arrays(genome):
    arrays, content = read_arrays(genome / H5), json.loads((genome / DICTS).read_text())
    for key, values, names in (
        ("object_count", arrays["labels"], VG150_OBJECTS),
        ("predicate_count", arrays["predicates"], VG150_PREDICATES),
    ):
        counts = np.bincount(values.ravel(), minlength=len(names) + 1)[1:]
        assert content[key] == dict(zip(names, counts.tolist(), strict=True))
    assert sum(content["attribute_count"].values()) == np.count_nonzero(arrays["attributes"])


def test_images_are_those_of_the_list(genome):
    entries = json.loads((genome / SIZES).read_text())
    assert len(entries) == 60
    assert {f"{entry['image_id']}.jpg" for entry in entries} == set(read_images(genome))
    for entry in entries[:5]:
        with Image.open(genome / entry["url"]) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (entry["width"], entry["height"]))


def test_ranges_cover_all_rows_in_order(genome):
    arrays = read_arrays(genome / H5)
    for kind, rows in (("box", len(arrays["labels"])), ("rel", len(arrays["predicates"]))):
        first, last = arrays[f"img_to_first_{kind}"], arrays[f"img_to_last_{kind}"]
        covered = [row for low, high in zip(first, last, strict=True) if low >= 0 for row in range(low, high + 1)]
        assert covered == list(range(rows))


def test_relations_stay_within_their_image(genome):
    arrays = read_arrays(genome / H5)
    for image in range(60):
        low, high = arrays["img_to_first_rel"][image], arrays["img_to_last_rel"][image]
        if low >= 0:
            rows = arrays["relationships"][low : high + 1]
            assert rows.min() >= arrays["img_to_first_box"][image]
            assert rows.max() <= arrays["img_to_last_box"][image]
            assert (rows[:, 0] != rows[:, 1]).all()


@pytest.mark.parametrize("image_size", [64, 128, (192, 256), (200, 150), (333, 500)])
@pytest.mark.parametrize("box_scale", [1024, 512])
def test_the_reader_returns_the_boxes_that_were_painted(tmp_path, monkeypatch, image_size, box_scale):
    painted = []

    def remember(*args):
        image, boxes = render_flat(*args)
        painted.append(boxes)
        return image, boxes

    monkeypatch.setitem(DOMAINS, "synthetic", replace(DOMAINS["synthetic"], render=remember))
    generate_synthetic_genome(tmp_path, 8, image_size=image_size, split_shares=(1, 0, 0), num_workers=1)
    rows = load_synthetic_genome(tmp_path, "train", keep_empty=True, box_scale=box_scale)
    long_side = image_size if isinstance(image_size, int) else max(image_size)
    # Half a unit of the stored frame is the rounding of the format; nothing is lost where the sides divide evenly.
    tolerance = 0 if box_scale % long_side == 0 else 0.5 * long_side / box_scale + 1e-3
    assert len(rows) == len(painted) == 8
    for row, boxes in zip(rows, painted, strict=True):
        assert np.abs(np.array(row["objects"]["bbox"]) - boxes).max() <= tolerance


def test_images_without_relations_are_marked(tmp_path):
    complexity = SceneComplexity(empty_share=1.0)
    generate_synthetic_genome(tmp_path, 5, image_size=64, complexity=complexity, num_workers=1)
    arrays = read_arrays(tmp_path / H5)
    assert arrays["relationships"].shape == (0, 2)
    assert arrays["predicates"].shape == (0, 1)
    assert (arrays["img_to_first_rel"] == -1).all() and (arrays["img_to_last_rel"] == -1).all()
    assert (arrays["img_to_first_box"] >= 0).all()


@pytest.mark.parametrize("domain", DOMAINS)
def test_single_files_can_be_renamed(tmp_path, domain):
    names = {"images": "pictures", "annotations": "graphs.h5"}
    generate_synthetic_genome(tmp_path, 3, image_size=64, num_workers=1, domain=domain, **names)
    defaults = DOMAINS[domain].files
    kept = {defaults.categories, defaults.image_data}
    assert {path.name for path in tmp_path.iterdir()} == {*names.values(), *kept}


# Splits ---------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10), min_size=3, max_size=3).filter(any), st.integers(1, 300), st.integers(0, 300))
def test_every_prefix_has_the_shares_to_within_one_image(weights, length, more):
    shares = np.array(weights) / sum(weights)
    flags = assign_splits(length, shares)
    assert np.array_equal(flags, assign_splits(length + more, shares)[:length])
    counts = np.bincount(flags, minlength=3)
    assert (np.abs(counts - shares * length) <= 1 + 1e-6).all()
    assert not counts[shares == 0].any()


def test_all_splits_load(genome):
    lengths = [len(load_synthetic_genome(genome, split, keep_empty=True)) for split in ("train", "val", "test")]
    assert lengths == [48, 6, 6]


# Determinism ----------------------------------------------------------------------------------------------------------


def test_the_number_of_processes_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(generator, "MIN_IMAGES_PER_WORKER", 1)
    generate_synthetic_genome(tmp_path / "one", 20, seed=5, image_size=64, num_workers=1)
    generate_synthetic_genome(tmp_path / "two", 20, seed=5, image_size=64, num_workers=2)
    assert same_set(tmp_path / "one", tmp_path / "two")


def test_a_smaller_set_is_the_beginning_of_a_larger_one(tmp_path):
    short = generate_synthetic_genome(tmp_path / "short", 7, seed=5, image_size=64, num_workers=1)
    long = generate_synthetic_genome(tmp_path / "long", 15, seed=5, image_size=64, num_workers=1)
    assert read_images(short).items() <= read_images(long).items()
    one, other = read_arrays(short / H5), read_arrays(long / H5)
    assert all(np.array_equal(one[name], other[name][: len(one[name])]) for name in one if name != "split")


def test_another_seed_gives_other_images(tmp_path):
    first, second = (
        read_images(generate_synthetic_genome(tmp_path / str(seed), 3, seed, image_size=64, num_workers=1))
        for seed in (0, 1)
    )
    assert not set(first.values()) & set(second.values())


# Folders --------------------------------------------------------------------------------------------------------------


def test_a_finished_set_is_replaced_only_on_request(tmp_path):
    generate_synthetic_genome(tmp_path, 5, image_size=64, num_workers=1)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        generate_synthetic_genome(tmp_path, 3, image_size=64, num_workers=1)
    assert len(read_images(tmp_path)) == 5
    generate_synthetic_genome(tmp_path, 3, image_size=64, num_workers=1, overwrite=True)
    assert len(read_images(tmp_path)) == 3


@pytest.mark.parametrize("name", ["synthetic_images/1.jpg", H5, DICTS, SIZES])
def test_foreign_files_are_never_replaced(tmp_path, name):
    foreign = tmp_path / name
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("[]")
    with pytest.raises(FileExistsError, match="not written by this generator"):
        generate_synthetic_genome(tmp_path, 2, image_size=64, num_workers=1, overwrite=True)
    assert foreign.read_text() == "[]"


@pytest.mark.parametrize("name", ["metadata.jsonl", "photos/desk.jpg"])
def test_a_folder_with_other_files_is_refused(tmp_path, name):
    foreign = tmp_path / name
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("mine")
    with pytest.raises(FileExistsError, match=rf"holds {Path(name).parts[0]}, which this generator did not write"):
        generate_synthetic_genome(tmp_path, 2, image_size=64, num_workers=1, overwrite=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [foreign]


def test_pictures_of_others_among_the_generated_are_kept(tmp_path):
    generate_synthetic_genome(tmp_path, 2, image_size=64, num_workers=1)
    (tmp_path / "synthetic_images/desk.jpg").write_text("mine")
    with pytest.raises(FileExistsError, match="holds synthetic_images/desk.jpg"):
        generate_synthetic_genome(tmp_path, 2, image_size=64, num_workers=1, overwrite=True)
    assert (tmp_path / "synthetic_images/desk.jpg").read_text() == "mine"


def test_sets_of_both_domains_share_a_folder(tmp_path):
    for _ in range(2):
        for domain in ("synthetic", "real"):
            generate_synthetic_genome(tmp_path, 2, image_size=64, num_workers=1, domain=domain, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 8


def test_a_file_as_root_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="root"):
        generate_synthetic_genome(tmp_path / "file", 2)


def test_an_interrupted_set_is_recognisable_and_can_be_redone(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(generator, "_write_annotations", interrupt)
        with pytest.raises(KeyboardInterrupt):
            generate_synthetic_genome(tmp_path, 5, image_size=64, num_workers=1)
    assert not (tmp_path / H5).exists()
    with pytest.raises(FileNotFoundError):
        load_synthetic_genome(tmp_path, "train")
    generate_synthetic_genome(tmp_path, 3, image_size=64, num_workers=1)
    assert len(read_images(tmp_path)) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["synthetic_images", H5, DICTS, SIZES])


def interrupt(*args):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_images", 0),
        ("num_images", 10_000_001),
        ("seed", -1),
        ("image_size", 16),
        ("image_size", (64, 640)),
        ("split_shares", (0.5, 0.1, 0.1)),
        ("split_shares", (1.2, -0.1, -0.1)),
        ("domain", "cubist"),
        ("num_workers", 0),
    ],
)
def test_bad_arguments_are_named(tmp_path, name, value):
    arguments = {"num_images": 2, name: value}
    with pytest.raises(ValueError, match=name):
        generate_synthetic_genome(tmp_path / "set", **arguments)
    assert not (tmp_path / "set").exists()


# Frequency baseline ---------------------------------------------------------------------------------------------------


def test_frequency_baseline_on_a_known_case():
    train = [(0, 1, 5), (0, 1, 5), (0, 1, 6), (2, 1, 7), (2, 3, 7), (2, 4, 7)]
    assert pair_frequency_accuracy(train, [(0, 1, 5), (0, 1, 6), (2, 1, 7), (1, 0, 5)]) == 0.5
    assert pair_frequency_accuracy(train, [(9, 9, 7)]) == 1.0  # an unseen pair gets the most frequent predicate
    assert pair_frequency_accuracy([(0, 1, 9), (0, 1, 2)], [(0, 1, 2)]) == 1.0  # a tie goes to the smaller index


@pytest.mark.parametrize("rows", [[], np.zeros((0, 3)), [(1, 2)]])
def test_frequency_baseline_refuses_malformed_rows(rows):
    with pytest.raises(ValueError, match=r"train_relations|at least one"):
        pair_frequency_accuracy(rows, [(0, 1, 2)])
