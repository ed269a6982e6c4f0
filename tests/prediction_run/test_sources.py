"""What a user names becomes images and videos, each once and with an id that no other has."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from speaq_hf.image_reading import read_image
from speaq_hf.prediction_run.image_ids import unique_ids
from speaq_hf.prediction_run.safe_names import safe_name
from speaq_hf.prediction_run.sources import SourceOptions, find_sources


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "b.jpg",
        "a.PNG",
        "000000000139.jpg",
        "notes.txt",
        ".hidden.jpg",
        "sub/b.jpg",
        "sub/7.webp",
        "clip.mp4",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def ids(named, **options):
    return [source.id for source in find_sources(named, **options)]


def test_a_folder_gives_its_images_by_name(tree):
    assert ids([tree]) == [139, "a", "b"]
    assert ids([tree], recursive=True) == [139, "a", "b", "sub/7", "sub/b"]


def test_patterns_give_what_folders_give(tree):
    assert ids([f"{tree}/*.jpg"]) == [139, "b"]
    assert ids([f"{tree}/**/*.[jw]*"]) == [139, "b", "sub/7", "sub/b"]
    assert ids([f"{tree}/*/b.jpg"]) == ["sub/b"]


def test_a_mixture_keeps_its_order_and_every_file_once(tree):
    named = ["https://example.org/7.jpg?size=2", tree / "sub", f"{tree}/sub/b.jpg", tree / "clip.mp4", tree / "b.jpg"]
    sources = find_sources(named)
    assert [source.is_video for source in sources] == [False, False, False, True, False]
    b, other_b = (str(tree / name) for name in ("sub/b.jpg", "b.jpg"))
    assert [source.id for source in sources] == ["https://example.org/7.jpg?size=2", 7, b, "clip", other_b]
    assert sources[1].read() == str(tree / "sub" / "7.webp")


def test_the_same_file_by_two_names_is_one(tree):
    os.symlink(tree / "b.jpg", tree / "z.jpg")
    assert ids([tree / "b.jpg", tree / "sub" / ".." / "b.jpg", tree / "z.jpg"]) == ["b"]


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("missing.jpg", "missing.jpg does not exist"),
        ("nothing*.jpg", "no file fits"),
        ("empty", "holds no image files$"),
        ("deep", "--recursive"),
        ("films", r"but videos.*\*\.mp4"),
        ("texts", "1 files of other kinds"),
    ],
)
def test_what_is_not_there_is_said(tmp_path, monkeypatch, named, words):
    monkeypatch.chdir(tmp_path)
    for name in ("empty/.keep", "deep/down/a.jpg", "films/a.mp4", "texts/a.txt"):
        Path(name).parent.mkdir(parents=True)
        Path(name).touch()
    with pytest.raises(FileNotFoundError, match=words):
        find_sources([named])


def test_a_name_with_brackets_is_a_name(tmp_path):
    (tmp_path / "a[1].jpg").touch()
    assert ids([tmp_path / "a[1].jpg"]) == ["a[1]"]


def test_an_image_called_like_a_frame_is_refused(tree):
    (tree / "clip#3.jpg").touch()
    with pytest.raises(ValueError, match="clip#3 is called like a frame"):
        find_sources([tree / "clip#3.jpg", tree / "clip.mp4"])


names = st.lists(st.text("ab/1.0", min_size=1, max_size=6).map(lambda text: text.strip("/") or "a"), unique=True)


@given(names)
@example(["a.b", "a.c", "a.b.d"])
@example(["1", "01", "1.0"])
def test_ids_are_unique(paths):
    made = unique_ids([(path.split("/")[-1] or path, path) for path in paths])
    assert len(set(map(str, made))) == len(paths)


@given(st.lists(st.text(max_size=12) | st.integers(0, 99), unique_by=str))
@example(["../a", "a", "/a", "a/../a", "a:", "a "])
def test_safe_names_differ_and_stay_below_their_folder(ids):
    safe = [safe_name(id) for id in ids]
    assert len(set(safe)) == len(ids)
    assert not any(name.startswith("/") or ".." in name.split("/") or "\0" in name for name in safe)


@pytest.mark.parametrize("format", ["coco", "imagefolder", "parquet"])
def test_a_data_set_gives_its_images_and_ids(genome, tmp_path, format):
    from speaq_hf.data.scene_graph_files import convert_scene_graphs, load_scene_graphs

    convert_scene_graphs(genome, tmp_path / "set", format)
    dataset = load_scene_graphs(tmp_path / "set", "train")
    sources = SourceOptions(data=str(tmp_path / "set"), split="train").find()
    assert [source.id for source in sources] == dataset["image_id"][:]
    assert read_image(sources[-1].read()).size == dataset[-1]["image"].size


@pytest.mark.parametrize("options", [{}, {"named": ["a.jpg"], "data": "set"}, {"data": "set", "camera": "0"}])
def test_one_kind_of_source_is_named(options):
    with pytest.raises(ValueError, match="name images, folders or videos, or --data, or --webcam"):
        SourceOptions(**options).find()


def test_records_know_ids_as_json_does():
    assert json.loads(json.dumps(unique_ids([("07.jpg", "07.jpg"), ("é.jpg", "é.jpg")]))) == [7, "é"]
