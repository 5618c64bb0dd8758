"""torchvision's pixels, the reference: they are the predictor's, from the same bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess
from toolchain.verification.levels.image_formats import image_format_samples
from toolchain.verification.levels.torchvision_pixels import ORIENTATION, TURNS, reference_stages

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
def test_every_file_that_the_predictor_reads_has_its_pixels(
    shared: Path, shape: Preprocessing
) -> None:
    files = [path for path in sorted((shared / "data/odd_images").rglob("*")) if path.is_file()]
    equal, refused = 0, 0
    for path in files:
        try:
            ours = preprocess(read_image(path, shape), shape)
        except ImageError:
            refused += 1
            continue
        reference = reference_stages(path.read_bytes(), shape).cropped
        assert np.array_equal(ours, reference), path.name
        equal += 1
    assert equal > 75
    assert 0 < refused < 25


@pytest.mark.parametrize("shape", SHAPES, ids=["crop", "squash", "scaled"])
def test_every_image_format_has_the_predictors_pixels(shape: Preprocessing) -> None:
    for name, data in image_format_samples():
        ours = preprocess(read_image(data, shape), shape)
        assert np.array_equal(ours, reference_stages(data, shape).cropped), name


def test_each_stage_is_made_from_the_one_before() -> None:
    stages = reference_stages(photo(orientation=6), CROP)
    assert stages.decoded.size == (131, 90)
    assert stages.oriented.size == (90, 131)
    assert stages.resized.size == (73, 106)
    assert stages.cropped.shape == (64, 64, 3)
    crop = np.asarray(stages.resized)[21:85, 4:68]
    np.testing.assert_array_equal(stages.cropped, crop)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_undo_the_orientations_of_exif(orientation: int) -> None:
    # EXIF says on which sides of the oriented picture the first row and the first column are.
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
    found = np.asarray(turned)
    inner = slice(4, 12)
    sides = {
        "top": found[0, inner],
        "bottom": found[-1, inner],
        "left": found[inner, 0],
        "right": found[inner, -1],
    }
    assert (sides[rows] == 100).all()
    assert (sides[columns] == 200).all()
