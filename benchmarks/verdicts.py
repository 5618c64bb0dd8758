"""How often `rtl bench --compare` says the right thing of two measurements, on this machine.

    python -m benchmarks.verdicts                 20 pairs of each kind, about six minutes
    python -m benchmarks.verdicts --pairs 5 --seconds 1

A file is measured again and again, each time by a new `rtl bench`, in turn with one that is about
10 % slower: the same network on images so much larger that each stage has a row and a column
more. The real ratio is measured call by call. Of neighbours of the same file the verdict should be
"cannot tell", of the slower file beside the measurement before it "slower". The exit status is 1
where fewer than 19 of 20 are right.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.networks import card_of
from toolchain import Predictor
from toolchain.benchmarking.comparison import comparable_benchmark, compared
from toolchain.demo.parts import CLASSES
from toolchain.exporters.writers.onnx import build_onnx, finish
from toolchain.machine import this_machine
from toolchain.networks.resnet import (
    IMAGENET_NORMALISATION,
    Classifier,
    InferenceModel,
    build_network,
)
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


def write_model(size: int, folder: Path) -> Path:
    """Write a network with random weights for images of this size, and return its path."""
    folder.mkdir()
    network = build_network(ARCHITECTURE, len(CLASSES)).eval()
    inference_model = InferenceModel(Classifier(network, IMAGENET_NORMALISATION), 1.0).eval()
    card = card_of(ARCHITECTURE)
    preprocessing = msgspec.structs.replace(card.preprocessing, size=size, resize_size=size + 32)
    card = msgspec.structs.replace(card, preprocessing=preprocessing)
    path = folder / "model.onnx"
    finish(build_onnx(inference_model, card), card, path)
    return path


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


def measured(model: Path, seconds: float, output: Path) -> Path:
    """Measure a file by a new `rtl bench`, and return the path of its JSON."""
    words = [sys.executable, "-m", "toolchain", "bench", str(model), "--batch-size", "1"]
    words += ["--seconds", str(seconds), "--no-eager", "--quiet", "-o", str(output)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return output


def verdict(before: Path, now: Path) -> tuple[str, float]:
    """Return (what is said of the second measurement beside the first, their ratio)."""
    found = compared(comparable_benchmark(before), comparable_benchmark(now), str(before))
    [case] = found.cases
    return case.verdict, case.ratio


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
        model = write_model(SIZE, folder / str(SIZE))
        larger = [write_model(size, folder / str(size)) for size in LARGER]
        planted = {path: planted_ratio(model, path) for path in larger}
        slower = min(planted, key=lambda path: abs(math.log(planted[path] / PLANTED)))
        print(
            f"planted: {slower.parent.name} pixels, {planted[slower]:.3f} times as slow", flush=True
        )
        before = measured(model, options.seconds, folder / "before.json")
        for number in range(options.pairs):
            files = {
                "slower": measured(slower, options.seconds, folder / f"slower-{number}.json"),
                "cannot tell": measured(model, options.seconds, folder / f"again-{number}.json"),
            }
            for wanted, now in files.items():
                word, ratio = verdict(before, now)
                valid = json.loads(now.read_text(encoding="utf-8"))["verdict"]
                right[wanted].append(word == wanted)
                said[wanted][word] += 1
                print(
                    f"{number + 1:3d} {wanted:12s} said {word:12s} ratio {ratio:.3f} {valid}",
                    flush=True,
                )
            before = files["cannot tell"]
    for wanted, found in right.items():
        counts = ", ".join(f"{count} {word}" for word, count in said[wanted].most_common())
        print(f"{wanted}: {sum(found)} of {len(found)} right ({counts}), bar {LEAST_SHARE:.0%}")
    return 0 if all(sum(found) >= LEAST_SHARE * len(found) for found in right.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
