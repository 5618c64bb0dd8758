"""How often `rtl bench --compare` says the right thing of two measurements, on this machine.

    python -m benchmarks.verdicts                 20 pairs of each kind, about ten minutes
    python -m benchmarks.verdicts --one-command   each pair in one command: --compare MODEL
    python -m benchmarks.verdicts --pairs 5 --seconds 1

A file is measured again and again, each time by a new `rtl bench`, in turn with one that is about
10 % slower: the same network on images so much larger that each stage has a row and a column
more. The real ratio is measured call by call. Of neighbours of the same file the verdict should be
"cannot tell", of the slower file beside the measurement before it "slower". With `--one-command`
a copy of the file and the slower one are each measured beside the file, in turn with it. The exit
status is 1 where fewer than 19 of 20 are right.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.networks import random_model
from toolchain import Predictor
from toolchain.benchmarking.comparison import comparable_benchmark, compared
from toolchain.benchmarking.comparison_result import ComparedCase
from toolchain.benchmarking.comparison_result import Verdict as Wanted
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


def in_two_commands(
    model: Path, slower: Path, pairs: int, seconds: float
) -> Iterator[tuple[Wanted, ComparedCase, str]]:
    """Measure each file by a new command, in turn; compare with the measurement before.

    Yields what the verdict should be, the case, and whether the measurement was VALID.
    """
    before = _measured(model, seconds)
    for _ in range(pairs):
        late = _measured(slower, seconds)
        again = _measured(model, seconds)
        found: tuple[tuple[Wanted, Benchmark], ...] = (("slower", late), ("cannot tell", again))
        for wanted, now in found:
            [case] = compared(before, now, "the measurement before").cases
            yield wanted, case, now.verdict
        before = again


def in_one_command(
    model: Path, slower: Path, pairs: int, seconds: float
) -> Iterator[tuple[Wanted, ComparedCase, str]]:
    """Compare the slower file, and a copy of the file, with the file in one command each."""
    (model.parent / "copy").mkdir()
    copy = Path(shutil.copy(model, model.parent / "copy"))
    others: tuple[tuple[Wanted, Path], ...] = (("slower", slower), ("cannot tell", copy))
    for _ in range(pairs):
        for wanted, other in others:
            # Calls in turn are measured once, whatever the verdict on each file alone.
            now = _measured(other, seconds, "--compare", str(model), "--retries", "0")
            assert now.comparison is not None
            yield wanted, now.comparison.cases[0], now.verdict


def _measured(model: Path, seconds: float, *more: str) -> Benchmark:
    """Measure a file by a new `rtl bench`, and return what it wrote beside the file."""
    output = model.with_suffix(".json")
    words = [sys.executable, "-m", "toolchain", "bench", str(model), "--batch-size", "1"]
    words += ["--seconds", str(seconds), "--no-eager", "--quiet", "-o", str(output), *more]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return comparable_benchmark(output)


def models(folder: Path) -> tuple[Path, Path]:
    """Write a model and one that is about PLANTED times as slow; print how much, and return both.

    Cases are compared by the names of their files, so that each has a folder of its own.
    """
    for size in (SIZE, *LARGER):
        (folder / str(size)).mkdir()
    model, *larger = (
        random_model(ARCHITECTURE, folder / str(size) / "model.onnx", size)
        for size in (SIZE, *LARGER)
    )
    planted = {path: planted_ratio(model, path) for path in larger}
    slower = min(planted, key=lambda path: abs(math.log(planted[path] / PLANTED)))
    print(f"planted: {slower.parent.name} pixels, {planted[slower]:.3f} times as slow", flush=True)
    return model, slower


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the pairs, print how often each was told right, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--one-command", action="store_true")
    options = parser.parse_args(arguments)
    print(this_machine(), flush=True)
    said: dict[Wanted, Counter[str]] = {"cannot tell": Counter(), "slower": Counter()}
    measure = in_one_command if options.one_command else in_two_commands
    with tempfile.TemporaryDirectory(prefix="rtl-verdicts-") as name:
        model, slower = models(Path(name))
        for wanted, case, verdict in measure(model, slower, options.pairs, options.seconds):
            said[wanted][case.verdict] += 1
            print(
                f"{said[wanted].total():3d} {wanted:12s} said {case.verdict:12s} "
                f"ratio {case.ratio:.3f} {verdict}",
                flush=True,
            )
    for wanted, counts in said.items():
        words = ", ".join(f"{count} {word}" for word, count in counts.most_common())
        print(f"{wanted}: {counts[wanted]} of {counts.total()} right ({words})")
    return 0 if all(c[wanted] >= LEAST_SHARE * c.total() for wanted, c in said.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
