from pathlib import Path

import pytest
from PIL import Image

from speaq_hf.data import generate_synthetic_genome
from speaq_hf.predictor import SceneGraphPredictor


@pytest.fixture(scope="session")
def predictor() -> SceneGraphPredictor:
    """The model that comes with the package."""
    return SceneGraphPredictor.from_pretrained(device="cpu")


@pytest.fixture(scope="session")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated data set in the files of Visual Genome."""
    root = tmp_path_factory.mktemp("predict") / "genome"
    generate_synthetic_genome(root, 16, domain="real", image_size=96, num_workers=1)
    return root


@pytest.fixture(scope="session")
def photos(genome: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eleven images of several sizes, one of them in a folder, two files that are no images, and one of notes."""
    folder = tmp_path_factory.mktemp("predict") / "photos"
    (folder / "deeper").mkdir(parents=True)
    for number, file in enumerate(sorted((genome / "VG_100K").glob("*.jpg"))[:10]):
        Image.open(file).resize((96 + 8 * (number % 3), 80)).save(folder / f"{number:03d}.png")
    Image.open(file).save(folder / "deeper" / "7.jpg")
    (folder / "004b.jpg").write_text("no image")
    (folder / "005b.png").write_bytes((folder / "005.png").read_bytes()[:60])
    (folder / "notes.txt").write_text("not even called so")
    return folder
