"""Whether an engine answers as a file's references say: its card, and the images beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolchain.errors import ModelFileError
from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import Floats, Pixels
from toolchain.runtime.selftest import (
    PROOF_TOLERANCES,
    needed_tolerance,
    proof_pixels,
    same_file_tolerance,
)
from toolchain.runtime.stored_outputs import read_stored_outputs, references_file

LEAST_IMAGES = 6
"""With fewer images nothing shows that bfloat16 costs no labels; int8 is held to as many."""
BATCH = 8

Run = Callable[[Pixels], tuple[Floats, Floats]]
"""Returns (probabilities, logits) of pixels uint8 [batch, size, size, 3]."""


@dataclass(frozen=True, eq=False)
class References:
    """Inputs of a model file, and what it has to answer."""

    card: Card
    pixels: Pixels
    """uint8 [inputs, size, size, 3]: the images first, generated inputs after them."""
    logits: Floats
    """float32 [inputs, classes]."""
    probabilities: Floats
    """float32 [images, classes]: of the images alone, the card has none of its inputs."""

    @property
    def images(self) -> int:
        """How many of the inputs are images."""
        return len(self.probabilities)

    def __str__(self) -> str:
        generated = f"{len(self.pixels) - self.images} generated inputs"
        return f"{self.images} images and {generated}" if self.images else generated


def references_of(path: Path, card: Card) -> References | None:
    """Return what a file has to answer: images stored beside it, and the inputs of its card.

    None where it has neither. References of other classes or another size are of another file, and
    damaged ones are passed over, as `rtl verify` says.
    """
    pixels, logits = [], []
    probabilities = np.zeros((0, len(card.classes)), np.float32)
    beside = references_file(path)
    if beside.is_file():
        try:
            stored = read_stored_outputs(beside)
        except ModelFileError:
            stored = None
        size = card.preprocessing.size
        if stored and stored.classes == card.classes and stored.pixels.shape[1] == size:
            pixels, logits = [stored.pixels], [stored.logits]
            probabilities = stored.probabilities
    if card.proof is not None:
        expected = np.asarray(card.proof.logits + card.proof.extremes, np.float32)
        pixels.append(proof_pixels(card.preprocessing.size)[: len(expected)])
        logits.append(expected)
    if not pixels:
        return None
    return References(card, np.concatenate(pixels), np.concatenate(logits), probabilities)


def refusal(references: References, run: Run, *, rounded: bool = False) -> str | None:
    """Return why an engine is refused for a file; None where it answers as the references say.

    Every logit has to be within the tolerance for one file on two machines, and every image has to
    get the same label or labels. An engine that rounds every layer (`rounded`) is held to the
    tolerance of int8, and needs LEAST_IMAGES images.
    """
    if rounded and references.images < LEAST_IMAGES:
        return f"{references.images} reference images can't show what it costs"
    pieces = [
        run(references.pixels[start : start + BATCH])
        for start in range(0, len(references.pixels), BATCH)
    ]
    probabilities, logits = (np.concatenate(part) for part in zip(*pieces, strict=True))
    if logits.shape != references.logits.shape:
        return f"its outputs have the shape {logits.shape}, not {references.logits.shape}"
    tolerance = same_file_tolerance(references.card)
    if rounded:
        tolerance = max(tolerance, PROOF_TOLERANCES["int8"])
    needed = needed_tolerance(references.logits, logits)
    if not needed <= tolerance:
        return f"its logits are off by {needed:.2g} (relative), {tolerance:.2g} is accepted"
    flips = _other_labels(references, probabilities[: references.images])
    return f"{flips} of {references.images} images get another label" if flips else None


def _other_labels(references: References, probabilities: Floats) -> int:
    """Return how many images get another label, or another set of labels."""
    expected, card = references.probabilities, references.card
    if card.task == "multi-label":
        threshold = card.label_threshold
        other = ((expected >= threshold) != (probabilities >= threshold)).any(axis=1)
    else:
        other = expected.argmax(axis=1) != probabilities.argmax(axis=1)
    return int(other.sum())
