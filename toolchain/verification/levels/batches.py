"""Level "batches": a file gives an image the same numbers in a batch of any size as alone.

It needs no reference, so a device can check a lone file. A graph may hold what depends on the batch
(a constant shape, a mean over the wrong axis), and may do so for some sizes only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from toolchain.backends.backend import Backend
from toolchain.backends.outputs import concatenate_outputs
from toolchain.errors import ModelFileError
from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import ModelOutputs
from toolchain.runtime.selftest import proof_pixels, same_file_tolerance
from toolchain.verification.levels.numbers import compare_numbers
from toolchain.verification.result import Level

FIRST = (2, 3, 5, 8, 16, 32, 33, 64)
"""The sizes that an export tries, and that are tried first: where the time is up they have been."""
SIZES = (*FIRST, *(size for size in range(2, 41) if size not in FIRST))
MOST_SECONDS = 60.0
"""All sizes are 883 images: 16 s of a ResNet-18 at 224 pixels on 2 cores. A slow device stops here
and says which sizes it has compared."""


def batch_level(backend: Backend, held: Card, *, every_size: bool = True) -> Level:
    """Compare the outputs of batches of 2 to 40 and of 64 images with those of single images.

    `held` is the card that the file is held to. A file for one batch size is compared at that one.
    Without `every_size` only those of FIRST are compared: a fault of an exporter shows there, while
    a file from elsewhere may have been made to fail at any other.
    """
    sizes = SIZES if every_size else tuple(size for size in SIZES if size in FIRST)
    if held.batch is not None:
        sizes = (held.batch,)
    pixels = distinct_pixels(held.preprocessing.size, max(sizes))
    singles = concatenate_outputs([backend.run(pixels[i : i + 1]) for i in range(len(pixels))])
    tolerance = same_file_tolerance(held)
    compared: list[int] = []
    wrong: dict[int, float] = {}
    for size in _in_time(sizes):
        compared.append(size)
        needed = _needed(backend, pixels[:size], singles)
        if not needed <= tolerance:
            wrong[size] = needed
    worst = max(wrong.values(), default=0.0)
    at = ", ".join(str(size) for size in sorted(wrong))
    return Level(
        level="batches",
        against="single images",
        passed=not wrong,
        rule=f"the same numbers for an image in a batch as alone, within {tolerance:g}",
        summary=f"batches of {_ranges(compared)} images, "
        + (f"wrong for {at}" if wrong else "the same as single images")
        + ("" if len(compared) == len(sizes) else f"; {MOST_SECONDS:g} s were not enough for more"),
        figures={"batches": len(compared), "wrong": tuple(map(str, sorted(wrong)))},
        where=f"the batch: wrong for {at} images at once, off by {worst:.2g}" if wrong else None,
    )


def distinct_pixels(size: int, count: int) -> NDArray[np.uint8]:
    """Return `count` different inputs, uint8 [count, size, size, 3].

    They are the inputs of the proof, moved sideways: each position of a batch has another.
    """
    inputs = proof_pixels(size)
    patterned = [*inputs[:4], inputs[-1]]  # black and white stay the same when they are moved
    moved = [np.roll(patterned[i % 5], 3 * i, axis=1) for i in range(count)]
    return np.stack(moved)


def _needed(backend: Backend, pixels: NDArray[np.uint8], singles: ModelOutputs) -> float:
    """Return the tolerance that a batch needs; infinity for one that can't be computed."""
    try:
        found = backend.run(pixels)
    except ModelFileError:
        return float("inf")
    if len(found.logits) != len(pixels):
        return float("inf")
    needed = [
        compare_numbers(single[: len(pixels)], batch, tolerance=1.0).needed
        for single, batch in zip(singles, found, strict=True)
    ]
    return float(np.max(needed))  # which keeps a NaN


def _in_time(sizes: Sequence[int]) -> Iterator[int]:
    """Yield the sizes until the time is up, at least those of FIRST."""
    started = time.monotonic()
    for size in sizes:
        if size not in FIRST and time.monotonic() - started > MOST_SECONDS:
            return
        yield size


def _ranges(sizes: Sequence[int]) -> str:
    """Write sizes as ranges.

    >>> _ranges([2, 3, 4, 8, 16, 17])
    '2–4, 8, 16–17'
    """
    runs: list[list[int]] = []
    for size in sorted(sizes):
        if runs and size == runs[-1][-1] + 1:
            runs[-1].append(size)
        else:
            runs.append([size])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
