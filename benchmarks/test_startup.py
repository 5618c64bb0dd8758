"""What starting rtl costs, as ratios of two processes that were run in turn. There is no bar.

pytest benchmarks/test_startup.py -s --benchmark-only
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

BIN = Path(sys.executable).parent
ROUNDS = 15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "rtl --help": [str(BIN / "rtl"), "--help"],
    "rtl finetune --help": [str(BIN / "rtl"), "finetune", "--help"],
    "import numpy, PIL, onnxruntime": [sys.executable, "-c", "import numpy, PIL, onnxruntime"],
    "import toolchain predictor": [
        sys.executable,
        "-c",
        "import toolchain.runtime.predictor, onnxruntime",
    ],
}


def once(command: list[str]) -> None:
    """Run a process to its end."""
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_time_of_a_whole_process(benchmark: BenchmarkFixture, name: str) -> None:
    benchmark.group = "whole process"
    benchmark.pedantic(once, args=(COMMANDS[name],), rounds=ROUNDS, warmup_rounds=2)


def paired_ratio(name: str, plain: str) -> float:
    """Return the median ratio of pairs of processes that were timed one after the other."""

    def seconds(command: list[str]) -> float:
        started = time.perf_counter()
        once(command)
        return time.perf_counter() - started

    once(COMMANDS[name])
    once(COMMANDS[plain])
    return statistics.median(
        seconds(COMMANDS[name]) / seconds(COMMANDS[plain]) for _ in range(ROUNDS)
    )


def test_importing_the_predictor_costs_little_beyond_its_packages(
    benchmark: BenchmarkFixture,
) -> None:
    plain = "import numpy, PIL, onnxruntime"
    ratio = benchmark.pedantic(paired_ratio, args=("import toolchain predictor", plain), rounds=1)
    benchmark.extra_info["ratio"] = ratio
    print(f"\nimport toolchain predictor / {plain}: {ratio:.2f}")


def test_help_beside_an_empty_python(benchmark: BenchmarkFixture) -> None:
    ratio = benchmark.pedantic(paired_ratio, args=("rtl --help", "python -c pass"), rounds=1)
    benchmark.extra_info["ratio"] = ratio
    print(f"\nrtl --help / python -c pass: {ratio:.2f}")
