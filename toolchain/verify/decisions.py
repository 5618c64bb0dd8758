"""Level "decisions": the same image bytes give the same label, or the same set of labels."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.runtime.card import Card

RULES = {
    "single-label": "no label differs, but where the two best logits are within twice the "
    "numbers' bound",
    "multi-label": "no set of labels differs, but in classes whose logit is within the numbers' "
    "bound of the threshold's",
}

Both = tuple[NDArray[np.float32], NDArray[np.float32]]
"""(probabilities, logits), each [images, classes]."""
Flags = NDArray[np.bool_]


class Decisions(msgspec.Struct, frozen=True):
    """How many images got another label, or another set of labels, than from the reference."""

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
    names: list[str], reference: Both, candidate: Both, *, card: Card, bound: float
) -> Decisions:
    """Compare the outputs for the same images, decided as the card says.

    `bound` is that of the numbers: so far may a logit lie from its reference.
    """
    if card.task == "multi-label":
        flipped, outside = _flipped_sets(reference, candidate, card, bound)
    else:
        flipped, outside = _flipped_labels(reference[1], candidate[1], bound)
    return Decisions(
        images=len(names),
        flips=int(flipped.sum()),
        flips_outside_margin=int(outside.sum()),
        flipped=tuple(name for name, flip in zip(names, flipped, strict=True) if flip)[:10],
        max_probability_difference=float(np.abs(reference[0] - candidate[0]).max(initial=0.0)),
    )


def _flipped_labels(
    reference: NDArray[np.float32], candidate: NDArray[np.float32], bound: float
) -> tuple[Flags, Flags]:
    """Give (images with another label, those of them that are no tie), from the logits."""
    flipped = reference.argmax(1) != candidate.argmax(1)
    best_two = np.sort(reference, axis=1)[:, -2:]
    # Each of two logits may move by the bound: a lead of less than twice that is a tie.
    tied = best_two[:, 1] - best_two[:, 0] <= 2 * bound
    return flipped, flipped & ~tied


def _flipped_sets(
    reference: Both, candidate: Both, card: Card, bound: float
) -> tuple[Flags, Flags]:
    """Give (images with another set of labels, those in which some class is no tie)."""
    threshold = card.label_threshold
    flips = (reference[0] >= threshold) != (candidate[0] >= threshold)
    with np.errstate(divide="ignore"):  # a threshold of 0 or 1 is no finite logit
        odds = np.float64(threshold) / np.float64(1 - threshold)
        turning_point = card.temperature * np.log(odds)
    # One logit alone decides over its class, so the bound counts once.
    tied = np.abs(reference[1] - turning_point) <= bound
    return flips.any(axis=1), (flips & ~tied).any(axis=1)
