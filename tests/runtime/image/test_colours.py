"""Colours: 16-bit grey, transparency, CMYK and colour profiles become 8-bit RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.runtime.image.test_decode import ODD, encode
from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import read_image


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(image_format: str) -> None:
    values = np.array([[0, 128, 129, 255, 256, 32768, 65406, 65407, 65535]], dtype=np.uint16)
    read = np.asarray(read_image(encode(Image.fromarray(values), image_format)))
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(read, np.stack([expected] * 3, axis=2))


def test_both_byte_orders_of_16_bit_grey_are_read_the_same() -> None:
    values = np.arange(0, 65536, 97, dtype=np.uint16)[None]
    little = Image.fromarray(values.astype("<u2"))
    big = Image.frombytes("I;16B", little.size, values.astype(">u2").tobytes())
    np.testing.assert_array_equal(np.asarray(read_image(little)), np.asarray(read_image(big)))


def test_dark_16_bit_photo_stays_dark(shared: Path) -> None:
    with Image.open(ODD / "grey16.png") as image:
        values = np.asarray(image)
    read = np.asarray(read_image(ODD / "grey16.png"))[:, :, 0]
    np.testing.assert_array_equal(read, np.rint(values / 257).astype(np.uint8))
    assert read.max() == 3  # its largest value is 694 of 65535; clipped it would be all white


def test_transparent_value_of_16_bit_grey_shows_the_background() -> None:
    values = np.array([[1000, 2000, 1000]], dtype=np.uint16)
    data = encode(Image.fromarray(values), "PNG", transparency=1000)
    read = np.asarray(read_image(data, Preprocessing(background=(9, 8, 7))))
    assert read.tolist() == [[[9, 8, 7], [8, 8, 8], [9, 8, 7]]]


def test_integers_beyond_16_bits_are_refused() -> None:
    with pytest.raises(ImageError, match="32-bit integers"):
        read_image(Image.fromarray(np.array([[0, 70000]], dtype=np.int32)))


@pytest.mark.parametrize("background", [(255, 255, 255), (10, 200, 30)])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composed_over_the_background(mode: str, background: tuple[int, ...]) -> None:
    alpha = np.array([[0, 128, 255]], dtype=np.uint8)
    grey = np.full_like(alpha, 100)
    bands = [grey] * (len(mode) - 1) + [alpha]
    image = Image.merge(mode, [Image.fromarray(band) for band in bands])
    preprocessing = Preprocessing(background=background)  # type: ignore[arg-type]
    read = np.asarray(read_image(encode(image, "PNG"), preprocessing), dtype=float)
    share = alpha[0, :, None] / 255
    expected = share * 100 + (1 - share) * np.array(background)
    assert np.abs(read[0] - expected).max() <= 1


def test_transparent_palette_entry_shows_the_background() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putpixel((1, 0), 1)
    data = encode(image, "PNG", transparency=1)
    read = np.asarray(read_image(data, Preprocessing(background=(1, 2, 3))))
    assert read.tolist() == [[[200, 0, 0], [1, 2, 3]]]


def test_transparent_colour_of_an_rgb_image_shows_the_background() -> None:
    image = Image.fromarray(np.array([[[1, 1, 1], [50, 60, 70]]], dtype=np.uint8))
    read = np.asarray(read_image(encode(image, "PNG", transparency=(1, 1, 1))))
    assert read.tolist() == [[[255, 255, 255], [50, 60, 70]]]


def test_fully_transparent_image_is_all_background(shared: Path) -> None:
    preprocessing = Preprocessing(background=(12, 34, 56))
    read = read_image(ODD / "rgba_fully_transparent.png", preprocessing)
    assert read.getcolors() == [(300 * 300, (12, 34, 56))]


def test_cmyk_photos_with_and_without_profile_are_similar(shared: Path) -> None:
    plain = np.asarray(read_image(ODD / "cmyk_no_profile.jpg"), dtype=float)
    profile = np.asarray(read_image(ODD / "cmyk_icc_profile.jpg"), dtype=float)
    assert np.abs(plain - profile).mean() < 5


def test_cmyk_paper_is_white_and_ink_is_dark() -> None:
    pixels = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [255, 0, 0, 0]]], dtype=np.uint8)
    image = Image.frombytes("CMYK", (3, 1), pixels.tobytes())
    read = np.asarray(read_image(encode(image, "TIFF")))
    assert read.tolist() == [[[255, 255, 255], [0, 0, 0], [0, 255, 255]]]


def test_colour_profile_changes_nothing(shared: Path) -> None:
    with Image.open(ODD / "icc_display_p3.jpg") as image:
        stored = np.asarray(image)
    np.testing.assert_array_equal(np.asarray(read_image(ODD / "icc_display_p3.jpg")), stored)
