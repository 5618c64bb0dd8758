"""Large photographs from their bytes to pixels, beside plain Pillow calls.

    pytest benchmarks/test_large_photos.py -s --benchmark-only

All ways are measured in turn, round by round; each ratio is the median over the rounds. The plain
way is that of torchvision's loader and transforms: open, convert, resize, crop.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from tests.conftest import SHARED
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import centre_box, preprocess, resized_size

WHOLE, SCALED = 1.15, 3.5
"""Bars: at least this many times as fast as the plain way: all pixels decoded, `decode_scale` 1."""
ROUNDS = 7
PHOTOS = sorted((SHARED / "data" / "photos").glob("*.jpg"))
TWELVE_MEGAPIXELS = ("camera_olympus_ep3_12mp", "phone_iphone7_12mp")
"""The photographs that the bars apply to."""

Pixels = NDArray[np.uint8]


def plain(path: Path) -> Pixels:
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    size = resized_size(*image.size, 256)
    resized = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(resized.crop(centre_box(*size, 224)))


def rtl(decode_scale: int) -> Callable[[Path], Pixels]:
    preprocessing = Preprocessing(decode_scale=decode_scale)
    return lambda path: preprocess(read_image(path, preprocessing), preprocessing)


WAYS = {"plain": plain, "whole": rtl(0), "4": rtl(4), "2": rtl(2), "1": rtl(1)}


def in_turn(path: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            started = time.perf_counter()
            way(path)
            found[name].append(time.perf_counter() - started)
    return found


@pytest.mark.parametrize("path", PHOTOS, ids=[path.stem for path in PHOTOS])
def test_a_large_photograph(benchmark: BenchmarkFixture, path: Path) -> None:
    expected = plain(path).astype(int)
    off = {name: np.abs(way(path).astype(int) - expected) for name, way in WAYS.items()}
    found = benchmark.pedantic(in_turn, args=(path,), rounds=1, warmup_rounds=1)
    ratio = {
        name: statistics.median(a / b for a, b in zip(found["plain"], times, strict=True))
        for name, times in found.items()
    }
    cells = [f"{1000 * statistics.median(found['plain']):.0f} ms"]
    cells += [f"{ratio[name]:.2f} (off by {off[name].mean():.2f})" for name in list(WAYS)[1:]]
    print(f"\n| {path.stem} | {' | '.join(cells)} |")
    assert off["whole"].max() == 0
    if path.stem in TWELVE_MEGAPIXELS:
        assert ratio["whole"] >= WHOLE
        assert ratio["1"] >= SCALED
