"""The doors of a model file: how pixels become what its graph takes.

- `pixels`: uint8 [batch, size, size, 3], as `preprocess` gives them;
- `tensor`: float32 [batch, 3, size, size], normalised, what servers are used to;
- `image`: uint8 [height, width, 3] of any size, one at a time: resize and crop are in the graph.

A file may also be made for one batch size. Whoever holds pixels need not care: `through_door` cuts
them into pieces the graph takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolchain.runtime.card import Card, Normalisation, Preprocessing
from toolchain.runtime.image.preprocess import centre_box

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Compute = Callable[[NDArray[Any]], Sequence[Floats]]
"""Runs the graph once on exactly what it takes; gives some of its outputs."""


class ModelOutputs(NamedTuple):
    """What a model computes for a batch: two arrays float32 [batch, classes]."""

    probabilities: Floats
    logits: Floats


def run_on_pixels(compute: Compute, pixels: Pixels, card: Card) -> Sequence[Floats]:
    """Return a graph's outputs for pixels uint8 [batch, size, size, 3], whatever its door."""
    if card.input == "pixels" and card.batch is None:
        return compute(pixels)
    parts = [
        [output[:count] for output in compute(piece)] for piece, count in _pieces(pixels, card)
    ]
    return [np.concatenate(output) for output in zip(*parts, strict=True)]


def normalised(pixels: Pixels, normalisation: Normalisation) -> Floats:
    """Return float32 [batch, 3, size, size] of pixels, in the arithmetic of the trained model."""
    mean, std = (
        np.asarray(values, np.float32).reshape(1, 3, 1, 1) * np.float32(255)
        for values in (normalisation.mean, normalisation.std)
    )
    planes = pixels.transpose(0, 3, 1, 2).astype(np.float32)
    return np.ascontiguousarray((planes - mean) / std)


def embed_in_canvas(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """Return an image uint8 [height, width, 3] of which the graph's resize and crop give `pixels`.

    Its short side is what the resize leaves alone, and the pixels lie where the crop looks.
    """
    if preprocessing.mode == "squash":
        return pixels
    side = preprocessing.resize_size
    canvas = np.zeros((side, side, 3), np.uint8)
    left, top, right, bottom = centre_box(side, side, preprocessing.size)
    canvas[top:bottom, left:right] = pixels
    return canvas


def _pieces(pixels: Pixels, card: Card) -> Iterator[tuple[NDArray[Any], int]]:
    """Yield (what the graph takes, how many of its rows count)."""
    if card.input == "image":
        for one in pixels:
            yield embed_in_canvas(one, card.preprocessing), 1
        return
    size = card.batch or max(1, len(pixels))
    for start in range(0, len(pixels), size):
        piece = pixels[start : start + size]
        count = len(piece)
        if card.batch is not None and count < size:
            piece = np.concatenate([piece, np.repeat(piece[-1:], size - count, axis=0)])
        yield normalised(piece, card.normalisation) if card.input == "tensor" else piece, count
