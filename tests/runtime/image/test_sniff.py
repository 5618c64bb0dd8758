"""Generated files of many formats and variants are read, or refused with their format named."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image import decode as module
from toolchain.runtime.image.decode import read_image

WIDTH, HEIGHT = 24, 16


def smooth(bands: int = 3) -> NDArray[np.uint8]:
    """Return slow gradients, which lossy formats preserve, and different ones in every band."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = [40 + 7 * x, 30 + 11 * y, 220 - 4 * (x + y), 60 + 5 * (x + y)]
    return np.stack(planes[:bands], axis=2).astype(np.uint8)


PICTURE = Image.fromarray(smooth())
GREY = Image.fromarray(smooth()[:, :, 0])
PALETTE = PICTURE.quantize(16, dither=Image.Dither.NONE)
RGBA = Image.fromarray(smooth(4))


def encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    size: tuple[int, int], depth: int, colour: int, rows: list[bytes], *more: bytes, lace: int = 0
) -> bytes:
    """Return a PNG of a kind that Pillow does not write."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, lace)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = (chunk(b"IHDR", header), *more, chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_16_bit(bands: int) -> bytes:
    wide = smooth(bands).astype(">u2") * 257
    rows = [row.tobytes() for row in wide]
    return png((WIDTH, HEIGHT), 16, {3: 2, 4: 6}[bands], rows)


def interlaced() -> bytes:
    """Return an interlaced PNG: seven passes (Adam7), each with every n-th pixel."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    passes.append((0, 1, 1, 2))
    rows = [row.tobytes() for x, y, dx, dy in passes for row in smooth()[y::dy, x::dx]]
    return png((WIDTH, HEIGHT), 8, 2, rows, lace=1)


def composed(image: Image.Image) -> NDArray[np.float64]:
    """Return the image composed over white."""
    values = np.asarray(image.convert("RGBA"), dtype=float)
    alpha = values[:, :, 3:] / 255
    return values[:, :, :3] * alpha + 255 * (1 - alpha)


def inverted_cmyk() -> bytes:
    """Return a CMYK JPEG as Adobe writes it: 255 is no ink."""
    return encode(PICTURE.convert("CMYK"), "JPEG", quality=100)


def plain(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image.convert("RGB"), dtype=float)


Expected = NDArray[np.float64]
READ: dict[str, tuple[Callable[[], bytes], Expected, float]] = {
    # name → (function that returns the file, expected pixels, largest allowed difference)
    "16-bit RGB PNG": (lambda: png_16_bit(3), plain(PICTURE), 0),
    "16-bit RGBA PNG": (lambda: png_16_bit(4), composed(RGBA), 1),
    "interlaced PNG": (interlaced, plain(PICTURE), 0),
    "1-bit TIFF": (
        lambda: encode(GREY.point(lambda v: 255 * (v > 128), "1"), "TIFF"),
        plain(GREY.point(lambda v: 255 * (v > 128))),
        0,
    ),
    "deflated TIFF": (
        lambda: encode(PICTURE, "TIFF", compression="tiff_deflate"),
        plain(PICTURE),
        0,
    ),
    "LZW TIFF": (lambda: encode(PICTURE, "TIFF", compression="tiff_lzw"), plain(PICTURE), 0),
    "JPEG in TIFF": (
        lambda: encode(PICTURE, "TIFF", compression="jpeg", quality=100),
        plain(PICTURE),
        12,
    ),
    "tiled TIFF": (
        lambda: encode(PICTURE, "TIFF", compression="tiff_deflate", tile=(16, 16)),
        plain(PICTURE),
        0,
    ),
    "CMYK TIFF": (lambda: encode(PICTURE.convert("CMYK"), "TIFF"), plain(PICTURE), 0),
    "BigTIFF": (lambda: encode(PICTURE, "TIFF", big_tiff=True), plain(PICTURE), 0),
    "TIFF with alpha": (lambda: encode(RGBA, "TIFF"), composed(RGBA), 1),
    "palette TIFF": (lambda: encode(PALETTE, "TIFF"), plain(PALETTE), 0),
    "CMYK JPEG": (inverted_cmyk, plain(PICTURE), 12),
    "progressive JPEG": (
        lambda: encode(PICTURE, "JPEG", progressive=True, quality=100),
        plain(PICTURE),
        12,
    ),
    "grey JPEG": (lambda: encode(GREY, "JPEG", quality=100), plain(GREY), 12),
    "palette PNG": (lambda: encode(PALETTE, "PNG"), plain(PALETTE), 0),
    "palette PNG with alpha for each entry": (
        lambda: encode(PALETTE, "PNG", transparency=bytes(range(0, 256, 16))),
        composed(
            Image.open(io.BytesIO(encode(PALETTE, "PNG", transparency=bytes(range(0, 256, 16)))))
        ),
        1,
    ),
    "GIF with a transparent colour": (
        lambda: encode(PALETTE, "GIF", transparency=3),
        composed(Image.open(io.BytesIO(encode(PALETTE, "PNG", transparency=3)))),
        1,
    ),
    "32-bit BMP, whose fourth byte is no alpha": (lambda: encode(RGBA, "BMP"), plain(RGBA), 0),
    "ICO": (lambda: encode(PICTURE, "ICO", sizes=[(WIDTH, HEIGHT)]), plain(PICTURE), 0),
    "PPM": (lambda: encode(PICTURE, "PPM"), plain(PICTURE), 0),
    "JPEG 2000": (lambda: encode(PICTURE, "JPEG2000"), plain(PICTURE), 2),
    "AVIF": (lambda: encode(PICTURE, "AVIF", quality=100), plain(PICTURE), 12),
    "lossless WebP": (lambda: encode(PICTURE, "WEBP", lossless=True), plain(PICTURE), 0),
    "MPO": (
        lambda: encode(
            PICTURE, "MPO", save_all=True, append_images=[GREY.convert("RGB")], quality=100
        ),
        plain(PICTURE),
        12,
    ),
    "animated AVIF": (
        lambda: encode(
            PICTURE, "AVIF", save_all=True, append_images=[GREY.convert("RGB")], quality=100
        ),
        plain(PICTURE),
        12,
    ),
    "16-bit PGM": (
        lambda: b"P5 24 16 65535\n" + (smooth()[:, :, 0].astype(">u2") * 257).tobytes(),
        plain(GREY),
        0,
    ),
}


@pytest.mark.parametrize("kind", READ)
def test_variant_of_a_format_is_read_correctly(kind: str) -> None:
    write, expected, tolerance = READ[kind]
    read = np.asarray(read_image(write()), dtype=float)
    assert read.shape == expected.shape
    assert np.abs(read - expected).max() <= tolerance


@pytest.mark.parametrize("kind", ["16-bit RGBA PNG", "palette PNG with alpha for each entry"])
def test_an_image_converted_in_strips_is_the_same(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, preprocessing = READ[kind][0](), Preprocessing(background=(9, 99, 199))
    at_once = read_image(data, preprocessing).tobytes()
    monkeypatch.setattr(module, "STRIP_PIXELS", 5 * WIDTH)
    assert read_image(data, preprocessing).tobytes() == at_once


def test_16_bit_grey_converted_in_strips_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 170
    data = encode(Image.fromarray(values), "PNG", transparency=170)
    at_once = read_image(data).tobytes()
    monkeypatch.setattr(module, "STRIP_PIXELS", 5 * WIDTH)
    assert read_image(data).tobytes() == at_once


@pytest.mark.parametrize(
    ("kind", "orientation"), [("PNG", 6), ("WEBP", 8), ("TIFF", 5), ("AVIF", 6)]
)
def test_orientation_is_applied_in_every_format_that_has_it(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[module.ORIENTATION_TAG] = orientation
    read = read_image(encode(PICTURE, kind, exif=exif))
    expected = np.asarray(PICTURE.transpose(module.TRANSPOSES[orientation]), dtype=float)
    assert read.size == (HEIGHT, WIDTH)
    assert np.abs(np.asarray(read, dtype=float) - expected).mean() < 6


def test_orientation_is_applied_although_the_rest_of_exif_is_damaged() -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\2"
    exif += struct.pack(">HHIHH", module.ORIENTATION_TAG, 3, 1, 6, 0)
    exif += struct.pack(">HHI4s", 0x8769, 13, 1, b"\xff\xff\xff\xff") + bytes(4)
    assert read_image(encode(PICTURE, "JPEG", exif=exif)).size == (HEIGHT, WIDTH)


def test_the_first_page_of_a_tiff_is_read_whatever_the_others_are() -> None:
    pages = [Image.new("1", (9, 9)), Image.new("F", (3, 3))]
    read = read_image(encode(PICTURE, "TIFF", save_all=True, append_images=pages))
    np.testing.assert_array_equal(np.asarray(read), smooth())


def test_a_jpeg_truncated_at_a_restart_marker_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), "JPEG", restart_marker_blocks=4)
    with pytest.raises(ImageError, match="damaged JPEG"):
        read_image(data[: data.rindex(b"\xff\xd1")])


SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
REFUSED = {
    "float TIFF": (encode(Image.new("F", (4, 4)), "TIFF"), "32-bit float"),
    "32-bit TIFF": (encode(Image.new("I", (4, 4), 70000), "TIFF"), "32-bit integers"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "a PDF"),
    "SVG": (SVG, "an SVG drawing"),
    "DICOM": (bytes(128) + b"DICM" + bytes(200), "a DICOM file"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
    "EPS that Pillow writes": (encode(PICTURE, "EPS"), "PostScript"),
    "Photoshop": (b"8BPS\0\1" + bytes(40), "a Photoshop file"),
    "TGA": (encode(PICTURE, "TGA"), "no known image format"),
    "DDS": (encode(PICTURE, "DDS"), "no known image format"),
    "ZIP": (b"PK\3\4" + bytes(40), "a ZIP archive"),
    "gzip": (zlib.compress(b"a", wbits=31), "a gzip archive"),
    "video": (b"\0\0\0\x20ftypisom" + bytes(40), "a video"),
    "cut AVIF": (encode(PICTURE, "AVIF")[:60], "AVIF"),
    "cut TIFF": (encode(PICTURE, "TIFF")[:60], "TIFF"),
    "cut WebP": (encode(PICTURE, "WEBP")[:60], "WebP"),
    "cut GIF": (encode(PICTURE, "GIF")[:9], "GIF"),
    "cut BMP": (encode(PICTURE, "BMP")[:9], "BMP"),
    "cut ICO": (encode(PICTURE, "ICO")[:9], "ICO"),
    "cut JPEG 2000": (encode(PICTURE, "JPEG2000")[:60], "JPEG 2000"),
    "cut PPM": (encode(PICTURE, "PPM")[:60], "PPM"),
    "text with a byte order mark": (b"\xef\xbb\xbf" + b"path,label\n" * 9, "text"),
    "web page with a byte order mark": (b"\xef\xbb\xbf<html><body>404", "a web page"),
    "sound": (b"RIFF\0\0\0\0WAVE" + bytes(40), "sound"),
    "resource fork": (b"\0\5\x16\7" + bytes(40), "a macOS resource fork"),
    "array": (b"\x93NUMPY" + bytes(40), "a NumPy array"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_error_names_the_kind_of_file(kind: str, tmp_path: Path) -> None:
    data, found = REFUSED[kind]
    (tmp_path / "holiday.jpg").write_bytes(data)
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "holiday.jpg")
    assert "holiday.jpg: " in str(caught.value)
    assert found in str(caught.value)
    assert caught.value.hint
