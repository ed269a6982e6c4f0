"""Whatever is given for an image: the right pixels, or one line that names it; never a traceback, never a hang."""

import copy
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from speaq_hf.image_reading import UnreadableImageError, read_image
from tests.odd_images import OddImage, noise, odd_addresses, odd_files, odd_objects, serve_odd_answers, write_odd_files


def faults(odd: OddImage, source: Any, named: str) -> list[str]:
    """What is wrong with the answer that a source gets: nothing, if it is the right pixels or the right message."""
    try:
        image = read_image(source, timeout=0.6 if odd.pixels is None else 5.0)
    except (UnreadableImageError, TypeError) as error:
        refused_rightly = odd.pixels is None or (odd.may_fail and isinstance(error, UnreadableImageError))
        return faults_of_message(str(error), odd, named) if refused_rightly else [f"refused: {error}"]
    if odd.pixels is None:
        return ["read, and should be refused"]
    pixels = np.asarray(image).astype(int)
    if image.mode != "RGB" or pixels.shape != odd.pixels.shape:
        return [f"mode {image.mode}, shape {pixels.shape} instead of {odd.pixels.shape}"]
    difference = np.abs(pixels - odd.pixels).max()
    return [f"pixels differ by {difference}"] if difference > odd.tolerance else []


def faults_of_message(message: str, odd: OddImage, named: str) -> list[str]:
    demands = {
        "one printable line": message.isprintable(),
        "short": len(message) < 700,
        "names the source": named in message,
        "says why": odd.error in message,
        "no inner workings": not re.search(r"0x[0-9a-f]{6}|Traceback|BytesIO", message),
    }
    return [f"not {demand}: {message!r}" for demand, met in demands.items() if not met]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {odd.name: path for path, odd in write_odd_files(tmp_path_factory.mktemp("odd"))}


@pytest.mark.filterwarnings("error:Palette images")
@pytest.mark.parametrize("odd", odd_files(), ids=lambda odd: odd.name)
def test_files(odd, files):
    path = files[odd.name]
    printable = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in path.name)
    assert not faults(odd, path, printable if len(printable) < 60 else "")
    assert not faults(odd, odd.source, "the given bytes")


@pytest.mark.parametrize("odd", odd_objects(), ids=lambda odd: odd.name)
def test_objects(odd):
    assert not faults(odd, odd.source, "")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serve_odd_answers() as address:
        yield address


@pytest.mark.parametrize("index", range(len(odd_addresses(""))), ids=[odd.name for odd in odd_addresses("")])
def test_addresses(index, server, monkeypatch):
    monkeypatch.setattr("speaq_hf.models.speaq.image_reading_speaq.LARGEST_DOWNLOAD", 10**6)
    odd = odd_addresses(server)[index]
    assert not faults(odd, odd.source, odd.source)


def test_how_much_and_how_long_an_address_may_send(server, monkeypatch):
    with pytest.raises(UnreadableImageError, match="not all was sent within 0.3 seconds"):
        read_image(f"{server}/slow.png", timeout=0.3)
    monkeypatch.setattr("speaq_hf.models.speaq.image_reading_speaq.LARGEST_DOWNLOAD", 10**6)
    with pytest.raises(UnreadableImageError, match="more than 1000000 bytes were sent"):
        read_image(f"{server}/endless.png", timeout=5)


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """A folder with what is no regular file."""
    Image.fromarray(noise()).save(tmp_path / "good.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "broken link.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "good link.png").symlink_to(tmp_path / "good.png")
    os.mkfifo(tmp_path / "pipe.png")
    return tmp_path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("folder.png", "it is a folder"),
        ("broken link.png", "No such file"),
        ("loop.png", "symbolic links"),
        ("pipe.png", "no regular file"),
        ("good.png/inside.png", "Not a directory"),
        ("missing.png", "No such file"),
        ("good link.png", None),
    ],
)
def test_places(places, name, error):
    pixels = noise() if error is None else None
    for given in (places / name, str(places / name), {"path": str(places / name)}):
        assert not faults(OddImage(name, None, pixels, error=error or ""), given, str(places / name))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_what_the_system_refuses_is_named_and_no_fault_of_the_image(places, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), "somewhere")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(OSError, match="good.png cannot be read now; the file itself may be good") as caught:
        read_image(places / "good.png")
    assert (
        caught.value.errno == number and os.strerror(number) in str(caught.value) and str(caught.value).isprintable()
    )


def test_a_file_that_only_others_may_read(places):
    if os.geteuid() == 0:
        pytest.skip("the superuser may read everything")
    (places / "good.png").chmod(0)
    with pytest.raises(PermissionError, match="good.png cannot be read now"):
        read_image(places / "good.png")


def test_what_is_given_is_not_changed(places):
    for odd in odd_objects():
        if isinstance(odd.source, np.ndarray) and odd.source.dtype.kind != "O":
            before = odd.source.copy()
            try:
                np.asarray(read_image(odd.source))  # must not be a view either
            except UnreadableImageError:
                pass
            assert np.array_equal(odd.source, before, equal_nan=before.dtype.kind == "f")
    given = Image.open(places / "good.png")
    given.info |= {"transparency": (1, 2, 3), "comment": "Wednesday"}
    before = copy.deepcopy(given.info)
    read = read_image(given)
    assert given.info == before and read.info == {} and np.array_equal(given, noise())
    read.putpixel((0, 0), (0, 0, 0))
    assert np.array_equal(given, noise())


def test_long_names_are_cut(tmp_path):
    with pytest.raises(UnreadableImageError) as caught:
        read_image("x" * 3000 + ".png")
    assert len(str(caught.value)) < 400 and ".png cannot be read" in str(caught.value)


def test_there_are_enough_of_them():
    names = [odd.name for odd in (*odd_files(), *odd_objects(), *odd_addresses(""))]
    assert len(names) >= 300 and len(set(names)) == len(names)
