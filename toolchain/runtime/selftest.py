"""The self test of a model file: generated inputs, and the logits in its card to compare with.

The inputs follow from a closed formula on pixel indices, so that every language can compute them
without the random generator of another. The formula `waves-1` (also in docs/card.md), all integers:

    value(n, y, x, c) = (x * (3 + n) + y * (5 + 2 * n) + (x * y) // 16 + 85 * c) mod 256

for input n = 0 … 3, row y, column x, channel c = 0, 1, 2 (R, G, B).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelFileError, ParityError
from toolchain.runtime.card import Proof

INPUTS = 4
PROOF_TOLERANCE = 1e-3
"""Float32 kernels of different processors differ by much less; a changed model by more."""


def generated_pixels(size: int) -> NDArray[np.uint8]:
    """Return the four generated inputs, uint8 [4, size, size, 3]."""
    n, y, x, c = np.ogrid[:INPUTS, :size, :size, :3]
    values = x * (3 + n) + y * (5 + 2 * n) + (x * y) // 16 + 85 * c
    return np.asarray(values % 256, dtype=np.uint8)


def make_proof(logits: NDArray[np.float32]) -> Proof:
    """Return the proof for a card, from the logits [4, classes] of the generated inputs.

    Raises ParityError for logits that are not finite.
    """
    if not np.isfinite(logits).all():
        raise ParityError("the model gives logits that are not finite numbers")
    rows = tuple(tuple(float(value) for value in row) for row in logits)
    return Proof(formula="waves-1", logits=rows, tolerance=PROOF_TOLERANCE)


def proof_difference(proof: Proof, logits: NDArray[np.float32]) -> float:
    """Return the largest difference to the proof, relative to max(1, its largest absolute logit).

    It passes where it is at most `proof.tolerance`; it is NaN when the logits hold a NaN. Raises
    ModelFileError when the proof has another shape.
    """
    expected = np.asarray(proof.logits, dtype=np.float64)
    if expected.shape != logits.shape:
        raise ModelFileError(
            f"the card's proof has shape {expected.shape}, the model gives {logits.shape}",
            hint="the card does not belong to this model; export it again",
        )
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(expected - logits).max() / scale)
