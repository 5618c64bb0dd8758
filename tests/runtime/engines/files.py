"""A tiny model file with a proof in its card and reference outputs beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.runtime.tiny import CLASSES, SIDE, tiny_card, tiny_model, write
from toolchain.runtime.card import Card, encode_card
from toolchain.runtime.model_inputs import Floats, Pixels
from toolchain.runtime.selftest import INPUTS, make_proof, proof_pixels
from toolchain.runtime.stored_outputs import StoredOutputs, references_file, write_stored_outputs


def answer(pixels: Pixels) -> tuple[Floats, Floats]:
    """Return (probabilities, logits) as the tiny model computes them, linear in the mean colour."""
    logits = (pixels.astype(np.float64).mean(axis=(1, 2)) / 64).astype(np.float32)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True), logits


def proven_card() -> Card:
    """Return the card of the tiny model, with its proof."""
    _, logits = answer(proof_pixels(SIDE))
    return tiny_card(proof=make_proof(logits[:INPUTS], logits[INPUTS:]))


def model_with_references(path: Path, *, images: int) -> Path:
    """Write the tiny model, and the outputs of a few images beside it; return its path."""
    write(tiny_model(card=encode_card(proven_card())), path)
    pixels = np.random.default_rng(0).integers(0, 90, (images, SIDE, SIDE, 3)).astype(np.uint8)
    for i in range(images):
        pixels[i, :, :, i % 3] += 100  # far from a tie
    probabilities, logits = answer(pixels)
    stored = StoredOutputs(
        CLASSES,
        tuple(f"{i}.png" for i in range(images)),
        (b"",) * images,
        pixels,
        probabilities,
        logits,
    )
    write_stored_outputs(stored, references_file(path))
    return path
