"""Whatever is given for an image: the right pixels, or one line that names it; never a traceback, never a hang."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speaq_hf.image_reading import UnreadableImageError, read_image
from tests.odd_images import OddImage, odd_addresses, odd_files, odd_objects, serve_odd_answers, write_odd_files


def check(odd: OddImage, source: Any, named: str) -> None:
    """Reads a source and compares with what is expected of it."""
    if odd.pixels is None:
        with pytest.raises((UnreadableImageError, TypeError)) as caught:
            read_image(source, timeout=0.6)
        check_message(str(caught.value), odd, named)
        return
    try:
        image = read_image(source, timeout=5.0)
    except UnreadableImageError as error:
        assert odd.may_fail, error
        check_message(str(error), odd, named)
        return
    assert image.mode == "RGB"
    difference = np.abs(np.asarray(image).astype(int) - odd.pixels)
    assert image.size == (odd.pixels.shape[1], odd.pixels.shape[0]) and difference.max() <= odd.tolerance


def check_message(message: str, odd: OddImage, named: str) -> None:
    assert message.isprintable() and len(message) < 700 and named in message and odd.error in message, message
    assert not re.search(r"0x[0-9a-f]{6}|Traceback|BytesIO", message), message


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {odd.name: path for path, odd in write_odd_files(tmp_path_factory.mktemp("odd"))}


@pytest.mark.parametrize("odd", odd_files(), ids=lambda odd: odd.name)
def test_files(odd, files):
    path = files[odd.name]
    printable = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in path.name)
    check(odd, path, printable if len(printable) < 60 else "")
    check(odd, odd.source, "the given bytes")


@pytest.mark.parametrize("odd", odd_objects(), ids=lambda odd: odd.name)
def test_objects(odd):
    check(odd, odd.source, "")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serve_odd_answers() as address:
        yield address


@pytest.mark.parametrize("index", range(len(odd_addresses(""))), ids=[odd.name for odd in odd_addresses("")])
def test_addresses(index, server, monkeypatch):
    monkeypatch.setattr("speaq_hf.models.speaq.image_reading_speaq.LARGEST_DOWNLOAD", 10**6)
    odd = odd_addresses(server)[index]
    check(odd, odd.source, odd.source)
