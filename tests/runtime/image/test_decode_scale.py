"""JPEGs are scaled down while they are decoded, as far as the card allows."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.runtime.image.test_decode import encode
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import read_image


@pytest.mark.parametrize(
    ("decode_scale", "size"), [(0, (1600, 1200)), (1, (200, 150)), (2, (400, 300)), (4, (800, 600))]
)
def test_decode_scale_selects_the_smallest_allowed_size(
    decode_scale: int, size: tuple[int, int]
) -> None:
    preprocessing = Preprocessing(size=112, resize_size=128, decode_scale=decode_scale)
    photo = encode(Image.new("RGB", (1600, 1200)), "JPEG")
    read = read_image(photo, preprocessing)
    assert read.size == size
    assert min(read.size) >= 128 * decode_scale


@pytest.mark.parametrize("decode_scale", [1, 2, 3])
@pytest.mark.parametrize("side", [128, 255, 256, 500, 1025])
def test_decode_scale_keeps_the_short_side_large_enough(decode_scale: int, side: int) -> None:
    preprocessing = Preprocessing(size=112, resize_size=128, decode_scale=decode_scale)
    read = read_image(encode(Image.new("L", (side + 40, side)), "JPEG"), preprocessing)
    assert min(read.size) >= min(side, 128 * decode_scale)


def test_decode_scale_does_not_affect_other_formats() -> None:
    preprocessing = Preprocessing(size=16, resize_size=16, decode_scale=1)
    assert read_image(encode(Image.new("RGB", (300, 200)), "PNG"), preprocessing).size == (300, 200)


def test_decode_scale_shows_the_same_picture() -> None:
    photo = Image.new("RGB", (800, 800), "white")
    ImageDraw.Draw(photo).ellipse((100, 200, 700, 600), fill="navy")
    data = encode(photo, "JPEG", quality=95)
    small = read_image(data, Preprocessing(size=64, resize_size=64, decode_scale=2))
    difference = np.asarray(small, float) - np.asarray(read_image(data).resize(small.size), float)
    assert small.size == (200, 200)
    assert np.abs(difference).mean() < 3


def test_decode_scale_does_not_change_the_users_pil_image() -> None:
    data = encode(Image.new("RGB", (800, 400)), "JPEG")
    with Image.open(io.BytesIO(data)) as image:
        read_image(image, Preprocessing(size=16, resize_size=16, decode_scale=1))
        assert image.size == (800, 400)
