"""The synthetic cameras: each changes a photograph, and the same way for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from toolchain.adaptation.cameras import CAMERAS, photographed


@pytest.fixture(scope="module")
def image() -> Image.Image:
    y, x = np.mgrid[:90, :120]
    wave = np.stack([127 + 100 * np.sin(x / 5), 60 + x, 200 - y], axis=2)
    return Image.fromarray(wave.astype(np.uint8))


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_camera_keeps_the_size_and_is_repeatable(camera: str, image: Image.Image) -> None:
    seen = photographed(image, camera, seed=3)
    assert (seen.size, seen.mode) == (image.size, "RGB")
    assert np.array_equal(seen, photographed(image, camera, seed=3))
    assert not np.array_equal(seen, image)


def test_another_seed_is_other_noise(image: Image.Image) -> None:
    noises = [np.asarray(photographed(image, "noise", seed), np.float64) for seed in (0, 1)]
    assert np.abs(noises[0] - noises[1]).mean() > 10


def test_each_camera_does_what_it_is_called(image: Image.Image) -> None:
    seen = {name: np.asarray(photographed(image, name), np.float64) for name in CAMERAS}
    plain = np.asarray(image, np.float64)
    assert seen["dark"].mean() < plain.mean() / 2
    assert np.ptp(seen["grey"], axis=2).max() == 0
    red, _, blue = (seen["warm"] - plain).mean(axis=(0, 1))
    assert red > 0 > blue
    for name in ("blur", "low-resolution"):
        assert np.abs(np.diff(seen[name], axis=1)).mean() < np.abs(np.diff(plain, axis=1)).mean()
