"""A handful of generated images and a model that trains on them in a second."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.state import AcceleratorState, GradientState

from speaq_hf.data import generate_synthetic_genome


ROOT = Path(__file__).parents[2]


MICRO_RUN = {
    "model": {
        "backbone_config": {
            "model_type": "resnet",
            "layer_type": "basic",
            "embedding_size": 8,
            "hidden_sizes": [8, 16],
            "depths": [1, 1],
            "out_features": ["stage2"],
        },
        "freeze_backbone_stages": 0,
        "freeze_batch_norm": False,
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
        "num_object_queries": 8,
    },
    "data": {
        "format": "synthetic_genome",
        "short_edges": [48, 64],
        "test_short_edge": 64,
        "longest_edge": 64,
        "crop_short_edges": [64],
        "crop_sides": [48, 64],
        "num_workers": 0,
    },
    "training": {
        "batch_size": 4,
        "learning_rate": 1e-3,
        "milestones": [3],
        "max_grad_norm": 0.1,
        "mixed_precision": "no",
        "max_steps": 4,
        "log_steps": 1,
        "save_steps": 2,
        "tracker": "none",
    },
    "evaluation": {"steps": 0, "max_images": 6},
}


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


@pytest.fixture(autouse=True)
def fresh_accelerator() -> Iterator[None]:
    """Accelerate keeps its settings for the life of a process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
