"""Our pixels are torchvision's, from the same bytes; where they are not, the stage is named."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image import decode, preprocess
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess as to_pixels
from toolchain.verification.levels.image_formats import ORIENTATION, odd_kinds
from toolchain.verification.levels.pixels import (
    TURNS,
    compare_pixels,
    differing_stage,
    reference_stages,
)

SHAPES = [
    Preprocessing(size=64, resize_size=73),
    Preprocessing(mode="squash", size=64),
    Preprocessing(size=64, resize_size=73, decode_scale=2, background=(9, 99, 199)),
]
CROP = SHAPES[0]


def photo(width: int = 131, height: int = 90, orientation: int = 1) -> bytes:
    """Return a noisy JPEG without symmetry."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize("shape", SHAPES, ids=["crop", "squash", "scaled"])
def test_every_odd_file_that_decodes_has_torchvisions_pixels(
    shared: Path, shape: Preprocessing
) -> None:
    files = [path for path in sorted((shared / "data/odd_images").rglob("*")) if path.is_file()]
    equal, refused = 0, 0
    for path in files:
        try:
            ours = to_pixels(read_image(path, shape), shape)
        except ImageError:
            refused += 1
            continue
        theirs = reference_stages(path.read_bytes(), shape).cropped
        assert np.array_equal(ours, theirs), path.name
        equal += 1
    assert equal > 75
    assert 0 < refused < 25


@pytest.mark.parametrize("shape", SHAPES, ids=["crop", "squash", "scaled"])
def test_every_odd_kind_has_torchvisions_pixels(shape: Preprocessing) -> None:
    for name, data in odd_kinds():
        ours = to_pixels(read_image(data, shape), shape)
        assert np.array_equal(ours, reference_stages(data, shape).cropped), name


def test_the_stages_are_the_image_on_its_way() -> None:
    stages = reference_stages(photo(orientation=6), CROP)
    assert stages.decoded.size == (131, 90)
    assert stages.upright.size == (90, 131)
    assert stages.resized.size == (73, 106)
    assert stages.cropped.shape == (64, 64, 3)
    crop = np.asarray(stages.resized)[21:85, 4:68]
    np.testing.assert_array_equal(stages.cropped, crop)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_undo_the_orientations_of_exif(orientation: int) -> None:
    # EXIF says on which sides of the upright picture the first row and the first column lie.
    rows, columns = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    stored = np.zeros((16, 16), np.uint8)
    stored[0], stored[:, 0] = 100, 200
    picture = Image.fromarray(stored)
    turned = picture.transpose(TURNS[orientation]) if orientation in TURNS else picture
    seen = np.asarray(turned)
    inner = slice(4, 12)
    sides = {
        "top": seen[0, inner],
        "bottom": seen[-1, inner],
        "left": seen[inner, 0],
        "right": seen[inner, -1],
    }
    assert (sides[rows] == 100).all()
    assert (sides[columns] == 200).all()


def test_differences_are_counted_in_levels() -> None:
    reference = np.full((3, 2, 2, 3), 100, np.uint8)
    candidate = reference.copy()
    candidate[1, 0, 0, 0], candidate[2, 0, 0, :2] = 97, (255, 101)
    found = compare_pixels(["a", "b", "c"], reference, candidate)
    assert (found.images, found.different, found.first) == (3, 2, "b")
    assert found.max_levels == 155
    assert found.mean_levels == pytest.approx((3 + 155 + 1) / 36)
    assert found.share_of_values == pytest.approx(3 / 36)


def test_equal_pixels_differ_nowhere() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    found = compare_pixels(["a", "b"], pixels, pixels)
    assert (found.different, found.max_levels, found.first) == (0, 0, None)


def sideways(*_: Any) -> Any:
    raise ImageError("some.jpg: no known image format")


@pytest.mark.parametrize(
    ("place", "name", "wrong", "stage"),
    [
        (decode, "_identify", sideways, "decode: some.jpg: no known image format"),
        (decode, "_to_rgb", lambda picture, *_: picture.convert("L").convert("RGB"), "decode"),
        (
            decode,
            "_oriented",
            lambda picture: picture,
            "upright: the EXIF orientation is not applied",
        ),
        (preprocess, "resized_size", lambda w, h, side: (round(side * w / h), side), "resize"),
        (
            preprocess,
            "centre_box",
            lambda w, h, side: (0, 0, side, side),
            "crop: the square is cut from another place",
        ),
    ],
)
def test_the_stage_that_differs_is_named(
    monkeypatch: pytest.MonkeyPatch, place: Any, name: str, wrong: Any, stage: str
) -> None:
    data = photo(height=133, width=90, orientation=8)
    monkeypatch.setattr(place, name, wrong)
    assert differing_stage(data, CROP) == stage


@pytest.mark.parametrize(
    ("ours", "stage"),
    [
        (Preprocessing(mode="squash", size=64), "resize"),
        (Preprocessing(size=64, resize_size=80), "resize"),
        (Preprocessing(size=64, resize_size=73, decode_scale=1), "decode"),
    ],
)
def test_what_our_side_was_told_may_be_what_differs(ours: Preprocessing, stage: str) -> None:
    assert differing_stage(photo(width=640, height=480), CROP, ours) == stage
