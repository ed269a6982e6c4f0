import datasets
import pytest
from datasets import Dataset, DatasetDict, Image, List, Value, load_dataset

from speaq_hf.data import (
    embed_images,
    load_scene_graph_splits,
    load_scene_graphs,
    object_names,
    predicate_names,
    save_scene_graphs,
)
from speaq_hf.data.formats import arrow
from tests.data.factories import OBJECTS, PREDICATES, dataset, row, write_genome


def graph(image_id=1):
    return row(image_id, boxes=[[0, 0, 20, 20], [1, 1, 2, 2]], labels=[2, 0], relations=[[0, 1, 1]])


def test_parquet_needs_no_image_files(tmp_path):
    """What `push_to_hub` uploads can be loaded elsewhere, with the vocabulary."""
    root = write_genome(tmp_path / "set")
    rows = load_scene_graphs(root, "train")
    original = (root / "VG_100K" / "1.jpg").read_bytes()
    save_scene_graphs(rows, tmp_path / "parquet", "parquet")
    embed_images(rows).to_parquet(tmp_path / "one.parquet")
    rows.to_parquet(tmp_path / "paths.parquet")
    for file in (root / "VG_100K").iterdir():
        file.unlink()
    for path in (tmp_path / "parquet", tmp_path / "one.parquet"):
        found = load_scene_graphs(path)
        assert found[0]["image"].size == (64, 48)
        assert found.cast_column("image", Image(decode=False))[0]["image"]["bytes"] == original
        assert (object_names(found), predicate_names(found)) == (OBJECTS, PREDICATES)
    with pytest.raises(FileNotFoundError):
        load_scene_graphs(tmp_path / "paths.parquet")[0]["image"]


def test_large_sets_become_several_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(arrow, "_SHARD_BYTES", 10)
    monkeypatch.setattr(arrow, "_BATCH_ROWS", 2)
    save_scene_graphs(dataset([row(image_id) for image_id in range(5)]), tmp_path / "set", "parquet")
    names = sorted(path.name for path in (tmp_path / "set" / "data").iterdir())
    assert names == [f"train-0000{index}-of-00003.parquet" for index in range(3)]
    assert load_scene_graphs(tmp_path / "set")["image_id"][:] == [0, 1, 2, 3, 4]


def test_parquet_that_was_written_anew_is_read_anew(tmp_path):
    for image_id in (1, 2):
        save_scene_graphs(dataset([graph(image_id)]), tmp_path / "set", "parquet", overwrite=True)
        assert load_scene_graphs(tmp_path / "set")["image_id"][:] == [image_id]


def test_folders_of_save_to_disk(tmp_path):
    dataset([graph()]).save_to_disk(tmp_path / "one")
    assert load_scene_graphs(tmp_path / "one", "train")["relations"][:] == [[[0, 1, 1]]]
    DatasetDict(val=dataset([graph()]), train=dataset([graph(2)])).save_to_disk(tmp_path / "dict")
    assert load_scene_graphs(tmp_path / "dict", "validation")["image_id"][:] == [1]
    DatasetDict(val=dataset([graph()]), valid=dataset([graph(2)])).save_to_disk(tmp_path / "both")
    assert load_scene_graphs(tmp_path / "both", "validation")["image_id"][:] == [1]
    assert sorted(load_scene_graph_splits(tmp_path / "both")) == ["valid", "validation"]


def test_columns_of_other_types_and_more_columns(tmp_path):
    rows = dataset([graph()]).add_column("source", ["mine"])
    features = rows.features.copy()
    features["objects"] = features["objects"] | {"bbox": List(List(Value("float64")))}
    features["relations"] = List(List(Value("int64")))
    rows.cast(features).save_to_disk(tmp_path / "set")
    found = load_scene_graphs(tmp_path / "set")
    assert {name: found.features[name] for name in dataset([graph()]).features} == dataset([graph()]).features
    assert found[0]["source"] == "mine" and found[0]["objects"] == rows[0]["objects"]


@pytest.fixture
def hub(monkeypatch):
    """What the Hub answers, and what was asked of it and of `datasets`."""
    asked, answers = [], {"info": None}

    def ask(self, name, timeout):
        asked.append(f"info {name}")
        if answers["info"] is not None:
            raise answers["info"]

    def load(name):
        asked.append(f"load {name}, offline: {datasets.config.HF_HUB_OFFLINE}")
        if answers.get("rows") is None:
            raise ConnectionError("Couldn't reach it")
        return answers["rows"]

    monkeypatch.setattr(arrow.HfApi, "dataset_info", ask)
    monkeypatch.setattr(arrow, "load_dataset", load)
    return asked, answers


def test_a_hub_repository(hub):
    asked, answers = hub
    answers["rows"] = DatasetDict(train=dataset([graph()]), test=dataset([graph(2)]))
    assert load_scene_graphs("owner/name", "test")["image_id"][:] == [2]
    assert asked == ["info owner/name", "load owner/name, offline: False"]


def test_what_was_downloaded_is_read_without_a_connection(hub):
    asked, answers = hub
    answers |= {"rows": DatasetDict(test=dataset([graph(2)])), "info": OSError("no name service")}
    assert load_scene_graphs("owner/name", "test")["image_id"][:] == [2]
    assert asked == ["info owner/name", "load owner/name, offline: True"] and not datasets.config.HF_HUB_OFFLINE
    del answers["rows"]
    with pytest.raises(
        ConnectionError, match="no folder owner/name, and the Hub could not be asked .*no name service"
    ):
        load_scene_graphs("owner/name")


def test_a_hub_that_fails_later(hub):
    with pytest.raises(ConnectionError, match="no folder owner/name, and the Hub could not be asked .*reach it"):
        load_scene_graphs("owner/name")
    assert hub[0] == ["info owner/name", "load owner/name, offline: False"]


def test_rows_that_are_no_scene_graphs(tmp_path):
    Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "text")
    with pytest.raises(ValueError, match="text, split 'train': expected the dataset's field 'objects.category'"):
        load_scene_graphs(tmp_path / "text")
    dataset([graph()]).remove_columns(["image", "width"]).save_to_disk(tmp_path / "columns")
    with pytest.raises(ValueError, match=r"the columns \['image', 'width'\] are missing"):
        load_scene_graphs(tmp_path / "columns")
    dataset([graph(), graph(2) | {"relations": None}]).save_to_disk(tmp_path / "null")
    with pytest.raises(ValueError, match="column 'relations' must have a value in every row, but entry 1 is null"):
        load_scene_graphs(tmp_path / "null")


def test_damaged_files(tmp_path):
    save_scene_graphs(dataset([graph()]), tmp_path / "arrow", "arrow")
    file = next((tmp_path / "arrow").rglob("*.arrow"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="arrow: not a complete folder of save_to_disk"):
        load_scene_graphs(tmp_path / "arrow")
    save_scene_graphs(dataset([graph()]), tmp_path / "parquet", "parquet")
    file = next((tmp_path / "parquet").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match="parquet: cannot read its Parquet files"):
        load_scene_graph_splits(tmp_path / "parquet")


def test_one_line_embeds_what_to_parquet_does_not(tmp_path):
    root = write_genome(tmp_path / "set")
    embedded = embed_images(load_scene_graphs(root, "train").select([0]))
    embedded.to_parquet(tmp_path / "rows.parquet")
    image = load_dataset("parquet", data_files=str(tmp_path / "rows.parquet"))["train"].cast_column(
        "image", Image(decode=False)
    )
    assert image[0]["image"]["bytes"] == (root / "VG_100K" / "1.jpg").read_bytes()
