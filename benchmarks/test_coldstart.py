"""A first label in a new process: time relative to bare imports, memory to a plain session.

Whole processes are run in turn, round by round; each ratio is the median over the rounds.

    pytest benchmarks/test_coldstart.py -s --benchmark-only
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.networks import random_model
from toolchain.demo.parts import CLASSES, draw_part

MOST_TIME, MOST_MEMORY = 1.5, 0.6
"""Bars for the predictor with its cache: time over bare imports, memory over a plain session."""
ROUNDS = 15
PEAK = """
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
IMPORTS = "import numpy, PIL.Image, onnxruntime"
SESSION = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
session.run(None, {"pixels": numpy.zeros((1, 224, 224, 3), numpy.uint8)})
"""
LABEL = """
import sys
from toolchain import Predictor
Predictor(sys.argv[1], cache={})(sys.argv[2]).label
"""
PROCESSES = {
    "bare imports": IMPORTS,
    "plain session": SESSION,
    "predictor": LABEL.format(True),
    "predictor without cache": LABEL.format(False),
}


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A model file that was not just written, and an image."""
    # As for a user: the cache's default folder, which has to be looked up.
    monkeypatch.delenv("RTL_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # As when installed: modules are compiled once, but not into the source tree.
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "compiled"))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    return model_and_image(tmp_path)


def model_and_image(folder: Path) -> list[str]:
    """Write both to a folder and wait until the model's digest may be cached."""
    model = random_model("resnet18", folder / "model.onnx")
    image = folder / "part.jpg"
    draw_part(CLASSES[0], 1).resize((640, 480)).save(image)
    time.sleep(2.5)  # the digest of a file that was just written is not cached
    return [str(model), str(image)]


def once(code: str, arguments: list[str]) -> tuple[float, int]:
    """Run a process and return (seconds, peak memory in kB)."""
    command = [sys.executable, "-c", code + PEAK, *arguments]
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return time.perf_counter() - started, int(done.stdout.split()[-1])


def in_turn(arguments: list[str]) -> dict[str, list[tuple[float, int]]]:
    """Return (seconds, peak memory in kB) of each process, round by round."""
    for code in PROCESSES.values():
        once(code, arguments)  # compiles the modules and fills the cache
    rounds = [{n: once(code, arguments) for n, code in PROCESSES.items()} for _ in range(ROUNDS)]
    return {name: [found[name] for found in rounds] for name in PROCESSES}


def test_first_label_of_a_new_process(benchmark: BenchmarkFixture, arguments: list[str]) -> None:
    found = benchmark.pedantic(in_turn, args=(arguments,), rounds=1)
    ratios: dict[str, tuple[float, float]] = {}
    print()
    for name, rounds in found.items():
        seconds = [a / b for (a, _), (b, _) in zip(rounds, found["bare imports"], strict=True)]
        memory = [a / b for (_, a), (_, b) in zip(rounds, found["plain session"], strict=True)]
        time_ratio, memory_ratio = statistics.median(seconds), statistics.median(memory)
        ratios[name] = time_ratio, memory_ratio
        benchmark.extra_info[name] = {"time": time_ratio, "memory": memory_ratio}
        milliseconds = statistics.median(second for second, _ in rounds) * 1e3
        megabytes = statistics.median(peak for _, peak in rounds) * 1024 / 1e6
        print(
            f"{name}: {milliseconds:.0f} ms, {time_ratio:.2f} times the bare imports; "
            f"{megabytes:.0f} MB, {memory_ratio:.2f} times a plain session"
        )
    print(f"bars for the predictor: {MOST_TIME} and {MOST_MEMORY}")
    time_ratio, memory_ratio = ratios["predictor"]
    assert time_ratio <= MOST_TIME
    assert memory_ratio <= MOST_MEMORY
