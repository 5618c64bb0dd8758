"""The self test of a model file: generated inputs, and the logits in its card to compare with.

The inputs follow from a closed formula on pixel indices, so that every language can compute them
without the random generator of another. The formula `waves-1` (also in docs/card.md), all integers:

    value(n, y, x, c) = (x * (3 + n) + y * (5 + 2 * n) + (x * y) // 16 + 85 * c) mod 256

for input n = 0 … 3, row y, column x, channel c = 0, 1, 2 (R, G, B).

Three more inputs are extremes: all 0, all 255, and noise from a hash of the indices, where all is
modulo 2³²:

    h = x * 374761393 + y * 668265263 + c * 2246822519
    value(y, x, c) = (((h xor (h >> 13)) * 1274126177) >> 16) mod 256
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelFileError, ParityError
from toolchain.runtime.card import Card, Precision, Proof
from toolchain.runtime.model_inputs import Floats, Pixels

INPUTS = 4
INPUT_NAMES = ("wave 1", "wave 2", "wave 3", "wave 4", "all black", "all white", "noise")
"""The generated inputs and the extremes, in the order of `proof_pixels`."""
PROOF_TOLERANCES: dict[Precision, float] = {"fp32": 1e-3, "fp16": 5e-3, "int8": 5e-2}
"""How far the logits of one file may differ between two machines. Float32 kernels of different
processors differ by much less; a changed model by more. Where machines round differently, an int8
value moves by a step, and the logits by about a hundredth."""
FLOAT32_TOLERANCE = 5e-5
"""Figure of atol and rtol for float32: about ten times what kernels of different runtimes differ
by on ResNets; labels need far more to change."""


def generated_pixels(size: int) -> NDArray[np.uint8]:
    """Return the four generated inputs, uint8 [4, size, size, 3]."""
    n, y, x, c = np.ogrid[:INPUTS, :size, :size, :3]
    values = x * (3 + n) + y * (5 + 2 * n) + (x * y) // 16 + 85 * c
    return np.asarray(values % 256, dtype=np.uint8)


def extreme_pixels(size: int) -> NDArray[np.uint8]:
    """Return all black, all white and noise, uint8 [3, size, size, 3]."""
    y, x, c = (axis.astype(np.uint64) for axis in np.ogrid[:size, :size, :3])
    modulus = np.uint64(0xFFFFFFFF)
    h = (x * np.uint64(374761393) + y * np.uint64(668265263) + c * np.uint64(2246822519)) & modulus
    h = ((h ^ (h >> np.uint64(13))) * np.uint64(1274126177)) & modulus
    noise = ((h >> np.uint64(16)) & np.uint64(255)).astype(np.uint8)
    return np.stack([np.zeros_like(noise), np.full_like(noise, 255), noise])


def proof_pixels(size: int) -> NDArray[np.uint8]:
    """Return the generated inputs and the extremes, uint8 [7, size, size, 3]."""
    return np.concatenate([generated_pixels(size), extreme_pixels(size)])


def make_proof(
    logits: NDArray[np.float32],
    extremes: NDArray[np.float32] | None = None,
    *,
    precision: Precision = "fp32",
) -> Proof:
    """Return the proof for a card, from logits [4, classes] of the generated inputs.

    `extremes` are those of the extremes, [3, classes]. Raises ParityError, which names the input,
    for logits that are not finite.
    """
    rows = [] if extremes is None else list(extremes)
    require_finite(np.stack([*logits, *rows]), INPUT_NAMES)
    return Proof(
        formula="waves-1",
        logits=_numbers(logits),
        extremes=_numbers(rows),
        tolerance=PROOF_TOLERANCES[precision],
    )


def require_finite(logits: NDArray[np.float32], names: Sequence[str]) -> None:
    """Raise ParityError, which names the inputs, for logits [inputs, classes] that are no numbers.

    `names` may be longer than the logits.
    """
    finite = np.asarray(np.isfinite(logits).all(axis=1))
    if not finite.all():
        bad = ", ".join(name for name, good in zip(names, finite, strict=False) if not good)
        raise ParityError(f"the model gives logits that are not finite numbers for {bad}")


def proof_tolerance(proof: Proof, precision: Precision) -> float:
    """Return the tolerance of a proof: the card's, but no wider than that of the precision."""
    return min(proof.tolerance, PROOF_TOLERANCES[precision])


def require_proof(model: str, card: Card, logits_of: Callable[[Pixels], Floats]) -> None:
    """Raise ParityError for a model whose logits of the generated inputs are not those of its card.

    `logits_of` computes them from pixels uint8 [4, size, size, 3].
    """
    if card.proof is None:
        raise ParityError(f"the card of {model} holds no proof to repeat")
    logits = logits_of(generated_pixels(card.preprocessing.size))
    difference = proof_difference(card.proof, logits)
    tolerance = proof_tolerance(card.proof, card.precision)
    if not difference <= tolerance:
        raise ParityError(
            f"{model} does not compute what its card says: "
            f"difference {difference:.2g}, accepted {tolerance:.2g}",
            hint="the file or this onnxruntime has changed; rtl verify shows more",
        )


def same_file_tolerance(card: Card) -> float:
    """Return the tolerance for outputs of one file on two machines, by the card it is held to."""
    if card.precision == "fp32":
        return FLOAT32_TOLERANCE
    widest = PROOF_TOLERANCES[card.precision]
    return widest if card.proof is None else min(widest, card.proof.tolerance)


def needed_tolerance(reference: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Return the smallest figure of atol and rtol by which outputs [images, values] agree.

    A value may be off by it times (max(1, the image's largest reference) + the value's reference),
    all absolute. NaN where an output is no number.
    """
    b = reference.reshape(len(reference), -1).astype(np.float64)
    a = found.reshape(len(found), -1).astype(np.float64)
    scale = np.maximum(1.0, np.abs(b).max(axis=1, keepdims=True))
    return float((np.abs(a - b) / (scale + np.abs(b))).max())


def _numbers(rows: Iterable[NDArray[np.float32]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in rows)


def proof_difference(proof: Proof, logits: NDArray[np.float32]) -> float:
    """Return the largest difference to the proof, relative to max(1, its largest absolute logit).

    `logits` are of the generated inputs, or of these and the extremes. It passes where it is at
    most the tolerance; it is NaN when the logits hold a NaN. Raises ModelFileError when the proof
    has another shape.
    """
    rows = proof.logits + proof.extremes if len(logits) > INPUTS else proof.logits
    expected = np.asarray(rows, dtype=np.float64)
    if expected.shape != logits.shape:
        raise ModelFileError(
            f"the card's proof has shape {expected.shape}, the model gives {logits.shape}",
            hint="the card does not belong to this model; export it again",
        )
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(expected - logits).max() / scale)
