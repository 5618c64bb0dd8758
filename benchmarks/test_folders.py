"""Many images: `predict_many` beside a plain loop over the same files, in turn in one process.

    pytest benchmarks/test_folders.py -s --benchmark-only

The plain loop is `for image in images: predictor(image)`. Both use the same cores. Both have done
all images once before, so that `predict_many` has measured which session is faster.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.networks import random_model
from toolchain import Predictor

BAR = 1.15
"""Throughput of `predict_many` over that of the plain loop."""
PAIRS = 7
SIZES = {"500×375": (500, 375, 48), "4000×3000": (4000, 3000, 12)}
"""Name → width, height and number of images."""


def draw_photographs(folder: Path, width: int, height: int, count: int) -> list[Path]:
    """Write JPEGs that have about as many bytes per pixel as photographs."""
    paths = []
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 6, (height, width, 1))
        pixels = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=85)
    return paths


def seconds(work: Callable[[], list[str]]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratios(model: Path, images: list[Path]) -> tuple[list[float], str]:
    """Return the ratio of each pair, and the kind of session that `predict_many` chose."""
    with Predictor(model) as plain, Predictor(model) as many:

        def loop() -> list[str]:
            return [plain(image).label for image in images]

        def stream() -> list[str]:
            return [result.label for result in many.predict_many(images)]  # type: ignore[union-attr]

        list(many.predict_many(images * 4))
        assert loop() == stream()
        chosen = "one thread each" if many.single_threaded else "all threads each"
        return [seconds(loop) / seconds(stream) for _ in range(PAIRS)], chosen


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_folder_beside_the_plain_loop(
    benchmark: BenchmarkFixture, tmp_path: Path, arch: str, size: str
) -> None:
    model = random_model(arch, tmp_path / "model.onnx")
    images = draw_photographs(tmp_path, *SIZES[size])
    found, chosen = benchmark.pedantic(ratios, args=(model, images), rounds=1)
    ratio = statistics.median(found)
    benchmark.extra_info["ratio"] = ratio
    print(
        f"\n{arch}, {size}: predict_many {ratio:.2f} × as fast as the plain loop "
        f"({min(found):.2f} to {max(found):.2f}; {chosen}), bar {BAR}"
    )
    assert ratio >= BAR
