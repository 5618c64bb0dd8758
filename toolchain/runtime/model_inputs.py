"""The kinds of input that a graph may have, and how pixels are converted to each of them.

- `pixels`: uint8 [batch, size, size, 3], as `preprocess` returns them;
- `tensor`: float32 [batch, 3, size, size], normalised, as inference servers expect it;
- `image`: uint8 [height, width, 3] of any size, one at a time: resize and crop are in the graph.

A file may also be exported for one batch size. `run_on_pixels` hides these differences: it converts
pixels, and splits or pads them to the batch size.
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
"""Runs the graph once on its own input and returns some of its outputs."""


class ModelOutputs(NamedTuple):
    """What a model computes for a batch: two arrays float32 [batch, classes]."""

    probabilities: Floats
    logits: Floats


def run_on_pixels(compute: Compute, pixels: Pixels, card: Card) -> Sequence[Floats]:
    """Return a graph's outputs for pixels uint8 [batch, size, size, 3], whatever its input kind.

    `compute` is called once or more often; each returned output has `batch` rows.
    """
    if card.input == "pixels" and card.batch is None:
        return compute(pixels)
    parts = [
        [output[:count] for output in compute(graph_input)]
        for graph_input, count in graph_inputs(pixels, card)
    ]
    return [np.concatenate(output) for output in zip(*parts, strict=True)]


def normalised(pixels: Pixels, normalisation: Normalisation) -> Floats:
    """Return (pixels / 255 - mean) / std as float32 [batch, 3, size, size].

    The order of the float32 operations is that of the trained model.
    """
    mean, std = (
        np.asarray(values, np.float32).reshape(1, 3, 1, 1) * np.float32(255)
        for values in (normalisation.mean, normalisation.std)
    )
    planes = pixels.transpose(0, 3, 1, 2).astype(np.float32)
    return np.ascontiguousarray((planes - mean) / std)


def embed_in_canvas(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """Return an image uint8 [height, width, 3] that the graph's resize and crop turn into `pixels`.

    Its sides are `resize_size`, so that the resize changes nothing, and `pixels` lie where the
    centre crop cuts. With `squash` it is `pixels` themselves.
    """
    if preprocessing.mode == "squash":
        return pixels
    side = preprocessing.resize_size
    canvas = np.zeros((side, side, 3), np.uint8)
    left, top, right, bottom = centre_box(side, side, preprocessing.size)
    canvas[top:bottom, left:right] = pixels
    return canvas


def graph_inputs(pixels: Pixels, card: Card) -> Iterator[tuple[NDArray[Any], int]]:
    """Yield (an input of the graph, how many of its rows are not padding) for pixels.

    `pixels` are uint8 [batch, size, size, 3].
    """
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
