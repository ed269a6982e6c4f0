# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Sets in the storage of `datasets`: folders of `save_to_disk`, Parquet files and repositories of the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, Features, load_dataset, load_from_disk
from datasets.exceptions import DatasetsError
from datasets.table import embed_table_storage
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HTTPError

from ..defects import DefectLog, Place
from ..visual_genome import scene_graph_features
from .dataset_building import warn_of_boxes
from .graph_arrays import GraphArrays, Vocabulary
from .image_files import row_in_words
from .json_fields import listed_files, usual_split_name
from .raw_split import RawSplit
from .tolerance import Tolerance


_HUB_SECONDS = 10
_DISK_FILES = ("dataset_dict.json", "dataset_info.json")
_BATCH_ROWS = 100  # also of the row groups: a viewer reads one at a time
_SHARD_BYTES = 500_000_000


def saved_in(folder: Path) -> bool:
    """Whether `save_to_disk` wrote the folder."""
    return any((folder / name).is_file() for name in _DISK_FILES)


def parquet_in(folder: Path) -> bool:
    """Whether the folder, or its folder `data`, holds Parquet files."""
    return any(listed_files(place, ".parquet") for place in (folder, folder / "data"))


def read_saved(path: Path, split: str | None = None) -> dict[str, Dataset]:
    """Reads a folder of `Dataset.save_to_disk` or `DatasetDict.save_to_disk`; a dataset without split is "train".

    Raises:
        ValueError: The rows are no scene graphs.
    """
    return _scene_graphs(load_saved(path), split, str(path))


def read_parquet(path: Path, split: str | None = None) -> dict[str, Dataset]:
    """Reads a folder of Parquet files, named after their splits, or one file, which is the split "train".

    Raises:
        ValueError: The files are damaged, or the rows are no scene graphs.
    """
    return _scene_graphs(load_parquet(path), split, str(path))


def read_hub(repository: str, split: str | None = None) -> dict[str, Dataset]:
    """Reads a data set of the Hub, for example "owner/name"; without a connection, what was downloaded before.

    If the Hub does not answer, `datasets` takes what it read last from its cache, and logs a warning.

    Raises:
        FileNotFoundError: There is no such repository, or it is private and the user may not see it.
        PermissionError: The Hub refuses the user's token.
        ConnectionError: The Hub cannot be reached or fails, and the data set is not in the cache.
        ValueError: A file is damaged, or the rows are no scene graphs.
    """
    return _scene_graphs(load_hub(repository), split, repository)


def load_saved(path: Path) -> dict[str, Dataset]:
    """The unchecked splits of a folder of `save_to_disk`; a ValueError if it is damaged."""
    try:
        return _splits(load_from_disk(path))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowInvalid) as error:
        raise ValueError(f"{path}: not a complete folder of save_to_disk ({error}); save it again") from error


def load_parquet(path: Path) -> dict[str, Dataset]:
    """The unchecked splits of Parquet files; a ValueError if they are damaged."""
    try:
        if path.is_dir():
            return _splits(load_dataset(str(path)))
        return _splits(load_dataset("parquet", data_files={"train": str(path)}))
    except Exception as error:  # the library's errors for damaged files have no common type
        raise ValueError(f"{path}: cannot read its Parquet files ({error.__cause__ or error})") from error


def load_hub(repository: str) -> dict[str, Dataset]:
    """The unchecked splits of a repository; errors as those of `read_hub`."""
    silence = _hub_silence(repository)
    try:
        with _downloads_only_if(silence is None):
            return _splits(load_dataset(repository))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"there is no folder {repository}, and no such data set on the Hub ({error})"
        ) from error
    except (ConnectionError, HTTPError) as error:
        raise _hub_failure(repository, silence or error) from error
    except DatasetsError as error:
        raise ValueError(f"{repository}: cannot read its files on the Hub ({error.__cause__ or error})") from error


def read_raw_saved(path: Path, log: DefectLog) -> list[RawSplit]:
    """A folder of `save_to_disk` for an inspection; a ValueError if it is damaged."""
    return raw_splits(load_saved(path), str(path), log)


def read_raw_parquet(path: Path, log: DefectLog) -> list[RawSplit]:
    """Parquet files for an inspection; a ValueError if they are damaged."""
    return raw_splits(load_parquet(path), str(path), log)


def raw_splits(splits: Mapping[str, Dataset], where: str, log: DefectLog) -> list[RawSplit]:
    """Splits to be inspected; one whose columns are not those of scene graphs is noted."""
    raw = []
    for name, dataset in splits.items():
        place = Place(f"{where}, split '{name}'", where, name)
        with Tolerance(log).of("broken_entry", place):
            raw.append(RawSplit.of_dataset(name, _with_features(dataset)[0], where))
    return raw


def _hub_silence(repository: str) -> Exception | None:
    """Asks the Hub once, as `load_dataset` would ask in vain for half a minute: why it does not answer, None if it does."""
    try:
        HfApi().dataset_info(repository, timeout=_HUB_SECONDS)
    except HfHubHTTPError:
        return None  # an answer, of which `load_dataset` makes an error
    except Exception as error:  # no name service, no route, no answer: the libraries below have their own kinds
        return error
    return None


@contextmanager
def _downloads_only_if(allowed: bool) -> Iterator[None]:
    """Makes `datasets` look into its cache alone unless downloads are allowed."""
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not allowed
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def write_saved(splits: dict[str, Dataset], folder: Path) -> None:
    """Writes with `DatasetDict.save_to_disk`, image files embedded."""
    DatasetDict(splits).save_to_disk(folder)


def write_parquet(splits: dict[str, Dataset], folder: Path) -> None:
    """Writes the Parquet files that `DatasetDict.push_to_hub` uploads, image files embedded."""
    (folder / "data").mkdir()
    for split, dataset in splits.items():
        shards = []
        for table in _tables(dataset):
            if not shards or shards[-1].size > _SHARD_BYTES:
                shards.append(_Shard(folder / "data" / f"{split}-{len(shards):05d}.parquet", table.schema))
            shards[-1].write(table)
        for index, shard in enumerate(shards):
            shard.close(f"{split}-{index:05d}-of-{len(shards):05d}.parquet")


def embed_images(dataset: Dataset) -> Dataset:
    """The dataset with the image files' bytes in its rows instead of their paths, so that it needs no other files.

    `Dataset.push_to_hub` and `save_to_disk` do so themselves; `Dataset.to_parquet` does not.

    Args:
        dataset: A dataset with images; a transform or format set on it is lost.

    Returns:
        A dataset with the same features, stored in the cache of `datasets`.
    """
    arrow = dataset.with_format("arrow")
    return arrow.map(embed_table_storage, batched=True, batch_size=_BATCH_ROWS).with_format(None)


class _Shard:
    """One Parquet file while it is written."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.size = 0
        self._writer = pq.ParquetWriter(path, schema)

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table)
        self.size += table.nbytes

    def close(self, name: str) -> None:
        self._writer.close()
        self.path.rename(self.path.with_name(name))


def _tables(dataset: Dataset) -> Iterator[pa.Table]:
    schema = dataset.features.arrow_schema
    for table in dataset.with_format("arrow").iter(_BATCH_ROWS):
        yield embed_table_storage(table.cast(schema)).cast(schema)


def _hub_failure(repository: str, error: Exception) -> OSError:
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status in (401, 403):
        return PermissionError(
            f"{repository}: the Hub refuses access with status {status} ({error.server_message}); log in with `hf auth login`, "
            "or set HF_TOKEN to a token that may read it"
        )
    reason = str(error).split("\n")[0]
    return ConnectionError(
        f"there is no folder {repository}, and the Hub could not be asked for such a data set ({reason}); try again later"
    )


def _splits(loaded: Dataset | DatasetDict) -> dict[str, Dataset]:
    named = dict(loaded) if isinstance(loaded, DatasetDict) else {str(loaded.split or "train"): loaded}
    return _usually_named(named)


def _scene_graphs(splits: dict[str, Dataset], split: str | None, where: str) -> dict[str, Dataset]:
    return {
        name: _checked(dataset, f"{where}, split '{name}'")
        for name, dataset in splits.items()
        if split in (None, name)
    }


def _usually_named(splits: dict[str, Dataset]) -> dict[str, Dataset]:
    """Splits under the names that users ask for, where these are free."""
    named = {}
    for split, dataset in splits.items():
        name = usual_split_name(split)
        named[split if name in splits or name in named else name] = dataset
    return named


def _checked(dataset: Dataset, where: str) -> Dataset:
    """The dataset with the features of scene graphs, and further columns; a ValueError if the rows are no scene graphs."""
    try:
        dataset, vocabulary = _with_features(dataset)
        arrays = GraphArrays.from_dataset(dataset)
        arrays.check(vocabulary, lambda row: row_in_words(dataset, row))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    warn_of_boxes(arrays, where)
    return dataset


def _with_features(dataset: Dataset) -> tuple[Dataset, Vocabulary]:
    """The dataset with the features of scene graphs, and its vocabulary; a ValueError if its columns are others."""
    try:
        vocabulary = Vocabulary.of(dataset)
        expected = scene_graph_features(vocabulary.objects, vocabulary.predicates)
        missing = sorted(expected.keys() - dataset.features.keys())
        if missing:
            raise ValueError(f"the columns {missing} are missing, there are {dataset.column_names}")
        features = Features(dataset.features | expected)
        return (dataset if dataset.features == features else dataset.cast(features)), vocabulary
    except (TypeError, pa.ArrowInvalid) as error:
        raise ValueError(str(error)) from error
