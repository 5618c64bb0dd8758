"""Level "numbers": the same pixels give the same logits and probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.backends.outputs import concatenate_outputs
from toolchain.errors import ParityError
from toolchain.runtime.card import Card, Precision
from toolchain.runtime.model_inputs import ModelOutputs
from toolchain.runtime.selftest import FLOAT32_TOLERANCE, needed_tolerance
from toolchain.verification.result import Level

TOLERANCES: dict[Precision, float] = {"fp32": FLOAT32_TOLERANCE, "fp16": 1e-2, "int8": 0.25}
"""Figure of atol and rtol. fp16 and int8 round every layer: there this rule detects broken files
only, and level "decisions" measures the others."""
REAL_IMAGES = 8
"""Validation images among the pixels that fill these batches."""


class NumberDifference(msgspec.Struct, frozen=True):
    """How far the outputs a are from their reference b, in units of the output."""

    values: int
    max_abs: float
    mean_abs: float
    p50_abs: float
    p99_abs: float
    cosine: float
    """The lowest cosine similarity of a and b among the images."""
    needed: float
    """The smallest tolerance (the figure of atol and rtol) that would pass."""
    tolerance: float
    bound: float
    """What the rule allows the largest value to differ by."""

    @property
    def passed(self) -> bool:
        """True when every value meets the rule; NaN and infinity never do."""
        return self.values > 0 and self.needed <= self.tolerance


def numbers_rule(tolerance: float) -> str:
    """Return the rule for every value, in words."""
    return (
        f"|a − b| ≤ atol + rtol·|b|, atol = {tolerance:g} · max(1, largest |b| of the image), "
        f"rtol = {tolerance:g}"
    )


def compare_numbers(
    reference: NDArray[np.float32],
    candidate: NDArray[np.float32],
    precision: Precision = "fp32",
    *,
    tolerance: float | None = None,
) -> NumberDifference:
    """Compare outputs float32 [images, values], value by value.

    `tolerance` is by default that of the precision. Raises ParityError for different shapes.

    >>> reference, candidate = np.float32([[0.1, 0.9]]), np.float32([[0.1, 0.8]])
    >>> compare_numbers(reference, candidate).passed
    False
    """
    if reference.shape != candidate.shape:
        raise ParityError(
            f"the model gives outputs of shape {candidate.shape}, expected {reference.shape}"
        )
    tolerance = TOLERANCES[precision] if tolerance is None else tolerance
    if not reference.size:
        return NumberDifference(0, *(math.nan,) * 6, tolerance, math.nan)
    if not (np.isfinite(reference).all() and np.isfinite(candidate).all()):
        return NumberDifference(reference.size, *(math.nan,) * 6, tolerance, math.nan)
    b = reference.reshape(len(reference), -1).astype(np.float64)
    a = candidate.reshape(len(candidate), -1).astype(np.float64)
    distance = np.abs(a - b)
    scale = np.maximum(1.0, np.abs(b).max(axis=1, keepdims=True))
    p50, p99 = np.quantile(distance, (0.5, 0.99))
    return NumberDifference(
        values=reference.size,
        max_abs=float(distance.max()),
        mean_abs=float(distance.mean()),
        p50_abs=float(p50),
        p99_abs=float(p99),
        cosine=_least_cosine(a, b),
        needed=needed_tolerance(reference, candidate),
        tolerance=tolerance,
        bound=float(2 * tolerance * scale.max()),
    )


def numbers_level(
    against: str,
    card: Card,
    pairs: Sequence[tuple[ModelOutputs, ModelOutputs]],
    tolerance: float | None = None,
) -> Level:
    """Compare pairs of (reference, file's) outputs: logits and probabilities, the worse one counts.

    `tolerance` is by default that of the card's precision.
    """
    reference, found = (concatenate_outputs(side) for side in zip(*pairs, strict=True))
    differences = [
        compare_numbers(a, b, card.precision, tolerance=tolerance)
        for a, b in zip(reference, found, strict=True)
    ]
    worst = max(
        differences, key=lambda difference: (math.isnan(difference.needed), difference.needed)
    )
    inputs = len(reference.logits)
    return Level(
        level="numbers",
        against=against,
        passed=worst.passed,
        rule=numbers_rule(worst.tolerance),
        summary=f"{inputs} inputs, off by {worst.max_abs:.1g}, allowed {worst.bound:.1g}",
        figures={
            "inputs": inputs,
            "max_difference": worst.max_abs,
            "mean_difference": worst.mean_abs,
            "p50_difference": worst.p50_abs,
            "p99_difference": worst.p99_abs,
            "cosine": worst.cosine,
            "tolerance": worst.tolerance,
            "needed_tolerance": worst.needed,
            "bound": worst.bound,
        },
    )


SYNTHETIC_NAMES = ("noise", "all black", "all white", "a chequer of 1", "a chequer of 8")
"""What `synthetic_pixels` returns, in its order."""


def failing_inputs(
    names: Sequence[str],
    reference: ModelOutputs,
    found: ModelOutputs,
    tolerance: float,
) -> list[int]:
    """Return the places of the inputs whose outputs do not meet the rule, in order."""
    return [
        i
        for i in range(len(names))
        if not all(
            compare_numbers(a[i : i + 1], b[i : i + 1], tolerance=tolerance).passed
            for a, b in zip(reference, found, strict=True)
        )
    ]


def synthetic_pixels(size: int) -> NDArray[np.uint8]:
    """Return pixels uint8 [5, size, size, 3]: noise, all 0, all 255, chequers of 1 and 8 pixels."""
    # numpy promises that this old generator's stream never changes (NEP 19).
    noise = np.random.RandomState(0).randint(0, 256, (size, size, 3))
    y, x = np.mgrid[:size, :size]
    chequers = [np.where((y // side + x // side) % 2, 255, 0) for side in (1, 8)]
    planes = [np.zeros((size, size)), np.full((size, size), 255), *chequers]
    images = [np.repeat(plane[:, :, None], 3, axis=2) for plane in planes]
    return np.stack([noise, *images]).astype(np.uint8)


def _least_cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    alike = np.where(lengths > 0, (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1), 1.0)
    return float(alike.min())
