"""How often `rtl bench --compare` says the right thing of two measurements, on this machine.

    python -m benchmarks.verdicts                 20 pairs of each kind, about ten minutes
    python -m benchmarks.verdicts --pairs 5 --seconds 1

A file is measured again and again, each time by a new `rtl bench`, in turn with one that is about
10 % slower: the same network on images so much larger that each stage has a row and a column
more. The real ratio is measured call by call. Of neighbours of the same file the verdict should be
"cannot tell", of the slower file beside the measurement before it "slower". The exit status is 1
where fewer than 19 of 20 are right.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.networks import random_model
from toolchain import Predictor
from toolchain.benchmarking.comparison import comparable_benchmark, compared
from toolchain.benchmarking.result import Benchmark
from toolchain.machine import this_machine
from toolchain.runtime.selftest import generated_pixels

ARCHITECTURE = "resnet18"
SIZE = 320
LARGER = (321, 323, 325)
"""Sizes whose network is slower by about PLANTED; the nearest to it is taken."""
PLANTED = 1.10
LEAST_SHARE = 0.95
"""Verdicts that have to be right, of all."""
CALLS = 60
"""Of each file, in turn, to learn how much slower it is."""


def planted_ratio(first: Path, other: Path) -> float:
    """Return how many times as long a call of the other file takes, median of calls in turn."""
    ratios = []
    with Predictor(first, cache=False) as one, Predictor(other, cache=False) as two:
        images = [generated_pixels(p.card.preprocessing.size)[:1] for p in (one, two)]
        for number in range(CALLS + 1):
            seconds = []
            for predictor, pixels in zip((one, two), images, strict=True):
                started = time.perf_counter()
                predictor.run(pixels)
                seconds.append(time.perf_counter() - started)
            if number:  # the first call allocates
                ratios.append(seconds[1] / seconds[0])
    return statistics.median(ratios)


def measured(model: Path, seconds: float) -> Benchmark:
    """Measure a file by a new `rtl bench`, and return what it wrote beside the file."""
    output = model.with_suffix(".json")
    words = [sys.executable, "-m", "toolchain", "bench", str(model), "--batch-size", "1"]
    words += ["--seconds", str(seconds), "--no-eager", "--quiet", "-o", str(output)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return comparable_benchmark(output)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the pairs, print how often each was told right, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args(arguments)
    print(this_machine(), flush=True)
    right: dict[str, list[bool]] = {"cannot tell": [], "slower": []}
    said: dict[str, Counter[str]] = {wanted: Counter() for wanted in right}
    with tempfile.TemporaryDirectory(prefix="rtl-verdicts-") as name:
        folder = Path(name)
        # Cases are compared by the names of their files, so that each has a folder of its own.
        for size in (SIZE, *LARGER):
            (folder / str(size)).mkdir()
        model, *larger = (
            random_model(ARCHITECTURE, folder / str(size) / "model.onnx", size)
            for size in (SIZE, *LARGER)
        )
        planted = {path: planted_ratio(model, path) for path in larger}
        slower = min(planted, key=lambda path: abs(math.log(planted[path] / PLANTED)))
        print(
            f"planted: {slower.parent.name} pixels, {planted[slower]:.3f} times as slow", flush=True
        )
        before = measured(model, options.seconds)
        for number in range(options.pairs):
            found = {
                "slower": measured(slower, options.seconds),
                "cannot tell": measured(model, options.seconds),
            }
            for wanted, now in found.items():
                [case] = compared(before, now, "the measurement before").cases
                right[wanted].append(case.verdict == wanted)
                said[wanted][case.verdict] += 1
                print(
                    f"{number + 1:3d} {wanted:12s} said {case.verdict:12s} "
                    f"ratio {case.ratio:.3f} {now.verdict}",
                    flush=True,
                )
            before = found["cannot tell"]
    for wanted, each in right.items():
        counts = ", ".join(f"{count} {word}" for word, count in said[wanted].most_common())
        print(f"{wanted}: {sum(each)} of {len(each)} right ({counts}), bar {LEAST_SHARE:.0%}")
    return 0 if all(sum(each) >= LEAST_SHARE * len(each) for each in right.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
