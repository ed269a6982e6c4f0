"""Damaged files give valid rows or an error that names a file; never a traceback from the depths, a hang or garbage."""

import io
import json
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from speaq_hf.data import load_synthetic_genome
from tests.data import damaged_set
from tests.data.damaged_set import FILES, fault_of
from tests.data.factories import ARRAYS, write_genome


ROOT = Path(__file__).parents[2]
HDF5, CATEGORIES, SIZES = (FILES[name] for name in ("annotations", "categories", "image_data"))
PICTURE = "VG_100K/3.jpg"
NUM_FLIPPED, NUM_CUT, NUM_NUMBERS = 50, 16, 40


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_genome(tmp_path_factory.mktemp("healthy") / "set")
    assert fault_of(root) is None
    return root


@pytest.fixture
def faults(healthy: Path) -> Callable[[str, list[tuple[str, bytes]]], dict[str, str]]:
    """Puts each content in the place of a file, one after the other, and tells what went wrong with which."""

    def examine(name: str, contents: list[tuple[str, bytes]]) -> dict[str, str]:
        file = healthy / name
        original, found = file.read_bytes(), {}
        for case, content in contents:
            file.write_bytes(content)
            found[case] = fault_of(healthy)
        file.write_bytes(original)
        return {case: fault for case, fault in found.items() if fault}

    return examine


def cut(content: bytes, number: int = NUM_CUT) -> list[tuple[str, bytes]]:
    """Lengths from nothing to all but the last byte."""
    lengths = {round(share * (len(content) - 1)) for share in np.linspace(0, 1, number)}
    return [(f"cut to {length} bytes", content[:length]) for length in sorted(lengths)]


def flipped(content: bytes, number: int = NUM_FLIPPED, seed: int = 0) -> list[tuple[str, bytes]]:
    """One to 64 bytes replaced."""
    cases = []
    for case in range(seed, seed + number):
        generator, damaged = random.Random(case), bytearray(content)
        for _ in range(generator.choice([1, 1, 2, 8, 64])):
            place = generator.randrange(len(damaged))
            damaged[place] = generator.choice([0, 255, generator.randrange(256), damaged[place] ^ 1])
        cases.append((f"seed {case}", bytes(damaged)))
    return cases


# HDF5 -----------------------------------------------------------------------------------------------------------------


def hdf5(arrays: dict[str, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as handle:
        for name, values in arrays.items():
            handle.create_dataset(name, data=values, **options)
    return buffer.getvalue()


def healthy_arrays() -> dict[str, np.ndarray]:
    return {name: np.asarray(values) for name, values in ARRAYS.items()}


def test_damaged_hdf5_files(healthy, tmp_path):
    """In a process of its own: the HDF5 library could take the whole test run with it."""
    variants = tmp_path / "variants"
    variants.mkdir()
    plain, packed = hdf5(healthy_arrays()), hdf5(healthy_arrays(), chunks=True, compression="gzip")
    contents = [
        *((f"plain {case}", content) for case, content in [*cut(plain), *flipped(plain)]),
        *((f"packed {case}", content) for case, content in [*cut(packed), *flipped(packed, seed=1000)]),
    ]
    for case, content in contents:
        (variants / case).write_bytes(content)
    copy = write_genome(tmp_path / "set")
    command = [sys.executable, "-m", "tests.data.damaged_set", str(copy), str(variants)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines[-1], done.stderr[-2000:])
    assert not {line["done"]: line["fault"] for line in lines if line.get("fault")}
    assert len(lines) == 2 * len(contents)


def changed_arrays() -> list[tuple[str, dict[str, Any]]]:
    """Arrays with the wrong content, one mistake each."""
    arrays, cases = healthy_arrays(), []
    names = list(arrays)
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        cases.append((f"{name} and {other} swapped", {name: arrays[other], other: arrays[name]}))
    for first, last in (("img_to_first_box", "img_to_last_box"), ("img_to_first_rel", "img_to_last_rel")):
        cases.append((f"{first} and {last} swapped", {first: arrays[last], last: arrays[first]}))
    cases.append(
        (
            "boxes and relationships swapped",
            {"boxes_1024": arrays["relationships"], "relationships": arrays["boxes_1024"]},
        )
    )
    for name, values in arrays.items():
        cases += [
            (f"{name} as floats with NaN", {name: np.where(values == values.flat[0], np.nan, values)}),
            (f"{name} empty", {name: values[:0]}),
            (f"{name} with an axis too many", {name: values[..., None, None]}),
            (f"{name} as text", {name: np.full(values.shape, b"1")}),
            (f"{name} one number", {name: np.int64(3)}),
            (f"{name} nothing", {name: h5py.Empty("i8")}),
            (f"{name} as bytes", {name: values.astype(np.uint8)}),
            (f"{name} wrapped", {name: (values - 2).astype(np.uint64)}),
            (f"{name} transposed", {name: values.T}),
            (f"{name} of records", {name: np.zeros(len(values), [("a", "i4"), ("b", "f4")])}),
        ]
    return cases


def changed_numbers() -> list[tuple[str, dict[str, Any]]]:
    """One number replaced by an extreme one."""
    cases = []
    for seed in range(NUM_NUMBERS):
        generator, arrays = random.Random(seed), healthy_arrays()
        name = generator.choice(list(arrays))
        value = generator.choice([-(2**63), -(2**31), -(10**6), -7, -1, 0, 10**6, 2**31 - 1, 2**31, 2**40, 2**63 - 1])
        place = generator.randrange(arrays[name].size)
        arrays[name].flat[place] = value
        cases.append((f"{name}[{place}] = {value}", {name: arrays[name]}))
    return cases


@pytest.mark.parametrize("cases", [changed_arrays, changed_numbers])
def test_wrong_arrays(faults, cases):
    assert not faults(HDF5, [(case, hdf5(healthy_arrays() | change)) for case, change in cases()])


@pytest.mark.parametrize(
    ("array", "row", "value", "message"),
    [
        ("boxes_1024", 4, [10, 10, -5, 9], r"row 4 of 'boxes_1024'.*\[10, 10, -5, 9\] with a negative side"),
        ("boxes_1024", 2, [2**40, 0, 1, 1], r"row 2 of 'boxes_1024'.*1099511627776"),
        ("relationships", 1, [-1, 4], r"row 1 of 'relationships'.*\[-1, 4\] must lie within"),
        ("labels", 5, [-(2**63)], r"row 5 of 'labels'.*beyond"),
    ],
)
def test_wrong_numbers_are_named_with_their_row(tmp_path, array, row, value, message):
    arrays = healthy_arrays()
    arrays[array][row] = value
    root = write_genome(tmp_path / "set", **arrays)
    with pytest.raises(ValueError, match=message):
        load_synthetic_genome(root, "train", **FILES)


def test_a_length_beyond_the_file_does_not_fill_the_memory(faults):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as handle:
        for name, values in (healthy_arrays() | {"labels": None}).items():
            if values is None:
                handle.create_dataset(name, shape=(2**36, 1), dtype="i8", chunks=(2**10, 1))
            else:
                handle[name] = values
    assert not faults(HDF5, [("64 Gi rows", buffer.getvalue())])


# JSON -----------------------------------------------------------------------------------------------------------------

WRONG_VALUES = [None, True, -1, 0, 1, 1.5, 2**31, 2**63, 10**400, 1e308, "", "1", "cat", [], [1], {}, {"a": 1}]


def nodes(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths of all values inside a JSON value, itself first."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(node for key, child in children for node in nodes(child, (*path, key)))]


def replaced(value: Any, path: tuple, new: Any) -> Any:
    """A JSON value with the one at the path replaced; `...` takes it out."""
    if not path:
        return None if new is ... else new
    copy = value.copy()
    if new is ... and len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def wrong_json(content: bytes) -> list[tuple[str, bytes]]:
    value = json.loads(content)
    cases = [(f"{path} left out", replaced(value, path, ...)) for path in nodes(value)]
    for index, path in enumerate(nodes(value)):
        # All of them for the outermost values, some of them further in.
        for new in WRONG_VALUES if len(path) < 2 else WRONG_VALUES[index % 4 :: 4]:
            cases.append((f"{path} = {str(new)[:20]}", replaced(value, path, new)))
    return [(case, json.dumps(changed).encode()) for case, changed in cases]


def no_json(content: bytes) -> list[tuple[str, bytes]]:
    return [
        ("nested without end", b"[" * 100_000),
        ("not UTF-8", content.replace(b"1", b"\xff", 1)),
        ("UTF-16", content.decode().encode("utf-16")),
        ("with a byte order mark", b"\xef\xbb\xbf" + content),
        ("NaN", content.replace(b"64", b"NaN").replace(b": 1,", b": NaN,")),
        ("Infinity", content.replace(b"64", b"Infinity").replace(b": 1,", b": Infinity,")),
        ("a long number", content.replace(b"64", b"9" * 5000).replace(b": 1,", b": " + b"9" * 5000 + b",")),
        ("half a character", content.replace(b"cat", b"\\ud800").replace(b"image_id", b"\\ud800", 1)),
        ("zeros", bytes(len(content))),
        ("a picture", b"\xff\xd8\xff\xe0" + content),
        ("twice", content + content),
    ]


@pytest.mark.parametrize("name", [CATEGORIES, SIZES])
def test_wrong_json(healthy, faults, name):
    content = (healthy / name).read_bytes()
    assert not faults(name, [*wrong_json(content), *no_json(content), *cut(content), *flipped(content, 25)])


def test_repeated_image_ids_are_refused(tmp_path):
    root = write_genome(tmp_path / "set")
    entries = json.loads((root / SIZES).read_text())
    entries[3]["image_id"] = entries[0]["image_id"]
    (root / SIZES).write_text(json.dumps(entries))
    with pytest.raises(ValueError, match="image_data.json: image_id 1 occurs more than once"):
        load_synthetic_genome(root, "train", **FILES)


# Images ---------------------------------------------------------------------------------------------------------------


def picture(mode: str = "RGB", kind: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def huge_jpeg() -> bytes:
    """A header that claims 65,000 x 65,000 pixels."""
    content = bytearray(picture())
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", 65_000, 65_000)
    return bytes(content)


def odd_pictures() -> list[tuple[str, bytes]]:
    modes = [
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("1", "PNG"),
        ("P", "PNG"),
        ("LA", "PNG"),
        ("RGBA", "PNG"),
        ("I;16", "PNG"),
    ]
    modes += [("I", "TIFF"), ("F", "TIFF"), ("RGB", "BMP"), ("P", "GIF"), ("RGB", "WEBP"), ("YCbCr", "JPEG")]
    sizes = [(1, 1), (1, 300), (300, 1), (2, 2)]
    return [
        *((f"{mode} {kind}", picture(mode, kind)) for mode, kind in modes),
        *((f"{size}", picture(size=size)) for size in sizes),
        ("nothing", b""),
        ("text", b"404 not found"),
        ("a page", b"<html><body>404</body></html>" * 50),
        ("zeros", bytes(5000)),
        ("huge JPEG", huge_jpeg()),
        ("huge PNG", picture(kind="PNG").replace(struct.pack(">II", 64, 48), struct.pack(">II", 65_000, 65_000), 1)),
    ]


def test_odd_pictures(faults):
    assert not faults(PICTURE, odd_pictures())


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_damaged_pictures(faults, kind):
    content = picture(kind=kind)
    assert not faults(PICTURE, [*cut(content), *flipped(content, 20), *flipped(content[:400], 12)])


def test_a_folder_in_place_of_a_picture(tmp_path):
    root = write_genome(tmp_path / "set")
    (root / PICTURE).unlink()
    (root / PICTURE).mkdir()
    assert fault_of(root) is None


def test_there_are_faults_to_find(healthy, monkeypatch):
    """The examination notices garbage and errors that name no file."""
    load = damaged_set.load_synthetic_genome

    def out_of_range(*args, **kwargs):
        rows = load(*args, **kwargs)
        return rows.map(lambda row: {"relations": [[0, 0, 99]]}, keep_in_memory=True)

    monkeypatch.setattr(damaged_set, "load_synthetic_genome", out_of_range)
    assert fault_of(healthy)
    monkeypatch.setattr(damaged_set, "load_synthetic_genome", lambda *args, **kwargs: json.loads("{"))
    assert "names no file" in fault_of(healthy)
    monkeypatch.setattr(damaged_set, "load_synthetic_genome", lambda *args, **kwargs: {}["rows"])
    assert "KeyError" in fault_of(healthy)
