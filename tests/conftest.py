import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from conversion.convert_detectron2 import convert
from speaq_hf import SpeaQForSceneGraphGeneration
from tests.helpers import REFERENCE


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories of the two recorded checkpoints, converted."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    root = tmp_path_factory.mktemp("converted")
    for name in ("speaq", "baseline"):
        convert(REFERENCE / f"checkpoint_{name}.pth", REFERENCE / f"config_{name}.json", root / name)
    return {name: root / name for name in ("speaq", "baseline")}


@pytest.fixture(params=["speaq", "baseline"])
def variant(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(variant: str, converted: dict[str, Path]) -> SpeaQForSceneGraphGeneration:
    return SpeaQForSceneGraphGeneration.from_pretrained(converted[variant])


@pytest.fixture(scope="session")
def recorded() -> dict[str, Tensor]:
    """The recorded forward pass of both checkpoints."""
    return load_file(REFERENCE / "forward.safetensors")


@pytest.fixture(scope="session")
def batch(recorded: dict[str, Tensor]) -> dict[str, Tensor]:
    """The recorded batch of two padded images."""
    pixel_values = recorded["batch/normalized_padded"]
    pixel_mask = torch.zeros(2, *pixel_values.shape[-2:], dtype=torch.long)
    for image, (height, width) in enumerate(recorded["batch/image_sizes_hw"].tolist()):
        pixel_mask[image, :height, :width] = 1
    return {"pixel_values": pixel_values, "pixel_mask": pixel_mask}
