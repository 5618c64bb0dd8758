"""Outputs of an open model for many pixels or image files, computed in small batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolchain.backends.backend import Backend
from toolchain.runtime.card import Card
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess
from toolchain.runtime.model_inputs import ModelOutputs, Pixels
from toolchain.runtime.predictor import Predictor

BATCH = 8


def outputs(backend: Backend, made: Pixels) -> ModelOutputs:
    """Return (probabilities, logits) of any number of pixels, computed in small batches."""
    parts = [backend.run(made[i : i + BATCH]) for i in range(0, len(made), BATCH)]
    return concatenate_outputs(parts)


def answers(
    backend: Backend, sources: Sequence[Path | bytes], names: Sequence[str]
) -> ModelOutputs:
    """Return (probabilities, logits) of image files, through the predictor's own code."""
    preprocessing = backend.card.preprocessing
    if backend.card.input == "image" and isinstance(backend, Predictor):
        images = (
            read_image(source, preprocessing, name=name)
            for source, name in zip(sources, names, strict=True)
        )
        return concatenate_outputs([backend.compute(np.asarray(image)) for image in images])
    made = [pixels_of(backend.card, s, name) for s, name in zip(sources, names, strict=True)]
    return outputs(backend, np.stack(made))


def pixels_of(card: Card, source: Path | bytes, name: str) -> Pixels:
    """Return what the model sees of an image, from its bytes and by a model's card."""
    return preprocess(read_image(source, card.preprocessing, name=name), card.preprocessing)


def concatenate_outputs(parts: Sequence[ModelOutputs]) -> ModelOutputs:
    """Return the outputs of several batches as one."""
    return np.concatenate([p for p, _ in parts]), np.concatenate([row for _, row in parts])
