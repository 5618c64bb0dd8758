"""Generated inputs and the check that a lone model file still computes what its card says.

The inputs come from a closed formula on pixel indices, so that any language can make them and no
random generator's stream matters. The formula `waves-1` (also in docs/card.md), all integers:

    value(n, y, x, c) = (x * (3 + n) + y * (5 + 2 * n) + (x * y) // 16 + 85 * c) mod 256

for input n = 0 … 3, row y, column x, channel c = 0, 1, 2 (R, G, B).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelFileError, ParityError
from toolchain.runtime.card import Proof

INPUTS = 4
TOLERANCE = 1e-3
"""Float32 kernels of different processors stay well under this; a changed model does not."""


def generated_pixels(size: int) -> NDArray[np.uint8]:
    """Return the four generated inputs as uint8 pixels [4, size, size, 3]."""
    n, y, x, c = np.ogrid[:INPUTS, :size, :size, :3]
    values = x * (3 + n) + y * (5 + 2 * n) + (x * y) // 16 + 85 * c
    return np.asarray(values % 256, dtype=np.uint8)


def make_proof(logits: NDArray[np.float32]) -> Proof:
    """Return the card's proof from the logits [4, classes] of the generated inputs.

    Raises ParityError for logits that are not finite: such a model has nothing to prove.
    """
    if not np.isfinite(logits).all():
        raise ParityError("the model gives logits that are not finite numbers")
    rows = tuple(tuple(float(value) for value in row) for row in logits)
    return Proof(formula="waves-1", logits=rows, tolerance=TOLERANCE)


def proof_difference(proof: Proof, logits: NDArray[np.float32]) -> float:
    """Return the largest difference to the card, relative to max(1, the largest logit in size).

    It is to be compared with `proof.tolerance`; NaN when the logits hold a NaN. Raises
    ModelFileError when the card's proof is of another shape.
    """
    expected = np.asarray(proof.logits, dtype=np.float64)
    if expected.shape != logits.shape:
        raise ModelFileError(
            f"the card's proof has shape {expected.shape}, the model gives {logits.shape}",
            hint="the card does not belong to this model; export it again",
        )
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(expected - logits).max() / scale)
