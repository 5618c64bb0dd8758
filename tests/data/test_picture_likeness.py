"""How alike small grey pictures are, in the best position of one over the other."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from toolchain.data.image_hashes import SIDE
from toolchain.data.picture_likeness import (
    ALIKE,
    best_likeness,
    box_blurred,
    cropped,
    likeness,
    structures,
)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Small pictures of smooth noise."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (12, 9, 9), dtype=np.uint8)
    shown = [Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for grey in noise]
    return np.array(shown)


def test_crop_and_blur_are_those_of_pillow(pictures: np.ndarray) -> None:
    edges = np.random.default_rng(1).uniform(0, 0.06, (len(pictures), 4))
    boxes = edges * SIDE
    by_pillow = [
        Image.fromarray(grey).resize(
            (SIDE, SIDE), Image.Resampling.BILINEAR, box=(left, top, SIDE - right, SIDE - bottom)
        )
        for grey, (left, top, right, bottom) in zip(pictures, boxes, strict=True)
    ]
    off = np.abs(cropped(pictures, edges) - np.array(by_pillow, np.float32))
    assert off.max() <= 1
    assert (off > 0).mean() < 0.001
    blurred = [Image.fromarray(grey).filter(ImageFilter.BoxBlur(2)) for grey in pictures]
    np.testing.assert_array_equal(box_blurred(pictures.astype(np.float32)), np.array(blurred))


def test_a_picture_is_most_like_itself(pictures: np.ndarray) -> None:
    pairs = np.array([[0, 0], [0, 1], [2, 2]])
    for found in (likeness(pictures, pairs), best_likeness(pictures, pairs)):
        assert found[[0, 2]] == pytest.approx(1.0, abs=1e-4)
        assert found[1] < ALIKE


def test_a_crop_is_found_at_whichever_edge_and_in_either_order(pictures: np.ndarray) -> None:
    wide = np.array(Image.fromarray(pictures[3]).resize((320, 320), Image.Resampling.BICUBIC))
    for box in ((0, 0, 304, 320), (16, 0, 320, 304), (0, 18, 308, 320)):
        part = Image.fromarray(wide).crop(box).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        both = np.array([pictures[3], np.array(part), pictures[4]])
        pairs = np.array([[0, 1], [1, 0], [1, 2]])
        assert (best_likeness(both, pairs) >= ALIKE).tolist() == [True, True, False]


def test_no_pairs_and_flat_pictures_have_an_answer(pictures: np.ndarray) -> None:
    none = np.empty((0, 2), np.int64)
    assert likeness(pictures, none).shape == best_likeness(pictures, none).shape == (0,)
    flat = np.full((1, SIDE, SIDE), 90, np.uint8)
    assert not structures(flat, np.zeros((1, 4))).any()
