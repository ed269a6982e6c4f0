"""Reading images: colours, orientation, and what is said about those that cannot be read."""

import errno
import io
import os

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from speaq_hf.data.images import UnreadableImageError, read_row_image


def row(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return {"image": {"path": None, "bytes": buffer.getvalue()}, "image_id": 7}


def test_sixteen_bits_become_eight():
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    image = Image.fromarray(ramp)
    for given in (row(image), {"image": image, "image_id": 7}):
        pixels = np.asarray(read_row_image(given))
        assert pixels.shape == (16, 16, 3)
        np.testing.assert_array_equal(pixels[..., 0].ravel(), np.arange(256))


@pytest.mark.parametrize("decoded", [False, True])
def test_images_are_read_upright_and_turned_once(decoded):
    lying, exif = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3)), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    given = row(lying, exif=exif)
    if decoded:
        given["image"] = Image.open(io.BytesIO(given["image"]["bytes"]))
    upright = read_row_image(given)
    expected = lying.transpose(Image.Transpose.ROTATE_270)
    assert upright.size == (2, 4) and np.array_equal(upright, expected)
    assert np.array_equal(ImageOps.exif_transpose(upright), expected)  # nothing left to turn


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "F"])
def test_any_mode_becomes_rgb(mode):
    image = read_row_image({"image": Image.new(mode, (3, 2)), "image_id": 7})
    assert (image.mode, image.size) == ("RGB", (3, 2))


def test_an_unreadable_image_is_named(tmp_path):
    file = tmp_path / "7.jpg"
    file.write_text("404")
    with pytest.raises(UnreadableImageError, match="image 7 .*7.jpg. cannot be read"):
        read_row_image({"image": {"path": str(file), "bytes": None}, "image_id": 7})
    with pytest.raises(UnreadableImageError, match="image 7 .stored in the dataset. cannot be read"):
        read_row_image({"image": {"path": None, "bytes": b"404"}, "image_id": 7})


@pytest.mark.parametrize("number", ["EMFILE", "ENFILE", "ESTALE", "EIO", "ENOMEM", "EACCES", "ETIMEDOUT"])
def test_errors_of_the_system_are_not_the_images(tmp_path, monkeypatch, number):
    file = tmp_path / "7.png"
    Image.new("RGB", (3, 2)).save(file)
    number = getattr(errno, number)

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(OSError, match=f"{os.strerror(number)}: image 7 .*7.png. cannot be read now") as error:
        read_row_image({"image": {"path": str(file), "bytes": None}, "image_id": 7})
    assert error.value.errno == number and not isinstance(error.value, UnreadableImageError)


def test_too_many_open_files_do_not_replace_an_image(tmp_path):
    resource = pytest.importorskip("resource")
    file = tmp_path / "7.png"
    Image.new("RGB", (3, 2)).save(file)
    given = {"image": {"path": str(file), "bytes": None}, "image_id": 7}
    read_row_image(given)  # Pillow loads its decoders
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files: image 7"):
            read_row_image(given)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert read_row_image(given).size == (3, 2)


@pytest.mark.parametrize("name", ["missing.png", "folder", "7.png/inside.png", "7" * 300])
def test_a_path_without_a_file_is_unreadable(tmp_path, name):
    (tmp_path / "folder").mkdir()
    Image.new("RGB", (3, 2)).save(tmp_path / "7.png")
    with pytest.raises(UnreadableImageError, match="image 7 .* cannot be read: "):
        read_row_image({"image": {"path": str(tmp_path / name), "bytes": None}, "image_id": 7})
