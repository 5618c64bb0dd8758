"""Level "numbers": the same pixels give the same logits and probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ParityError
from toolchain.runtime.card import Card, Precision
from toolchain.runtime.model_inputs import ModelOutputs
from toolchain.verification.result import Level

TOLERANCES: dict[Precision, float] = {"fp32": 5e-5, "fp16": 1e-2, "int8": 0.25}
"""fp32: about ten times what the float32 kernels of different engines differ by on ResNets; labels
need far more. fp16 and int8 round every layer: here the rule stops a broken file, and the decisions
judge a good one."""
BATCHES = (1, 2, 5, 32)
"""One image, the exporter's example, an odd number, and as many as most users ever put in."""
REAL = 8
"""Real images whose pixels are compared with the made ones."""


def rule(t: float) -> str:
    """Say what passes."""
    return (
        f"|a − b| ≤ atol + rtol·|b|, atol = {t:g} · max(1, largest |b| of the image), rtol = {t:g}"
    )


class Difference(msgspec.Struct, frozen=True):
    """How far the outputs a are from their reference b, in units of the output."""

    values: int
    max_abs: float
    mean_abs: float
    p50_abs: float
    p99_abs: float
    cosine: float
    """Of the image where a and b point the least in the same direction."""
    needed: float
    """The smallest tolerance (atol's and rtol's figure) that would pass."""
    tolerance: float
    bound: float
    """What the rule allows the largest value to differ by."""

    @property
    def passed(self) -> bool:
        """True when every value keeps the rule; NaN and infinity never do."""
        return self.values > 0 and self.needed <= self.tolerance


def compare(
    reference: NDArray[np.float32],
    candidate: NDArray[np.float32],
    precision: Precision = "fp32",
    *,
    tolerance: float | None = None,
) -> Difference:
    """Compare outputs [images, values], value by value.

    `tolerance` is the precision's unless it is given. Raises ParityError for
    different shapes.

    >>> compare(np.array([[0.1, 0.9]], np.float32), np.array([[0.1, 0.8]], np.float32)).passed
    False
    """
    if reference.shape != candidate.shape:
        raise ParityError(
            f"the model gives outputs of shape {candidate.shape}, expected {reference.shape}"
        )
    tolerance = TOLERANCES[precision] if tolerance is None else tolerance
    if not reference.size:
        return Difference(0, *(math.nan,) * 6, tolerance, math.nan)
    if not (np.isfinite(reference).all() and np.isfinite(candidate).all()):
        return Difference(reference.size, *(math.nan,) * 6, tolerance, math.nan)
    b = reference.reshape(len(reference), -1).astype(np.float64)
    a = candidate.reshape(len(candidate), -1).astype(np.float64)
    distance = np.abs(a - b)
    scale = np.maximum(1.0, np.abs(b).max(axis=1, keepdims=True))
    p50, p99 = np.quantile(distance, (0.5, 0.99))
    return Difference(
        values=reference.size,
        max_abs=float(distance.max()),
        mean_abs=float(distance.mean()),
        p50_abs=float(p50),
        p99_abs=float(p99),
        cosine=_least_cosine(a, b),
        needed=float((distance / (scale + np.abs(b))).max()),
        tolerance=tolerance,
        bound=float(2 * tolerance * scale.max()),
    )


def made_pixels(size: int) -> NDArray[np.uint8]:
    """Return pixels uint8 [5, size, size, 3] that no photograph has: noise, 0, 255, two chequers."""
    # numpy promises that this old generator's stream never changes (NEP 19).
    noise = np.random.RandomState(0).randint(0, 256, (size, size, 3))
    y, x = np.mgrid[:size, :size]
    chequers = [np.where((y // side + x // side) % 2, 255, 0) for side in (1, 8)]
    planes = [np.zeros((size, size)), np.full((size, size), 255), *chequers]
    made = [np.repeat(plane[:, :, None], 3, axis=2) for plane in planes]
    return np.stack([noise, *made]).astype(np.uint8)


def _least_cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    alike = np.where(lengths > 0, (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1), 1.0)
    return float(alike.min())


def same_file_tolerance(card: Card) -> float:
    """Return how far the outputs of one file may be apart on two machines."""
    assert card.proof is not None or card.precision == "fp32"
    if card.precision == "fp32" or card.proof is None:
        return TOLERANCES["fp32"]
    return card.proof.tolerance


def numbers_level(
    against: str,
    card: Card,
    pairs: Sequence[tuple[ModelOutputs, ModelOutputs]],
    tolerance: float | None = None,
) -> Level:
    """Compare (reference, file's) outputs, both probabilities and logits."""
    worst = max(
        (
            compare(
                np.concatenate([reference[output] for reference, _ in pairs]),
                np.concatenate([found[output] for _, found in pairs]),
                card.precision,
                tolerance=tolerance,
            )
            for output in (0, 1)
        ),
        key=lambda difference: (difference.needed != difference.needed, difference.needed),
    )
    inputs = sum(len(reference[0]) for reference, _ in pairs)
    return Level(
        level="numbers",
        against=against,
        passed=worst.passed,
        rule=rule(worst.tolerance),
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
