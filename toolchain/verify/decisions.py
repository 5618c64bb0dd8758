"""Level "decisions": the same image bytes give the same label."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

RULE = "no label differs, but where the two best logits are within twice the numbers' bound"


class Decisions(msgspec.Struct, frozen=True):
    """How many images got another label than from the reference."""

    images: int
    flips: int
    flips_outside_margin: int
    flipped: tuple[str, ...]
    """Names of the images with another label, at most ten."""
    max_probability_difference: float

    @property
    def passed(self) -> bool:
        """True when something was compared, and no label differs but for ties."""
        return (
            self.images > 0
            and self.flips_outside_margin == 0
            and self.max_probability_difference == self.max_probability_difference
        )


def compare_decisions(
    names: list[str],
    reference: tuple[NDArray[np.float32], NDArray[np.float32]],
    candidate: tuple[NDArray[np.float32], NDArray[np.float32]],
    *,
    bound: float,
) -> Decisions:
    """Compare (probabilities, logits) of the same images; `bound` is that of the numbers."""
    reference_labels, labels = reference[1].argmax(1), candidate[1].argmax(1)
    flipped = reference_labels != labels
    best_two = np.sort(reference[1], axis=1)[:, -2:]
    # Each of two logits may move by the bound: a lead of less than twice that is a tie.
    tied = best_two[:, 1] - best_two[:, 0] <= 2 * bound
    return Decisions(
        images=len(names),
        flips=int(flipped.sum()),
        flips_outside_margin=int((flipped & ~tied).sum()),
        flipped=tuple(name for name, flip in zip(names, flipped, strict=True) if flip)[:10],
        max_probability_difference=float(np.abs(reference[0] - candidate[0]).max(initial=0.0)),
    )
