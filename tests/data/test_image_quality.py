"""Dark, light, uniform and blurred images are found, and sharp ones are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from toolchain.data.image_quality import quality_of


def scene(seed: int = 0, side: int = 300) -> Image.Image:
    """Return a picture with large shapes and fine detail."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((side + 80, side), Image.Resampling.NEAREST), np.float32)
    noisy = pixels * 0.7 + rng.normal(30, 12, pixels.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def kinds(image: Image.Image) -> set[str]:
    return {what for what, _ in quality_of(image)}


@pytest.mark.parametrize("side", [40, 100, 300, 900])
def test_a_sharp_picture_has_no_finding(side: int) -> None:
    assert kinds(scene(side=side)) == set()


@pytest.mark.parametrize("radius", [4, 6, 10])
def test_a_blurred_picture_is_found_whatever_its_contrast(radius: int) -> None:
    blurred = scene(side=256).filter(ImageFilter.GaussianBlur(radius))
    assert kinds(blurred) == {"blurred"}
    assert kinds(blurred.point(lambda level: 100 + level // 5)) == {"blurred"}


def test_dark_and_light_pictures_are_found() -> None:
    assert "too dark" in kinds(scene().point(lambda level: level // 6))
    assert "too light" in kinds(scene().point(lambda level: 235 + level // 15))
    assert kinds(scene().point(lambda level: level // 2)) == set()


def test_a_picture_of_one_colour_is_near_uniform_and_not_called_blurred() -> None:
    assert kinds(Image.new("RGB", (80, 80), (120, 40, 40))) == {"near-uniform"}
    halves = Image.new("RGB", (80, 80), (255, 0, 0))
    halves.paste((0, 130, 0), (0, 0, 40, 80))  # of one brightness, not of one colour
    assert "near-uniform" not in kinds(halves)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (3, 2000), (5000, 1), (19, 19), (256, 20)])
def test_any_size_is_measured(size: tuple[int, int]) -> None:
    quality_of(Image.new("RGB", size, (90, 90, 90)))


def test_of_the_photographs_hardly_one_has_a_finding(shared: Path) -> None:
    files = sorted((shared / "data/hymenoptera/val").rglob("*.jpg"))[::6]
    found = {file.name for file in files if quality_of(Image.open(file).convert("RGB"))}
    assert found == set()
