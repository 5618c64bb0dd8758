"""What the predictor costs beyond the session.run that it wraps, measured in turn in one process.

Throughput is measured with a ResNet-18. The cost of `predictor.run` in seconds is measured with a
network that computes almost nothing, where drift of the machine does not hide it; the bar is for
the throughput that follows from it. `predictor(array)` also resizes and crops.

    pytest benchmarks/test_overhead.py -s --benchmark-only
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.networks import random_model
from tests.runtime.tiny import tiny_model, write
from toolchain import Predictor
from toolchain.runtime.card import OUTPUT_NAMES

LEAST_THROUGHPUT = 0.98
"""Throughput of `predictor.run`, as a share of that of `session.run`."""
ROUNDS = 40

Way = Callable[[], object]


def in_turn(ways: dict[str, Way], calls: int) -> dict[str, list[float]]:
    """Return the seconds of a call of each way, round by round; a first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            for _ in range(calls):
                way()
            if number:
                seconds[name].append((time.perf_counter() - started) / calls)
    return seconds


def ways_of(predictor: Predictor) -> dict[str, Way]:
    """Return the bare call and what wraps it, for one image of the network's input size."""
    side = predictor.card.preprocessing.size
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    pixels = image[None]
    session = predictor.session
    return {
        "session.run": lambda: session.run(OUTPUT_NAMES, {"pixels": pixels}),
        "predictor.run": lambda: predictor.run(pixels),
        "predictor(array)": lambda: predictor(image),
    }


def test_predictor_beside_the_session_it_wraps(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    model = random_model("resnet18", tmp_path / "model.onnx")
    with (
        Predictor(model, threads=1) as predictor,
        Predictor(write(tiny_model(), tmp_path / "tiny.onnx"), threads=1) as tiny,
    ):
        found = benchmark.pedantic(in_turn, args=(ways_of(predictor), 3), rounds=1)
        little = in_turn(ways_of(tiny), 100)
    bare = found["session.run"]
    cost = min(little["predictor.run"]) - min(little["session.run"])
    benchmark.extra_info["cost_us"] = cost * 1e6
    print()
    for name in ("predictor.run", "predictor(array)"):
        ratio = statistics.median(a / b for a, b in zip(bare, found[name], strict=True))
        benchmark.extra_info[name] = ratio
        print(f"{name}: {ratio:.3f} times the throughput of session.run")
    share = min(bare) / (min(bare) + cost)
    print(
        f"predictor.run costs {cost * 1e6:.1f} µs, so {share:.5f} times the throughput where "
        f"nothing else runs; bar {LEAST_THROUGHPUT}"
    )
    assert share >= LEAST_THROUGHPUT
