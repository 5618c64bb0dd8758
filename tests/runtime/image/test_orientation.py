"""The EXIF orientation is applied to files and PIL images."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.runtime.image.test_decode import ODD, ORIENTATION, encode, noise
from toolchain.runtime.image.decode import read_image


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_of_a_photo_is_applied(shared: Path, orientation: int) -> None:
    oriented = np.asarray(read_image(ODD / "exif_orientation_1.jpg"), dtype=float)
    other = np.asarray(read_image(ODD / f"exif_orientation_{orientation}.jpg"), dtype=float)
    assert other.shape == oriented.shape
    # Below 20 by JPEG's loss and another profile; 50 or more with a wrong orientation.
    assert np.abs(other - oriented).mean() < 20


# EXIF orientation → the pixels that a camera stores for an image.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_applied_exactly_once(orientation: int, image_format: str) -> None:
    oriented = noise(7, 5)
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](oriented)))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    lossless = {"lossless": True, "exact": True} if image_format == "WEBP" else {}
    data = encode(stored, image_format, exif=exif.tobytes(), **lossless)
    np.testing.assert_array_equal(np.asarray(read_image(data)), oriented)
    np.testing.assert_array_equal(np.asarray(read_image(Image.open(io.BytesIO(data)))), oriented)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_exif_orientation_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encode(Image.fromarray(noise(7, 5)), "PNG", exif=exif.tobytes())
    np.testing.assert_array_equal(np.asarray(read_image(data)), noise(7, 5))


def test_pil_image_with_an_orientation_is_not_changed() -> None:
    image = Image.fromarray(noise(4, 6))
    image.getexif()[ORIENTATION] = 6
    assert read_image(image).size == (4, 6)
    assert image.size == (6, 4)
    assert image.getexif()[ORIENTATION] == 6


def test_damaged_exif_keeps_its_orientation_where_warnings_are_errors() -> None:
    """Two entries are announced, and only the orientation is there."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entry
    stream = io.BytesIO()
    Image.new("RGB", (60, 40)).save(stream, "JPEG", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_image(stream.getvalue()).size == (40, 60)
        opened = Image.open(stream)
        warnings.simplefilter("error")
        filters = list(warnings.filters)
        assert read_image(stream.getvalue()).size == (40, 60)
        assert read_image(opened).size == (40, 60)
        assert warnings.filters == filters
