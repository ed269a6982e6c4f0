import io
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from speaq_hf.data.images import read_image


def stored(image: Image.Image) -> dict[str, Any]:
    exif, file = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = 6
    image.save(file, "png", exif=exif)
    return {"path": None, "bytes": file.getvalue()}


@pytest.mark.parametrize("decoded", [False, True])
def test_images_are_read_upright_and_turned_once(decoded: bool) -> None:
    lying = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    image = stored(lying)
    image = Image.open(io.BytesIO(image["bytes"])) if decoded else image
    upright = read_image({"image": image, "image_id": 1})
    expected = lying.transpose(Image.Transpose.ROTATE_270)
    assert upright.size == (2, 4) and np.array_equal(upright, expected)
    assert np.array_equal(ImageOps.exif_transpose(upright), expected)  # nothing left to turn
