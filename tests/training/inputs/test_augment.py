"""Augmentation presets: sizes, seeds, and what they change in an image."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from toolchain.runs.settings_file import read_settings
from toolchain.training.inputs.augment import make_augmentation
from toolchain.training.inputs.seeds import seed_view

POLICIES = pytest.mark.parametrize("preset", ["randaugment", "trivialaugment"])


def three_thirds() -> Image.Image:
    """Return a wide noisy image: red on the left, green in the middle, blue on the right."""
    pixels = np.full((60, 180, 3), 20, np.uint8)
    strengths = np.random.default_rng(0).integers(200, 256, (60, 180), dtype=np.uint8)
    for third in range(3):
        columns = slice(60 * third, 60 * third + 60)
        pixels[:, columns, third] = strengths[:, columns]
    return Image.fromarray(pixels)


def views(preset: str, seeds: range, **given: Any) -> list[NDArray[np.uint8]]:
    augmentation = make_augmentation(read_settings(None, {"augment": preset, "size": 48, **given}))
    assert augmentation is not None
    made = []
    for seed in seeds:
        seed_view(seed, 1, 0)
        made.append(augmentation.apply(three_thirds()))
    return made


@POLICIES
def test_a_policy_gives_pixels_of_the_right_size(preset: str) -> None:
    for made in views(preset, range(10)):
        assert made.shape == (48, 48, 3)
        assert made.dtype == np.uint8


@POLICIES
def test_an_augmented_view_depends_on_its_seed_alone(preset: str) -> None:
    random.seed(1)
    np.random.seed(1)
    first = views(preset, range(10))
    random.seed(2)
    np.random.seed(2)
    again = views(preset, range(10))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({made.tobytes() for made in first}) == 10


@POLICIES
def test_the_random_crop_reaches_all_of_a_wide_image(preset: str) -> None:
    """The centre crop of this image is all green."""
    mostly = {int(made.mean((0, 1)).argmax()) for made in views(preset, range(30))}
    assert mostly == {0, 1, 2}


@POLICIES
def test_a_policy_does_more_than_crop_and_flip(preset: str) -> None:
    made = views(preset, range(20))
    black = [view for view in made if (view == 0).all(-1).any()]
    assert black, "no image was rotated, sheared or translated"
    # A pixel of the image has one strong channel, and 20 in the other two.
    recoloured = [view for view in made if not (np.sort(view)[..., :2] == 20).all(-1).any()]
    assert recoloured, "no colours were changed"


@POLICIES
def test_a_policy_fits_a_short_side_below_the_crop(preset: str) -> None:
    """--preprocessing squash has no use for resize_size, so any value of it is allowed."""
    made = views(preset, range(1), preprocessing="squash", resize_size=20)
    assert made[0].shape == (48, 48, 3)


def test_the_two_policies_are_not_the_same() -> None:
    first, second = views("randaugment", range(10)), views("trivialaugment", range(10))
    assert not all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
