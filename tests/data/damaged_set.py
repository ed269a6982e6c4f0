"""Reads a set as training does and checks what comes out; as a program, once for each damaged annotation file.

python -m tests.data.damaged_set ROOT VARIANTS
"""

import faulthandler
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from speaq_hf import SpeaQImageProcessorPil
from speaq_hf.data import (
    SceneGraphAugmentation,
    SceneGraphCollator,
    SceneGraphTransform,
    load_synthetic_genome,
    object_names,
    predicate_names,
    predicate_statistics,
)
from speaq_hf.data.images import undecoded


FILES = {
    "images": "VG_100K",
    "annotations": "VG-SGG-with-attri.h5",
    "categories": "VG-SGG-dicts-with-attri.json",
    "image_data": "image_data.json",
}
CPU_SECONDS = 5
PROCESSOR = SpeaQImageProcessorPil(size={"shortest_edge": 16, "longest_edge": 32})
AUGMENTATION = SceneGraphAugmentation(
    short_edges=(16,), longest_edge=32, crop_short_edges=(16,), crop_sides=(8, 12), crop_probability=0.5
)


class TooSlow(BaseException):
    """Reading took longer than it may; no `except Exception` swallows it."""


@contextmanager
def time_limit() -> Iterator[None]:
    """Processor time, so that a busy machine makes no difference."""

    def stop(*_):
        raise TooSlow

    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


def fault_of(root: Path) -> str | None:
    """What is wrong with how a set in the files of Visual Genome is read; None if it gives valid rows or a clear error."""
    try:
        with time_limit():
            for split in ("train", "val", "test"):
                _check_split(root, split)
    except (ValueError, OSError) as error:
        return None if str(root) in str(error) else f"names no file: {type(error).__name__}: {error}"
    except (Exception, TooSlow) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _check_split(root: Path, split: str) -> None:
    rows = load_synthetic_genome(root, split, **FILES)
    predicate_statistics(rows)
    transformed = undecoded(rows).with_transform(SceneGraphTransform(PROCESSOR, AUGMENTATION))
    batch = SceneGraphCollator(PROCESSOR)([transformed[row] for row in range(len(rows))])
    assert batch["pixel_values"].isfinite().all() and batch["pixel_mask"].any(dim=2).any(dim=1).all()
    for row, label in zip(rows.remove_columns("image"), batch["labels"], strict=True):
        assert torch.tensor(row["objects"]["bbox"]).isfinite().all()
        assert len(row["objects"]["bbox"]) == len(row["objects"]["category"])
        assert row["width"] >= 1 and row["height"] >= 1
        boxes, relations = label["boxes"], label["relations"]
        assert ((boxes >= 0) & (boxes <= 1)).all() and (boxes[:, 2:] > 0).all()
        _check_indices(label["class_labels"], len(object_names(rows)))
        _check_indices(relations[:, :2], len(boxes))
        _check_indices(relations[:, 2], len(predicate_names(rows)))


def _check_indices(indices: torch.Tensor, size: int) -> None:
    assert ((indices >= 0) & (indices < size)).all()


def main(root: Path, variants: Path) -> None:
    """Print a line for each variant when it is begun and one when it is done."""
    faulthandler.enable()
    for variant in sorted(variants.iterdir()):
        print(json.dumps({"begun": variant.name}), flush=True)
        shutil.copy(variant, root / FILES["annotations"])
        print(json.dumps({"done": variant.name, "fault": fault_of(root)}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
