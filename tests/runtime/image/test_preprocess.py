"""The preprocessing equals torchvision's, bit for bit, without torch."""

from __future__ import annotations

import doctest
import subprocess
import sys
import textwrap
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from toolchain.networks.torchvision_import import import_torchvision
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image import preprocess as module
from toolchain.runtime.image.preprocess import centre_box, preprocess, resized_size

transforms = import_torchvision().transforms

SIDES = st.integers(min_value=1, max_value=700)
SEEDS = st.integers(min_value=0, max_value=2**32 - 1)
# (resize_size, size): torchvision's default, the newer weights', unusual ones, and no crop.
CROPS = [(256, 224), (232, 224), (72, 64), (57, 32), (33, 33), (9, 4), (1, 1)]
SQUARES = [224, 64, 31, 1]
MAX_RESIZED_PIXELS = 6_000_000  # of the image before the crop; more would only take time

Theirs = Callable[[Image.Image], Image.Image]


def noise(width: int, height: int, seed: int) -> Image.Image:
    """Return an image whose neighbouring pixels differ, so that any shift is detected."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def torchvision_crop(api: str, resize_size: int, size: int) -> Theirs:
    """Return torchvision's Resize and CenterCrop, of transforms (v1) or transforms.v2."""
    their = transforms.v2 if api == "v2" else transforms
    crop: Theirs = their.Compose([their.Resize(resize_size), their.CenterCrop(size)])
    return crop


def assert_same(found: NDArray[np.uint8], expected: Image.Image) -> None:
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.asarray(expected))


@settings(max_examples=300, deadline=None)
@given(SIDES, SIDES, st.sampled_from(CROPS), st.sampled_from(["v1", "v2"]), SEEDS)
@example(1, 1, (256, 224), "v1", 0)
@example(2, 1, (256, 224), "v2", 0)
@example(255, 256, (256, 224), "v1", 0)
@example(700, 699, (232, 224), "v2", 0)
@example(3, 60, (256, 224), "v1", 0)
def test_crop_equals_torchvision_bit_for_bit(
    width: int, height: int, pair: tuple[int, int], api: str, seed: int
) -> None:
    resize_size, size = pair
    assume(resize_size**2 * max(width / height, height / width) <= MAX_RESIZED_PIXELS)
    image = noise(width, height, seed)
    found = preprocess(image, Preprocessing(mode="crop", size=size, resize_size=resize_size))
    assert_same(found, torchvision_crop(api, resize_size, size)(image))


@settings(max_examples=200, deadline=None)
@given(SIDES, SIDES, st.sampled_from(SQUARES), st.sampled_from(["v1", "v2"]), SEEDS)
@example(1, 700, 224, "v1", 0)
@example(700, 1, 31, "v2", 0)
def test_squash_equals_torchvision_bit_for_bit(
    width: int, height: int, size: int, api: str, seed: int
) -> None:
    image = noise(width, height, seed)
    their = transforms.v2 if api == "v2" else transforms
    found = preprocess(image, Preprocessing(mode="squash", size=size))
    assert_same(found, their.Resize((size, size))(image))


@settings(max_examples=500, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 600))
def test_resized_size_is_the_one_torchvision_resizes_to(width: int, height: int, side: int) -> None:
    from torchvision.transforms.functional import _compute_resized_output_size

    expected = _compute_resized_output_size((height, width), [side])
    assert list(resized_size(width, height, side)) == expected[::-1]


@pytest.mark.parametrize(
    ("side", "offset"), [(225, 0), (226, 1), (227, 2), (229, 2), (231, 4), (224, 0)]
)
def test_crop_offsets_are_rounded_half_to_even(side: int, offset: int) -> None:
    assert centre_box(side, side, 224) == (offset, offset, offset + 224, offset + 224)


def test_squash_ignores_the_resize_size() -> None:
    image = noise(90, 40, 1)
    small, large = (Preprocessing(mode="squash", size=32, resize_size=r) for r in (8, 256))
    np.testing.assert_array_equal(preprocess(image, small), preprocess(image, large))


@pytest.mark.parametrize(("width", "height"), [(5000, 1), (1, 5000)])
def test_strip_of_5000_pixels_differs_by_one_at_most(width: int, height: int) -> None:
    strip = noise(width, height, 5)
    # The crop covers less than one source pixel: torchvision computes the same from the 20 pixels
    # around it, at the same phase, without its 1.3 GB.
    middle = (2490, 0, 2510, 1) if width > height else (0, 2490, 1, 2510)
    expected = np.asarray(torchvision_crop("v1", 256, 224)(strip.crop(middle)), dtype=int)
    found = preprocess(strip, Preprocessing()).astype(int)
    assert found.shape == (224, 224, 3)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("side", [(40, 500), (500, 40), (301, 299)])
def test_resizing_only_the_crop_differs_by_one_at_most(
    side: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = noise(*side, seed=9)
    whole = preprocess(image, Preprocessing()).astype(int)
    monkeypatch.setattr(module, "MAX_PIXELS", 0)
    inside = preprocess(image, Preprocessing()).astype(int)
    assert np.abs(whole - inside).max() <= 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and RLIMIT_AS")
def test_strip_of_5000_pixels_needs_little_memory() -> None:
    script = """
        import resource
        from pathlib import Path
        from PIL import Image
        from toolchain.runtime.card import Preprocessing
        from toolchain.runtime.image.preprocess import preprocess
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + 200_000_000, in_use + 200_000_000))
        print(preprocess(Image.new("RGB", (5000, 1)), Preprocessing()).shape)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(224, 224, 3)", done.stderr


def test_examples_in_the_docstrings_hold() -> None:
    failed, attempted = doctest.testmod(module)
    assert attempted >= 2
    assert failed == 0
