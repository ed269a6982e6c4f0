import logging
import os
import threading

import pytest
from datasets import Dataset, NamedSplit

from speaq_hf.data import load_visual_genome, object_names, predicate_statistics, table_cache
from speaq_hf.data.table_cache import cached_dataset
from tests.data.factories import OBJECTS, write_genome


@pytest.fixture(autouse=True)
def cache_small_files(monkeypatch):
    monkeypatch.setattr(table_cache, "MIN_BYTES", 0)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "annotations").write_text("one")
    return tmp_path / "annotations"


class Builder:
    """Counts how often the dataset is made."""

    def __init__(self, value=1):
        self.value, self.calls = value, 0

    def __call__(self):
        self.calls += 1
        return Dataset.from_dict({"number": [self.value, 2]})


def load(file, build, tmp_path, **options):
    return cached_dataset([file], options, build, NamedSplit("train"), tmp_path / "cache")


def test_is_made_once_until_content_or_option_changes(file, tmp_path):
    build = Builder()
    first, second = (load(file, build, tmp_path) for _ in range(2))
    assert build.calls == 1 and first["number"][:] == second["number"][:] == [1, 2] and second.split == "train"
    load(file, build, tmp_path, box_scale=512)
    assert build.calls == 2
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_text("two")  # as long as before
    os.utime(file, ns=times)
    load(file, build, tmp_path)
    assert build.calls == 3
    file.write_text("one")
    load(file, build, tmp_path)
    assert build.calls == 3


def test_several_at_once_see_whole_tables(file, tmp_path):
    barrier, found = threading.Barrier(4), []

    def build():
        barrier.wait(10)  # all of them are making it
        return Dataset.from_dict({"number": list(range(5000))})

    threads = [threading.Thread(target=lambda: found.append(load(file, build, tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [dataset["number"][:] == list(range(5000)) for dataset in found] == [True] * 4
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_broken_table_and_an_unusable_folder_cost_time_only(file, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    build = Builder()
    load(file, build, tmp_path)
    (table,) = (tmp_path / "cache").iterdir()
    table.write_bytes(table.read_bytes()[:50])
    assert load(file, build, tmp_path)["number"][:] == [1, 2] and "cannot be read" in caplog.text
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    dataset = cached_dataset([file], {}, build, NamedSplit("train"), blocked)
    assert dataset["number"][:] == [1, 2] and "cannot be kept" in caplog.text


def test_small_files_leave_nothing_behind(file, tmp_path, monkeypatch):
    monkeypatch.setattr(table_cache, "MIN_BYTES", 4)
    load(file, Builder(), tmp_path)
    assert not (tmp_path / "cache").exists()


def test_visual_genome_from_the_cache_is_the_same(tmp_path):
    root, cache = write_genome(tmp_path / "genome"), tmp_path / "cache"
    options = {"num_validation_images": None, "cache_dir": cache}
    made, cached = (load_visual_genome(root, "train", **options) for _ in range(2))
    assert made.features == cached.features and object_names(cached) == OBJECTS
    plain = [{name: value for name, value in row.items() if name != "image"} for row in cached]
    assert plain == [{name: value for name, value in row.items() if name != "image"} for row in made]
    assert cached[0]["image"].size == (64, 48) and cached.split == "train"
    assert (predicate_statistics(cached).counts == predicate_statistics(made).counts).all()
    assert len(list(cache.iterdir())) == 1
    load_visual_genome(root, "test", **options)
    assert len(list(cache.iterdir())) == 2
    (root / "VG_100K" / "1.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of .*'1.jpg'"):
        load_visual_genome(root, "train", **options)
