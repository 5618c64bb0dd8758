"""Level "numbers": the same pixels give the same logits."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ParityError

TOLERANCE = 1e-4
"""Ten times what float32 kernels differ by on ResNets (about 1e-5); labels need far more."""

RULE = "|a − b| ≤ 1e-4 · max(1, max|a|), every value"


class Difference(msgspec.Struct, frozen=True):
    """How far two arrays of outputs are apart, in units of the output."""

    max_abs: float
    mean_abs: float
    bound: float
    values: int

    @property
    def passed(self) -> bool:
        """True when every value is within the bound; NaN and infinity never are."""
        return self.values > 0 and self.max_abs <= self.bound


def compare(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> Difference:
    """Compare outputs [images, classes]; the bound grows with the largest reference value.

    Raises ParityError for different shapes.

    >>> compare(np.array([[0.1, 0.9]], np.float32), np.array([[0.1, 0.8]], np.float32)).passed
    False
    """
    if reference.shape != candidate.shape:
        raise ParityError(
            f"the model gives outputs of shape {candidate.shape}, expected {reference.shape}"
        )
    if not reference.size:
        return Difference(0.0, 0.0, TOLERANCE, 0)
    if not (np.isfinite(reference).all() and np.isfinite(candidate).all()):
        return Difference(math.nan, math.nan, TOLERANCE, reference.size)
    distance = np.abs(reference.astype(np.float64) - candidate)
    return Difference(
        max_abs=float(distance.max()),
        mean_abs=float(distance.mean()),
        bound=TOLERANCE * max(1.0, float(np.abs(reference).max())),
        values=reference.size,
    )


def worst(differences: list[Difference]) -> Difference:
    """Give the difference that is largest against its bound; one with NaN before all others."""
    return max(differences, key=lambda d: (d.max_abs != d.max_abs, d.max_abs / d.bound))
