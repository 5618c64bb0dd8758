"""Level "image formats": the files that are made in memory are what their names say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from toolchain.verification.levels.image_formats import image_format_samples
from toolchain.verification.levels.torchvision_pixels import ORIENTATION

SAMPLES = dict(image_format_samples())

MODES = {
    "L JPEG": ("JPEG", "L"),
    "CMYK JPEG": ("JPEG", "CMYK"),
    "progressive JPEG": ("JPEG", "RGB"),
    "1 PNG": ("PNG", "1"),
    "L PNG": ("PNG", "L"),
    "P PNG": ("PNG", "P"),
    "LA PNG": ("PNG", "LA"),
    "RGBA PNG": ("PNG", "RGBA"),
    "P PNG with transparency": ("PNG", "P"),
    "RGB PNG with a clear colour": ("PNG", "RGB"),
    "16-bit grey PNG": ("PNG", "I;16"),
    "lossy WebP": ("WEBP", "RGB"),
    "GIF": ("GIF", "P"),
    "tall": ("PNG", "RGB"),
    "wide": ("PNG", "RGB"),
    "one pixel": ("PNG", "RGB"),
}


def opened(name: str) -> Image.Image:
    picture = Image.open(io.BytesIO(SAMPLES[name]))
    picture.load()
    return picture


@pytest.mark.parametrize("name", MODES)
def test_each_kind_has_the_format_and_mode_of_its_name(name: str) -> None:
    picture = opened(name)
    assert (picture.format, picture.mode) == MODES[name]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_in_the_tag_and_not_in_the_pixels(orientation: int) -> None:
    picture = opened(f"EXIF orientation {orientation}, JPEG")
    assert picture.getexif()[ORIENTATION] == orientation
    not_turned = opened("EXIF orientation 1, JPEG")
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(not_turned))


def test_no_other_kind_is_made() -> None:
    assert SAMPLES.keys() == {*MODES, *(f"EXIF orientation {i}, JPEG" for i in range(1, 9))}


def test_each_kind_has_the_property_of_its_name() -> None:
    assert opened("progressive JPEG").info.get("progressive")
    assert not opened("L JPEG").info.get("progressive")
    assert opened("P PNG with transparency").has_transparency_data
    assert opened("RGB PNG with a clear colour").has_transparency_data
    assert not opened("P PNG").has_transparency_data
    wide = np.asarray(opened("16-bit grey PNG"))
    assert wide.max() > 60_000
    for name in ("LA PNG", "RGBA PNG"):
        alpha = np.asarray(opened(name).getchannel("A"))
        assert (alpha.min(), alpha.max()) == (0, 255)
    assert opened("tall").size == (40, 400)
    assert opened("wide").size == (401, 37)
    assert opened("one pixel").size == (1, 1)


def test_every_turn_changes_the_picture() -> None:
    picture = opened("EXIF orientation 1, JPEG")
    turned = [picture, *(picture.transpose(turn) for turn in Image.Transpose)]
    assert len({(one.size, one.tobytes()) for one in turned}) == 8
