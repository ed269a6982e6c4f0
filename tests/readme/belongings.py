"""What a reader of the README has before the first command: photos, a video, data sets, published weights, a detector on the Hub."""

import json
import shutil
import subprocess
from pathlib import Path

from ..helpers import REFERENCE
from .blocks import Block, read_blocks


_EXAMPLES = Path("speaq_hf/assets/examples")


def provide(clone: Path) -> None:
    """Puts into a clone what the README's commands are given.

    Args:
        clone: Folder of the clone.
    """
    provide_photos(clone)
    provide_video(clone)
    metadata = next(block for block in read_blocks(clone / "README.md") if '"file_name"' in block.code)
    provide_own_images(clone, metadata)
    draw = ["speaq", "generate-data", "data/visual_genome", "--domain", "real", "-n", "60", "--image-size", "64"]
    subprocess.run(draw, cwd=clone, check=True, capture_output=True)
    predict = ["speaq", "predict", "--data", "data/visual_genome", "--split", "test", "--threshold", "0.1"]
    subprocess.run([*predict, "--output", "b.jsonl"], cwd=clone, check=True, capture_output=True)
    provide_published_weights(clone)


def provide_photos(clone: Path) -> None:
    """A photo, a folder of some with a file that is none, and PNGs elsewhere."""
    from PIL import Image

    shutil.copy(clone / _EXAMPLES / "car.jpg", clone / "photo.jpg")
    shutil.copytree(clone / _EXAMPLES, clone / "photos", ignore=shutil.ignore_patterns("*.md"))
    (clone / "photos" / "text.jpg").write_text("no image")
    (clone / "more" / "trip").mkdir(parents=True)
    Image.open(clone / "photo.jpg").save(clone / "more" / "trip" / "car.png")


def provide_video(clone: Path) -> None:
    """A second of the example pictures."""
    import av
    from PIL import Image

    with av.open(str(clone / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 128
        for file in sorted((clone / _EXAMPLES).glob("*.jpg")):
            picture = Image.open(file).convert("RGB").resize((128, 128))
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


def provide_own_images(clone: Path, metadata: Block) -> None:
    """The two images that the README annotates, and more like the first."""
    from PIL import Image

    folder = clone / "data" / "mine"
    folder.mkdir(parents=True)
    first, second = map(json.loads, metadata.code.splitlines())
    entries = [first, second, *(first | {"file_name": f"{number}.jpg"} for number in range(8))]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, entries)))
    for entry in entries:
        Image.new("RGB", (120, 90), "white").save(folder / entry["file_name"])


def provide_published_weights(clone: Path) -> None:
    """A checkpoint of the original program and its configuration."""
    shutil.copy(REFERENCE / "checkpoint_speaq.pth", clone / "model_best.pth")
    import yaml

    settings = json.loads((REFERENCE / "config_speaq.json").read_text())
    (clone / "speaq.yaml").write_text(yaml.safe_dump(settings))
