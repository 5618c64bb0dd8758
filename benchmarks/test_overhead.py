"""What the predictor costs beside the bare session.run that it wraps, in one process, in turn.

The throughput with a ResNet-18, and for `predictor.run` the cost itself, taken from a network of
almost no work, where it does not drown in the drift of the machine. `predictor(array)` resizes and
crops besides.

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

LEAST = 0.98
ROUNDS = 40

Way = Callable[[], object]


def in_turn(ways: dict[str, Way], calls: int) -> dict[str, list[float]]:
    """Return the seconds of a call of each way, round by round, after a round that does not count."""
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
    """The bare call, and what wraps it, on one image that has the network's size."""
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
    print(
        f"predictor.run costs {cost * 1e6:.1f} µs, so {min(bare) / (min(bare) + cost):.5f} times "
        f"the throughput where nothing else runs; bar {LEAST}"
    )
