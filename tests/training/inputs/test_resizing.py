"""Batches of smaller images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from toolchain.training.inputs.resizing import resized


def test_images_are_reduced_as_pillow_reduces_them() -> None:
    drawn = np.random.default_rng(0)
    pixels = torch.from_numpy(drawn.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8))
    small = resized(pixels, 40)
    assert small.shape == (3, 40, 40, 3)
    for image, found in zip(pixels, small, strict=True):
        wanted = Image.fromarray(image.numpy()).resize((40, 40), Image.Resampling.BILINEAR)
        # Pillow rounds after each of its two passes.
        assert np.abs(found.numpy() - np.asarray(wanted, np.float32)).max() <= 1.01


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_range_stays_that_of_pixels(dtype: torch.dtype) -> None:
    pixels = torch.zeros((1, 64, 64, 3), dtype=dtype)
    pixels[:, ::2] = 255
    small = resized(pixels, 32)
    assert small.dtype == torch.float32
    assert small.min() >= 0
    assert small.max() <= 255
    assert small.mean() == pytest.approx(127.5, abs=1)
