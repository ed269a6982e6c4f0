"""A handful of generated images and runs on them that take a second."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from accelerate.state import AcceleratorState, GradientState

from speaq_hf.data import generate_synthetic_genome

from .micro_run import MICRO_RUN


ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with 24 training, 6 validation and 10 test images of 64 x 64 pixels."""
    root = tmp_path_factory.mktemp("genome")
    return generate_synthetic_genome(root, 40, image_size=64, split_shares=(0.6, 0.15, 0.25), num_workers=1)


@pytest.fixture
def micro_run(genome: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Makes the command line words of a short run that writes to a folder of the given name."""

    def words(name: str, *overrides: str, **sections: dict[str, Any]) -> list[str]:
        config = {section: values | sections.get(section, {}) for section, values in MICRO_RUN.items()}
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(config))
        paths = ["--data.root", str(genome), "--training.output_dir", str(tmp_path / name)]
        return ["--config", str(file), *paths, *overrides]

    return words


@pytest.fixture
def assert_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Callable[[ModuleType, list[str], str], None]:
    """Checks that a program ends with a message before it trains."""
    monkeypatch.chdir(tmp_path)

    def check(program: ModuleType, words: list[str], message: str) -> None:
        with pytest.raises(SystemExit) as end:
            program.main(words)
        error = capsys.readouterr().err
        assert end.value.code == 1
        assert "error: " in error and message in error
        assert not list(tmp_path.rglob("log.jsonl"))

    return check


@pytest.fixture(autouse=True)
def fresh_accelerator() -> Iterator[None]:
    """Accelerate keeps its settings for the life of a process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
