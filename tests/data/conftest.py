from pathlib import Path

import datasets
import pytest


@pytest.fixture(autouse=True, scope="session")
def quiet_datasets(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No progress bars, and Parquet files converted to a folder of the tests."""
    datasets.disable_progress_bars()
    datasets.config.HF_DATASETS_CACHE = Path(tmp_path_factory.mktemp("cache"))
