"""How fast each engine of this machine is, and how near `provider="auto"` comes to the fastest.

    python -m benchmarks.engines                      ResNet-18 and ResNet-50 with random weights
    python -m benchmarks.engines model.onnx           model files of yours
    python -m benchmarks.engines --threads 1 2

Every engine that opens is measured in turn, in paired rounds of one image; so is what `auto` takes,
as a predictor of its own. The share is the median of the rounds: seconds of the fastest engine over
those of `auto`. The exit status is 1 where a share is below its bar. Choices are kept in a cache of
their own, so that the choice is measured, and the second opening shows what a kept one takes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.networks import card_of, random_model
from toolchain import Predictor
from toolchain.errors import ToolchainError
from toolchain.machine import this_machine
from toolchain.runtime.cachefolder import CACHE_VARIABLE
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.engines.choice import installed_engines
from toolchain.runtime.selftest import INPUTS, generated_pixels, make_proof, proof_pixels

ARCHITECTURES = ("resnet18", "resnet50")
LEAST_SHARE = 0.95
"""Speed of what `auto` takes, as a share of that of the fastest engine."""
ROUNDS = 21


def proven_model(arch: str, path: Path) -> Path:
    """Write a model file with random weights whose card holds a proof, and return its path."""
    import onnx

    from toolchain.exporters.writers.onnx import finish

    random_model(arch, path)
    card = card_of(arch)
    with Predictor(path, cache=False) as predictor:
        _, logits = predictor.run(proof_pixels(card.preprocessing.size))
    proof = make_proof(logits[:INPUTS], logits[INPUTS:])
    model = onnx.load(path)
    del model.metadata_props[:]
    finish(model, msgspec.structs.replace(card, proof=proof), path)
    return path


def opened(model: Path, threads: int) -> tuple[dict[str, Predictor], dict[str, str]]:
    """Return a predictor of each engine, and why the others can't be opened."""
    found, refused = {}, {}
    for name in installed_engines():
        try:
            found[name] = Predictor(model, provider=name, threads=threads, cache=False)
        except ToolchainError as error:
            refused[name] = str(error)
    return found, refused


def in_turn(predictors: dict[str, Predictor]) -> dict[str, list[float]]:
    """Return the milliseconds of one image on each, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    size = next(iter(predictors.values())).card.preprocessing.size
    pixels = generated_pixels(size)[:1]
    for number in range(ROUNDS + 1):
        for name in list(predictors) if number % 2 else list(predictors)[::-1]:
            started = time.perf_counter()
            predictors[name].run(pixels)
            if number:  # the first round allocates
                seconds[name].append((time.perf_counter() - started) * 1e3)
    return seconds


def opening_s(model: Path, threads: int) -> tuple[float, Predictor]:
    """Return the seconds until `auto` is open, and its predictor."""
    started = time.perf_counter()
    predictor = Predictor(model, provider="auto", threads=threads)
    return time.perf_counter() - started, predictor


def measure(model: Path, name: str, threads: int) -> float:
    """Print the engines of one model, and return the share of the fastest that `auto` reaches."""
    engines, refused = opened(model, threads)
    first_s, chosen = opening_s(model, threads)
    again_s, kept = opening_s(model, threads)
    kept.close()
    times = in_turn({**engines, "auto": chosen})
    reference = engines["cpu"].run(proof_pixels(chosen.card.preprocessing.size)).logits
    print(f"\n{name}, threads {threads}: {chosen.provider_choice}")
    print(f"  opening auto: {first_s:.2f} s measuring, {again_s:.2f} s with the choice kept")
    for engine, predictor in engines.items():
        ratio = statistics.median(a / b for a, b in zip(times["cpu"], times[engine], strict=True))
        logits = predictor.run(proof_pixels(chosen.card.preprocessing.size)).logits
        off = float(np.abs(logits - reference).max()) / max(1.0, float(np.abs(reference).max()))
        print(
            f"  {engine:14s} {statistics.median(times[engine]):7.2f} ms   {ratio:5.2f} × as fast "
            f"as cpu   logits off by {off:.1g} (relative)"
        )
    for engine, reason in refused.items():
        print(f"  {engine:14s} not opened: {reason}")
    fastest = min(engines, key=lambda engine: statistics.median(times[engine]))
    share = statistics.median(a / b for a, b in zip(times[fastest], times["auto"], strict=True))
    print(f"  auto is {share:.3f} of the fastest, {fastest} (bar {LEAST_SHARE:g})")
    for predictor in (*engines.values(), chosen):
        predictor.close()
    return share


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every model and number of threads; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--threads", nargs="*", type=int, default=sorted({1, usable_cores()}))
    options = parser.parse_args(arguments)
    print(this_machine())
    with tempfile.TemporaryDirectory(prefix="rtl-engines-") as folder:
        os.environ[CACHE_VARIABLE] = f"{folder}/cache"
        models = {str(path): path for path in options.models} or {
            arch: proven_model(arch, Path(folder) / f"{arch}.onnx") for arch in ARCHITECTURES
        }
        shares = [
            measure(path, name, threads)
            for name, path in models.items()
            for threads in options.threads
        ]
    return 0 if min(shares) >= LEAST_SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
