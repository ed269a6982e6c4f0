"""Images as odd as those that people have, each with the pixels that reading it must give, or none.

The expected pixels follow from the numbers that were written, by arithmetic of our own, not by Pillow's conversions.
"""

import base64
import io
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image


@dataclass(frozen=True)
class OddImage:
    """Something that is given for an image.

    Args:
        name: Of the case, for test reports.
        source: What a user hands over. Of `odd_files` the bytes of a file.
        pixels: `(H, W, 3)` uint8 that reading must give; `None`: it cannot be read.
        tolerance: Largest difference allowed, for compressed images and rounded colours.
        error: Words of the message when it cannot be read.
        may_fail: It may also be unreadable, but what is read must be right.
        file_name: Name of the file, where it matters.
    """

    name: str
    source: Any
    pixels: np.ndarray | None = None
    tolerance: int = 0
    error: str = ""
    may_fail: bool = False
    file_name: str | None = None


# Not square and without symmetry, so that no turn goes unnoticed.
HEIGHT, WIDTH = 6, 9


@lru_cache
def noise(channels: int = 3, dtype: str = "uint8") -> np.ndarray:
    """Random numbers of the whole range, `(HEIGHT, WIDTH, channels)`."""
    high = np.iinfo(dtype).max + 1
    return np.random.default_rng(channels).integers(0, high, (HEIGHT, WIDTH, channels), dtype=dtype)


@lru_cache
def smooth() -> np.ndarray:
    """Colours that compression keeps, `(48, 72, 3)`."""
    rows, columns = np.mgrid[0:48, 0:72]
    return np.stack((rows * 4, columns * 3, 200 - rows - columns), axis=-1).astype(np.uint8)


def grey_to_rgb(grey: np.ndarray) -> np.ndarray:
    """`(H, W)` in [0, 255] to `(H, W, 3)`."""
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def encode(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_odd_files(folder: Path) -> list[tuple[Path, OddImage]]:
    """Writes every file of `odd_files`.

    Args:
        folder: Where to; it exists.

    Returns:
        The files with what they are, in the order of `odd_files`.
    """
    written = []
    for index, odd in enumerate(odd_files()):
        path = folder / (odd.file_name or f"{index:03d}.jpg")
        path.write_bytes(odd.source)
        written.append((path, odd))
    return written


def odd_files() -> list[OddImage]:
    """Files, with their bytes as `source`."""
    return [
        *_greys(),
        *_colours(),
        *_numbers_of_many_bits(),
        *_sizes(),
        *_turned(),
        *_damaged_headers(),
        *_several_pictures(),
        *_formats(),
        *_no_images(),
        *_names(),
        *_cut_off(),
    ]


def _greys() -> Iterator[OddImage]:
    grey = noise(1)[..., 0]
    expected = grey_to_rgb(grey)
    yield OddImage("grey PNG", encode(grey), expected)
    yield OddImage(
        "grey JPEG", encode(smooth()[..., 0], "JPEG", quality=95), grey_to_rgb(smooth()[..., 0]), tolerance=6
    )
    yield OddImage("grey TIFF", encode(grey, "TIFF"), expected)
    alpha = np.dstack((grey, grey[::-1]))
    yield OddImage("grey and alpha PNG", encode(Image.fromarray(alpha, "LA")), expected)
    yield OddImage("grey and alpha TIFF", encode(Image.fromarray(alpha, "LA"), "TIFF"), expected)
    bits = grey > 127
    yield OddImage("one bit PNG", encode(Image.fromarray(bits)), grey_to_rgb(bits * 255))
    yield OddImage(
        "one bit TIFF", encode(Image.fromarray(bits), "TIFF", compression="group4"), grey_to_rgb(bits * 255)
    )
    yield OddImage("one bit PBM", encode(Image.fromarray(bits), "PPM"), grey_to_rgb(bits * 255))
    yield OddImage("one bit BMP", encode(Image.fromarray(bits), "BMP"), grey_to_rgb(bits * 255))
    for depth in (1, 2, 4):
        steps = grey >> (8 - depth)
        yield OddImage(
            f"grey PNG of {depth} bits", raw_png(steps, depth, 0), grey_to_rgb(steps * (255 // (2**depth - 1)))
        )
    yield OddImage("grey PNG with a transparent grey", raw_png(grey, 8, 0, (b"tRNS", b"\0\7")), expected)


def _colours() -> Iterator[OddImage]:
    colours = noise()
    yield OddImage("RGB", encode(colours), colours)
    for kind in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        yield OddImage(f"RGBA {kind}", encode(noise(4), kind, **options), noise(4)[..., :3])
    clear = np.dstack((colours, np.zeros((HEIGHT, WIDTH), np.uint8)))
    yield OddImage("RGBA, all of it transparent", encode(clear), colours)
    yield OddImage("RGB PNG with a transparent colour", encode(colours, transparency=(1, 2, 3)), colours)
    yield from _palettes()
    cmyk = noise(4)
    expected = _from_cmyk(cmyk)
    yield OddImage("CMYK TIFF", encode(Image.fromarray(cmyk, "CMYK"), "TIFF"), expected, tolerance=1)
    one = np.array([200, 30, 90, 40], np.uint8)
    plain = Image.fromarray(np.broadcast_to(one, (16, 24, 4)).copy(), "CMYK")
    jpeg = encode(plain, "JPEG", quality=100)
    yield OddImage("CMYK JPEG of Adobe", jpeg, np.broadcast_to(_from_cmyk(one), (16, 24, 3)), tolerance=3)
    ycck = jpeg.replace(b"\xff\xee\0\x0eAdobe\0d\0\0\0\0\0", b"\xff\xee\0\x0eAdobe\0d\0\0\0\0\2")
    assert ycck != jpeg
    yield OddImage("YCCK JPEG", ycck, np.broadcast_to(_from_ycck(255 - one), (16, 24, 3)), tolerance=3)
    yield OddImage("LAB TIFF", *_lab(), tolerance=2)
    yield OddImage("YCbCr TIFF", *_ycbcr(), tolerance=2, error="cannot be read", may_fail=True)


def _palettes() -> Iterator[OddImage]:
    palette = np.random.default_rng(7).integers(0, 256, (256, 3), dtype=np.uint8)
    index = noise(1)[..., 0]
    image = Image.fromarray(index, "P")
    image.putpalette(palette.tobytes())
    expected = palette[index]
    yield OddImage("palette PNG", encode(image), expected)
    yield OddImage("palette PNG with one transparent colour", encode(image, transparency=5), expected)
    yield OddImage("palette PNG with transparencies", encode(image, transparency=bytes(range(256))), expected)
    yield OddImage("palette GIF", encode(image, "GIF"), expected)
    yield OddImage("palette GIF with transparency", encode(image, "GIF", transparency=int(index[0, 0])), expected)
    yield OddImage("palette BMP", encode(image, "BMP"), expected)
    yield OddImage("palette TIFF", encode(image, "TIFF"), expected)
    few = index >> 4
    colours = (b"PLTE", palette[:16].tobytes())
    yield OddImage("palette PNG of 4 bits", raw_png(few, 4, 3, colours), palette[few])
    yield OddImage("palette PNG, interlaced", raw_png(index, 8, 3, (b"PLTE", palette.tobytes()), True), expected)


def _from_cmyk(cmyk: np.ndarray) -> np.ndarray:
    ink = cmyk.astype(np.float64)
    return ((255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255).round().astype(np.uint8)


def _from_ycck(stored: np.ndarray) -> np.ndarray:
    """Colours of a JPEG whose channels are Y, Cb, Cr and inverted black, by ITU-R BT.601."""
    y, cb, cr, black = stored.astype(np.float64)
    rgb = np.array([y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)])
    # Adobe stores inverted inks, so that these are 255 minus cyan, magenta and yellow, inverted once more by the file.
    return ((255 - rgb.clip(0, 255)) * black / 255).round().astype(np.uint8)


def _lab() -> tuple[bytes, np.ndarray]:
    """A neutral grey: L* = 60 % is sRGB 145 whatever the white point is."""
    lab = np.broadcast_to(np.array([153, 0, 0], np.uint8), (4, 5, 3)).copy()
    return encode(Image.fromarray(lab, "LAB"), "TIFF"), np.full((4, 5, 3), 145, np.uint8)


def _ycbcr() -> tuple[bytes, np.ndarray]:
    ycbcr = np.broadcast_to(np.array([120, 90, 170], np.uint8), (16, 16, 3)).copy()
    y, cb, cr = 120.0, 90.0 - 128, 170.0 - 128
    rgb = np.array([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb]).round()
    return encode(Image.fromarray(ycbcr, "YCbCr"), "TIFF"), np.broadcast_to(rgb.astype(np.uint8), (16, 16, 3))


def _numbers_of_many_bits() -> Iterator[OddImage]:
    deep = noise(1, "uint16")[..., 0]
    eight = grey_to_rgb((deep / 257.0).round())
    yield OddImage("16-bit grey PNG", raw_png(deep, 16, 0), eight)
    yield OddImage("16-bit grey TIFF", encode(deep, "TIFF"), eight)
    big = Image.frombytes("I;16B", (WIDTH, HEIGHT), deep.astype(">u2").tobytes())
    yield OddImage("16-bit grey TIFF, big end first", encode(big, "TIFF"), eight)
    yield OddImage("16-bit grey PGM", encode(deep, "PPM"), eight)
    dark = deep // 256  # a dark picture must stay dark
    yield OddImage("16-bit grey PNG, dark", raw_png(dark, 16, 0), grey_to_rgb((dark / 257.0).round()))
    yield OddImage(
        "16-bit grey and alpha PNG",
        raw_png(noise(2, "uint16"), 16, 4),
        grey_to_rgb(noise(2, "uint16")[..., 0] >> 8),
        1,
    )
    yield OddImage("16-bit RGB PNG", raw_png(noise(3, "uint16"), 16, 2), noise(3, "uint16") >> 8, 1)
    yield OddImage("16-bit RGBA PNG", raw_png(noise(4, "uint16"), 16, 6), noise(4, "uint16")[..., :3] >> 8, 1)
    grey = noise(1)[..., 0]
    yield OddImage("32-bit integer TIFF up to 255", encode(grey.astype(np.int32), "TIFF"), grey_to_rgb(grey))
    yield OddImage("32-bit integer TIFF up to 65535", encode(deep.astype(np.int32), "TIFF"), eight)
    yield OddImage(
        "32-bit integer TIFF, larger", encode(deep.astype(np.int32) * 99, "TIFF"), error="its pixels are from"
    )
    yield OddImage(
        "32-bit integer TIFF, negative", encode(-deep.astype(np.int32), "TIFF"), error="its pixels are from"
    )
    floats = grey.astype(np.float32)
    yield OddImage("float TIFF up to 255", encode(floats, "TIFF"), grey_to_rgb(grey))
    yield OddImage("float TIFF up to 1", encode(floats / 255, "TIFF"), grey_to_rgb(grey))
    yield OddImage("float TIFF, larger", encode(floats * 99, "TIFF"), error="its pixels are from")
    yield OddImage("float TIFF with nan", encode(np.where(grey > 9, floats, np.nan), "TIFF"), error="finite")
    yield OddImage("float TIFF with inf", encode(np.where(grey > 9, floats, np.inf), "TIFF"), error="finite")
    yield OddImage("float PFM", b"Pf\n9 6\n-1.0\n" + (floats / 255)[::-1].astype("<f4").tobytes(), grey_to_rgb(grey))


def _sizes() -> Iterator[OddImage]:
    for height, width in ((1, 1), (1, 5000), (5000, 1), (2, 1), (3000, 2)):
        colours = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        yield OddImage(f"{height} x {width}", encode(colours), colours)
    bomb = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0))
    bomb += png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")
    yield OddImage("a decompression bomb", bomb, error="exceeds limit")
    small = raw_png(noise(), 8, 2)
    for name, size in (("without width", (0, HEIGHT)), ("wider than the largest number", (2**32 - 1, 1))):
        header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
        yield OddImage(f"PNG {name}", small[:8] + header + small[33:], error="cannot be read")


_TURNED_BACK: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


def _turned() -> Iterator[OddImage]:
    for orientation, turn in _TURNED_BACK.items():
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        for kind in ("PNG", "TIFF", "WEBP", "JPEG"):
            options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
            colours, tolerance = (smooth(), 6) if kind == "JPEG" else (noise(), 0)
            yield OddImage(
                f"orientation {orientation} {kind}",
                encode(colours, kind, exif=exif, **options),
                turn(colours),
                tolerance,
            )
        grey = noise(1, "uint16")
        yield OddImage(
            f"orientation {orientation} of 16 bits",
            encode(grey[..., 0], "PNG", exif=exif),
            turn(np.repeat((grey / 257.0).round().astype(np.uint8), 3, axis=2)),
        )
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    yield OddImage("orientation 6 in XMP", encode(smooth(), "JPEG", quality=95, xmp=xmp), np.rot90(smooth(), -1), 6)


def _damaged_headers() -> Iterator[OddImage]:
    for orientation in (0, 9, 65535):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        yield OddImage(f"orientation {orientation}", encode(noise(), exif=exif), noise())
    broken = {
        "empty": b"Exif\0\0",
        "text": b"Exif\0\0no header of TIFF",
        "an offset into nothing": b"Exif\0\0II*\0\xff\xff\xff\x7f",
        "too many entries": b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x99\x01" * 9,
        "a loop": b"Exif\0\0II*\0\x08\0\0\0\0\0\x08\0\0\0",
        "text for an orientation": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\2\0\4\0\0\0six\0\0\0\0\0",
    }
    for name, exif in broken.items():
        for kind, colours, tolerance in (("JPEG", smooth(), 6), ("PNG", noise(), 0), ("WEBP", noise(), 0)):
            options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
            yield OddImage(f"EXIF with {name} {kind}", encode(colours, kind, exif=exif, **options), colours, tolerance)
    yield OddImage("a broken colour profile", encode(noise(), icc_profile=b"no profile"), noise())


def _several_pictures() -> Iterator[OddImage]:
    first, second = noise(), noise()[::-1]
    rest = {"save_all": True, "append_images": [Image.fromarray(second)]}
    few = first // 64 * 64  # few colours, which a GIF can hold
    yield OddImage("animated GIF", encode(few, "GIF", **rest), few)
    yield OddImage("animated PNG", encode(first, **rest), first)
    yield OddImage("animated PNG with a picture of its own", encode(first, **rest, default_image=True), first)
    yield OddImage("animated WebP", encode(first, "WEBP", lossless=True, **rest), first)
    yield OddImage("TIFF of two pages", encode(first, "TIFF", **rest), first)
    yield OddImage("stereo photo (MPO)", encode(smooth(), "MPO", quality=95, **rest), smooth(), tolerance=6)


def _formats() -> Iterator[OddImage]:
    for kind in ("BMP", "DIB", "PPM", "PCX", "SGI", "TGA", "DDS", "QOI"):
        yield OddImage(kind, encode(noise(), kind), noise(), file_name=f"format.{kind.lower()}")
    yield OddImage("ICO", encode(np.tile(noise()[:4, :4], (4, 4, 1)), "ICO"), np.tile(noise()[:4, :4], (4, 4, 1)))
    yield OddImage("JPEG 2000", encode(noise(), "JPEG2000"), noise())
    yield OddImage("AVIF", encode(smooth(), "AVIF", quality=95), smooth(), tolerance=8)
    yield OddImage("progressive JPEG", encode(smooth(), "JPEG", quality=95, progressive=True), smooth(), tolerance=6)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield OddImage(f"TIFF with {compression}", encode(noise(), "TIFF", compression=compression), noise())
    yield OddImage("PNG with data after its end", encode(noise()) + b"more", noise())
    yield OddImage("a damaged checksum", encode(noise()).replace(b"IDAT", b"IDAX"), error="cannot be read")


def _no_images() -> Iterator[OddImage]:
    cases = {
        "text": (b"this is not a photo\n", "known format"),
        "one byte": (b"\xff", "known format"),
        "nothing": (b"", "empty"),
        "zeros": (bytes(5000), "known format"),
        "a web page": (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        "JSON": (b'{"error": "not found"}', "known format"),
        "SVG": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        "SVG with a comment": (b"<!-- drawn -->\n<svg/>", "SVG"),
        "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50), "HEIC"),
        "MP4": (b"\0\0\0\x18ftypisom\0\0\0\0isomiso2" + bytes(50), "video"),
        "PDF": (b"%PDF-1.7\n1 0 obj\n", "PDF"),
        "Radiance HDR": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\nabcd", "HDR"),
        "OpenEXR": (b"v/1\x01\2\0\0\0" + bytes(50), "OpenEXR"),
        "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "PostScript"),
        "a pointer of Git LFS": (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "git lfs pull",
        ),
        "only the beginning of a JPEG": (b"\xff\xd8\xff", "cannot be read"),
        "a JPEG without pictures": (b"\xff\xd8\xff\xd9", "cannot be read"),
        "a PNG without pixels": (raw_png(noise(), 8, 2)[:33] + png_chunk(b"IEND", b""), "cannot be read"),
        "a ZIP": (b"PK\3\4" + bytes(50), "known format"),
    }
    for name, (content, error) in cases.items():
        yield OddImage(f"{name} named .jpg", content, error=error)


def _names() -> Iterator[OddImage]:
    for name in ("with spaces .png", "héllo wörld 猫.png", "new\nline.png", "-rf.png", "per%20cent.png", "a[b]*?.png", "no extension",
                 "q" * 250 + ".png", "it's \"quoted\".png", ".hidden.png", "UPPER.PNG", "tab\there.png"):  # fmt: skip
        yield OddImage(f"named {name[:20]!r}", encode(noise()), noise(), file_name=name)
    yield OddImage("text in a name with a newline", b"no image", error="known format", file_name="bad\nname.jpg")


def _cut_off() -> Iterator[OddImage]:
    """Files of which the end is missing: the whole picture (what is missing says nothing of it), or an error."""
    colours = np.random.default_rng(0).integers(0, 256, (48, 72, 3), dtype=np.uint8)
    files = {
        "JPEG": encode(colours, "JPEG", quality=95),
        "progressive JPEG": encode(colours, "JPEG", quality=95, progressive=True),
        "PNG": encode(colours),
        "interlaced PNG": raw_png(colours, 8, 2, interlaced=True),
        "GIF": encode(colours // 64 * 64, "GIF"),
        "WebP": encode(colours, "WEBP", lossless=True),
        "BMP": encode(colours, "BMP"),
        "TIFF": encode(colours, "TIFF"),
        "TIFF with LZW": encode(colours, "TIFF", compression="tiff_lzw"),
        "PPM": encode(colours, "PPM"),
        "AVIF": encode(colours, "AVIF", quality=95),
    }
    for kind, content in files.items():
        whole = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        for part in (0.02, 0.1, 0.3, 0.5, 0.8, 0.95):
            cut = content[: int(len(content) * part)]
            yield OddImage(f"{kind}, {part:.0%} of it", cut, whole, error="cannot be read", may_fail=True)
        yield OddImage(f"{kind} without its last byte", content[:-1], whole, error="cannot be read", may_fail=True)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG with its length and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def raw_png(
    array: np.ndarray, depth: int, colour_type: int, chunk: tuple[bytes, bytes] | None = None, interlaced: bool = False
) -> bytes:
    """A PNG of any kind, also of those that Pillow cannot write.

    Args:
        array: `(H, W)` or `(H, W, C)` of integers below 2 to the power of `depth`.
        depth: Bits per channel.
        colour_type: Of the PNG specification: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA.
        chunk: Kind and content of one more chunk.
        interlaced: In the seven passes of Adam7.
    """
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], depth, colour_type, 0, 0, int(interlaced))
    steps = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
    passes = [array[top::down, left::right] for top, down, left, right in steps] if interlaced else [array]
    rows = b"".join(b"\0" + _packed(row, depth) for part in passes if part.size for row in part)
    chunks = [(b"IHDR", header), *([chunk] if chunk else []), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in chunks)


def _packed(row: np.ndarray, depth: int) -> bytes:
    if depth >= 8:
        return row.astype(">u2" if depth == 16 else np.uint8).tobytes()
    bits = (row.astype(np.uint8)[:, None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.ravel()).tobytes()


def odd_objects() -> list[OddImage]:
    """Images in memory: arrays, tensors, PIL images, open files, bytes and text."""
    return [*_arrays(), *_tensors(), *_odd_arrays(), *_other_objects(), *_no_sources()]


def _arrays() -> Iterator[OddImage]:
    colours, grey, deep = noise(), noise(1)[..., 0], noise(1, "uint16")[..., 0]
    floats = colours.astype(np.float64) / 255
    yield OddImage("array (H, W, 3)", colours, colours)
    yield OddImage("array (H, W)", grey, grey_to_rgb(grey))
    yield OddImage("array (H, W, 1)", grey[..., None], grey_to_rgb(grey))
    yield OddImage("array (H, W, 2)", noise(2), grey_to_rgb(noise(2)[..., 0]))
    yield OddImage("array (H, W, 4)", noise(4), noise(4)[..., :3])
    yield OddImage("array (3, H, W)", colours.transpose(2, 0, 1), colours)
    yield OddImage("array (1, H, W)", grey[None], grey_to_rgb(grey))
    yield OddImage("array (3, W, 3), channels last", colours[:3], colours[:3])
    yield OddImage("bool array", grey > 127, grey_to_rgb((grey > 127) * 255))
    yield OddImage("uint16 array", deep, grey_to_rgb((deep / 257.0).round()))
    yield OddImage("uint16 array, big end first", deep.astype(">u2"), grey_to_rgb((deep / 257.0).round()))
    yield OddImage("uint16 colours", noise(3, "uint16"), (noise(3, "uint16") / 257.0).round().astype(np.uint8))
    for dtype in ("int16", "int32", "int64", "uint32", "uint64"):
        yield OddImage(f"{dtype} array up to 255", colours.astype(dtype), colours)
    for dtype in ("float16", "float32", "float64"):
        yield OddImage(f"{dtype} array up to 1", floats.astype(dtype), colours, tolerance=dtype == "float16")
        yield OddImage(f"{dtype} array up to 255", colours.astype(dtype), colours)
    yield OddImage("float array just above 1", np.where(floats == floats.max(), 1.0001, floats), colours, tolerance=1)
    yield OddImage("float array of zeros", np.zeros((2, 3, 3)), np.zeros((2, 3, 3), np.uint8))
    yield OddImage("read-only array", _read_only(colours), colours)
    yield OddImage("array in columns", np.asfortranarray(colours), colours)
    yield OddImage("mirrored view", colours[:, ::-1], colours[:, ::-1])


def _read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.setflags(write=False)
    return array


def _tensors() -> Iterator[OddImage]:
    colours = noise()
    tensor = torch.from_numpy(colours)
    yield OddImage("tensor (3, H, W)", tensor.permute(2, 0, 1), colours)
    yield OddImage("tensor (H, W, 3)", tensor, colours)
    yield OddImage("tensor (3, W, 3), channels first", tensor[:3], colours[:3].transpose(1, 2, 0))
    yield OddImage("tensor (H, W)", tensor[..., 0], grey_to_rgb(colours[..., 0]))
    yield OddImage("float tensor up to 1", tensor.permute(2, 0, 1) / 255, colours)
    yield OddImage("bfloat16 tensor up to 1", (tensor.permute(2, 0, 1) / 255).bfloat16(), colours, tolerance=1)
    yield OddImage("tensor that wants gradients", (tensor / 255).requires_grad_(), colours)


def _odd_arrays() -> Iterator[OddImage]:
    colours = noise().astype(np.float32)
    shapes = {"a batch": (2, 6, 9, 3), "one axis": (9,), "no axis": (), "no rows": (0, 9, 3), "5 channels": (6, 9, 5)}
    for name, shape in shapes.items():
        yield OddImage(f"array of {name}", np.zeros(shape, np.uint8), error="axes")
        yield OddImage(f"tensor of {name}", torch.zeros(shape), error="axes")
    yield OddImage("array with nan", np.where(colours > 9, colours, np.nan), error="finite")
    yield OddImage("array with inf", np.where(colours > 9, colours, -np.inf), error="finite")
    yield OddImage("array up to 2550", colours * 10, error="scale them")
    yield OddImage("array from -1 to 1", colours / 127.5 - 1, error="scale them")
    yield OddImage("int32 colours up to 65535", noise(3, "uint16").astype(np.int32), error="scale them")
    yield OddImage("complex array", colours.astype(complex), error="numbers")
    yield OddImage("array of text", np.array([["a", "b"]]), error="numbers")
    yield OddImage("array of objects", np.array([[None, None]]), error="numbers")


def _other_objects() -> Iterator[OddImage]:
    colours = noise()
    image, content = Image.fromarray(colours), encode(colours)
    for mode in ("1", "L", "LA", "La", "P", "PA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "I", "F", "I;16", "I;16B"):
        yield OddImage(f"PIL image of mode {mode}", Image.new(mode, (3, 2)), _black(mode))
    yield OddImage("PIL image", image, colours)
    yield OddImage("PIL image, not loaded yet", Image.open(io.BytesIO(content)), colours)
    yield OddImage("PIL image, cut off", Image.open(io.BytesIO(encode(noise())[:-80])), error="truncated")
    closed = Image.open(io.BytesIO(content))
    closed.close()
    yield OddImage("PIL image, closed", closed, error="cannot be read")
    yield OddImage("PIL image without pixels", Image.new("RGB", (0, 3)), error="no pixels")
    yield OddImage("bytes", content, colours)
    yield OddImage("bytearray", bytearray(content), colours)
    yield OddImage("memoryview", memoryview(content), colours)
    yield OddImage("bytes of text", b"no image", error="the given bytes cannot be read")
    yield OddImage("no bytes", b"", error="empty")
    yield OddImage("open file", io.BytesIO(content), colours)
    yield OddImage("file opened for text", io.StringIO("no image"), error="reading bytes")
    text = base64.b64encode(content).decode()
    yield OddImage("base64", text, colours)
    yield OddImage("base64 of a JPEG", base64.b64encode(encode(smooth(), "JPEG", quality=95)).decode(), smooth(), 6)
    yield OddImage("base64 in lines", "\n".join(text[i : i + 60] for i in range(0, len(text), 60)), colours)
    yield OddImage("damaged base64", text[:-7] + "*", error="the given base64 text cannot be read: its base64")
    yield OddImage("data address", f"data:image/png;base64,{text}", colours)
    yield OddImage("data address of text", "data:text/plain;base64,bm8gaW1hZ2U=", error="known format")
    yield OddImage("data address without base64", "data:image/svg+xml,<svg/>", error="No such file")
    yield OddImage("row of datasets with bytes", {"bytes": content, "path": "x.png"}, colours)


def _black(mode: str) -> np.ndarray:
    """What zeros in a mode look like: no ink is white, no chroma at no luma is green."""
    colour = {"CMYK": (255, 255, 255), "YCbCr": (0, 135, 0)}.get(mode, (0, 0, 0))
    return np.broadcast_to(np.array(colour, np.uint8), (2, 3, 3))


def _no_sources() -> Iterator[OddImage]:
    for source in (
        None,
        7,
        1.5,
        True,
        [],
        [b""],
        (1, 2),
        {},
        {"image": 1},
        {"bytes": None, "path": None},
        object(),
        Image,
    ):
        yield OddImage(f"{_short(source)} of {type(source).__name__}", source, error="an image is a path")
    for address in (
        "ftp://host/a.jpg",
        "file:///a.jpg",
        "s3://bucket/a.jpg",
        "HTP://host/a.jpg",
        "hf://datasets/a/b.jpg",
    ):
        yield OddImage(f"address {address}", address, error="addresses begin with http")
    for address in ("http://", "https:///a.jpg", "http://[::1", "http://a b/c.jpg", "http://host:99999999/a.jpg"):
        yield OddImage(f"address {address}", address, error="cannot be read")
    for path in (
        "",
        "missing.jpg",
        "missing/photo.jpg",
        "nul\0byte.jpg",
        "a" * 5000,
        "new\nline.jpg",
        "~/missing.jpg",
    ):
        yield OddImage(f"path {path[:20]!r}", path, error="cannot be read")


@contextmanager
def serve_odd_answers() -> Iterator[str]:
    """A server on the loopback that answers well and badly, see `odd_addresses`; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        _Answers.stopped.set()
        server.shutdown()
        server.server_close()
        _Answers.stopped.clear()


def odd_addresses(server: str) -> list[OddImage]:
    """Addresses of `serve_odd_answers`; read them with a timeout of about a second."""
    good = (
        "photo.png",
        "with%20space.png",
        "no-extension",
        "wrong-type.png",
        "redirect.png",
        "query?a=b&c=d",
        "chunked.png",
    )
    cases = [OddImage(f"address {name}", f"{server}/{name}", noise()) for name in good]
    bad = {
        "missing.png": "404",
        "forbidden.png": "403",
        "broken.png": "500",
        "page.png": "web page",
        "empty.png": "empty",
        "loop.png": "redirect",
        "elsewhere.png": "cannot be read",
        "silent.png": "cannot be read",
        "slow.png": "seconds",
        "endless.png": "cannot be read",
        "short.png": "cannot be read",
        "hang-up.png": "cannot be read",
        "no-http.png": "cannot be read",
    }
    cases += [OddImage(f"address {name}", f"{server}/{name}", error=error) for name, error in bad.items()]
    return [
        *cases,
        OddImage("address that nobody listens at", "http://127.0.0.1:9/a.png", error="cannot be read"),
        OddImage("address in capitals", f"HTTP{server[4:]}/photo.png", noise()),
    ]


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stopped = threading.Event()
    statuses = {"missing.png": 404, "forbidden.png": 403, "broken.png": 500}
    places = {"redirect.png": "/photo.png", "loop.png": "/loop.png", "elsewhere.png": "file:///etc/hostname"}

    def do_GET(self) -> None:  # noqa: N802
        name = self.path.strip("/").split("?")[0]
        special = getattr(self, f"_{name.split('.')[0].replace('-', '_')}", None)
        if special is not None:
            self.close_connection = True
            try:
                special()
            except OSError:  # the reader has gone
                return
        elif name in self.places:
            self._answer(b"", 302, Location=self.places[name])
        elif name in self.statuses:
            self._answer(b"error\nof many lines", self.statuses[name])
        else:
            self._answer(
                encode(noise()), **{"Content-Type": "text/plain" if name == "wrong-type.png" else "image/png"}
            )

    def _answer(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _page(self) -> None:
        self._answer(b"<html><head><title>Sign in</title></head></html>")

    def _empty(self) -> None:
        self._answer(b"")

    def _silent(self) -> None:
        self.stopped.wait(5)

    def _slow(self) -> None:
        """A byte now and then, none of them late."""
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"\0")
            if self.stopped.wait(0.05):
                return

    def _endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        until = time.monotonic() + 5
        while time.monotonic() < until and not self.stopped.is_set():
            self.wfile.write(bytes(1 << 16))

    def _short(self) -> None:
        content = encode(noise())
        self._answer(content[:-20], **{"Content-Length": str(len(content))})

    def _hang_up(self) -> None:
        return

    def _no_http(self) -> None:
        self.wfile.write(b"220 FTP ready\r\n")

    def _chunked(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        content = encode(noise())
        for part in (content[:50], content[50:], b""):
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")

    def log_message(self, *_: Any) -> None:
        pass


def _short(source: object) -> str:
    """Its beginning in words; equal in every process, so without addresses and folders."""
    return "plain" if type(source) in (object, type(Image)) else str(source)[:30]
