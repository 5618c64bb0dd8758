"""The outputs of an open model for any number of pixels or image files, in batches."""

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

BATCH_SIZE = 8
"""Images that are computed at once, so that memory stays small."""


def run_in_batches(backend: Backend, pixels: Pixels) -> ModelOutputs:
    """Return the outputs for pixels uint8 [images, size, size, 3], of any number of images."""
    starts = range(0, len(pixels), BATCH_SIZE)
    return concatenate_outputs([backend.run(pixels[i : i + BATCH_SIZE]) for i in starts])


def run_on_files(
    backend: Backend, sources: Sequence[Path | bytes], names: Sequence[str]
) -> ModelOutputs:
    """Return the outputs for image files, read and preprocessed by the predictor's own code.

    `names` are the images' names in the ImageError of one that can't be read.
    """
    preprocessing = backend.card.preprocessing
    named = zip(sources, names, strict=True)
    if backend.card.input == "image" and isinstance(backend, Predictor):
        images = (read_image(source, preprocessing, name=name) for source, name in named)
        return concatenate_outputs([backend.compute(np.asarray(image)) for image in images])
    pixels = [pixels_of(backend.card, source, name) for source, name in named]
    return run_in_batches(backend, np.stack(pixels))


def pixels_of(card: Card, source: Path | bytes, name: str) -> Pixels:
    """Return the pixels uint8 [size, size, 3] that a model with this card gets of an image file."""
    return preprocess(read_image(source, card.preprocessing, name=name), card.preprocessing)


def concatenate_outputs(parts: Sequence[ModelOutputs]) -> ModelOutputs:
    """Return the outputs of several batches as those of one."""
    return ModelOutputs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
