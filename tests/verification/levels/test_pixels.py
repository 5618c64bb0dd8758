"""Level "pixels": differences are counted, and the stage at which they begin is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.verification.levels.test_torchvision_pixels import CROP, photo
from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image import decode, preprocess
from toolchain.verification.levels.pixels import compare_pixels, differing_stage


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


def refuse(*_: Any) -> Any:
    raise ImageError("some.jpg: no known image format")


@pytest.mark.parametrize(
    ("place", "name", "wrong", "stage"),
    [
        (decode, "_identify", refuse, "decode: some.jpg: no known image format"),
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
    ("own", "stage"),
    [
        (Preprocessing(mode="squash", size=64), "resize"),
        (Preprocessing(size=64, resize_size=80), "resize"),
        (Preprocessing(size=64, resize_size=73, decode_scale=1), "decode"),
    ],
)
def test_another_preprocessing_of_the_file_is_the_stage_that_differs(
    own: Preprocessing, stage: str
) -> None:
    assert differing_stage(photo(width=640, height=480), CROP, own) == stage
