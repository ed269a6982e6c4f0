"""Reading images: colours, orientation, and what is said about those that cannot be read."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from speaq_hf.data.images import UnreadableImageError, read_image


def row(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return {"image": {"path": None, "bytes": buffer.getvalue()}, "image_id": 7}


def test_sixteen_bits_become_eight():
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    image = Image.fromarray(ramp)
    for given in (row(image), {"image": image, "image_id": 7}):
        pixels = np.asarray(read_image(given))
        assert pixels.shape == (16, 16, 3)
        np.testing.assert_array_equal(pixels[..., 0].ravel(), np.arange(256))


@pytest.mark.parametrize("decoded", [False, True])
def test_images_are_read_upright_and_turned_once(decoded):
    lying, exif = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3)), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    given = row(lying, exif=exif)
    if decoded:
        given["image"] = Image.open(io.BytesIO(given["image"]["bytes"]))
    upright = read_image(given)
    expected = lying.transpose(Image.Transpose.ROTATE_270)
    assert upright.size == (2, 4) and np.array_equal(upright, expected)
    assert np.array_equal(ImageOps.exif_transpose(upright), expected)  # nothing left to turn


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "F"])
def test_any_mode_becomes_rgb(mode):
    image = read_image({"image": Image.new(mode, (3, 2)), "image_id": 7})
    assert (image.mode, image.size) == ("RGB", (3, 2))


def test_an_unreadable_image_is_named(tmp_path):
    file = tmp_path / "7.jpg"
    file.write_text("404")
    with pytest.raises(UnreadableImageError, match="image 7 .*7.jpg. cannot be read"):
        read_image({"image": {"path": str(file), "bytes": None}, "image_id": 7})
    with pytest.raises(UnreadableImageError, match="image 7 .stored in the dataset. cannot be read"):
        read_image({"image": {"path": None, "bytes": b"404"}, "image_id": 7})
