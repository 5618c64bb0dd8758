"""What an image looks like in about 1 kB: difference hashes, a small grey picture and its colours.

The difference hash says of neighbouring pixels of a tiny grey copy which one is brighter. Encoding,
size and brightness change few of its bits. A copy that was cropped a little changes more, so each
image has the hashes of its inside too: the copy looks like that.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
"""Of the small grey picture, in pixels."""
CROP = 0.03
"""What the inside leaves out at each edge, as a share of the side."""
SMALL, LARGE = 8, 16
"""Rows of the two hashes: 64 and 256 bits."""
FULL_64, INNER_64, FULL_256, INNER_256 = 0, 1, slice(2, 6), slice(6, 10)
"""Where the hashes stand in `Look.hashes`: of the whole image and of its inside."""
WORDS = 10
COLOUR_CELLS = 4

Hashes = NDArray[np.uint64]
INSIDE = (CROP * SIDE, CROP * SIDE, SIDE - CROP * SIDE, SIDE - CROP * SIDE)
"""What is left of the small picture when CROP is taken off each edge."""


class Look(NamedTuple):
    """What one image looks like, squashed to a square."""

    hashes: Hashes
    """uint64 [WORDS]."""
    grey: NDArray[np.uint8]
    """[SIDE, SIDE]."""
    colours: NDArray[np.uint8]
    """[COLOUR_CELLS, COLOUR_CELLS, 2]: Cb and Cr."""


def look_of(image: Image.Image) -> Look:
    """Return the look of an upright RGB image."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    grey = small.convert("L")
    hashes = [_bits(grey, rows, box) for rows in (SMALL, LARGE) for box in (None, INSIDE)]
    cells = small.convert("YCbCr").resize((COLOUR_CELLS, COLOUR_CELLS), Image.Resampling.BOX)
    return Look(np.concatenate(hashes), np.array(grey), np.array(cells)[:, :, 1:])


def distances(a: Hashes, b: Hashes) -> NDArray[np.uint16]:
    """Return in how many bits hashes differ; the words of one hash are on the last axis."""
    counts: NDArray[np.uint16] = count_bits(a ^ b).sum(axis=-1, dtype=np.uint16)
    return counts


def count_bits(words: Hashes) -> NDArray[np.uint8]:
    """Return how many bits of each word are set."""
    if hasattr(np, "bitwise_count"):  # from numpy 2 on
        found: NDArray[np.uint8] = np.bitwise_count(words)
        return found
    return _count_by_table(words)


def _count_by_table(words: Hashes) -> NDArray[np.uint8]:
    parts = np.ascontiguousarray(words).view(np.uint16).reshape(*words.shape, 4)
    counts: NDArray[np.uint8] = _BITS[parts].sum(axis=-1, dtype=np.uint8)
    return counts


_BITS = np.array([number.bit_count() for number in range(256)], np.uint8)
_BITS = (_BITS[:, None] + _BITS).ravel()
"""Bits of each number of 16 bits."""


def _bits(grey: Image.Image, rows: int, box: tuple[float, float, float, float] | None) -> Hashes:
    """Return the difference hash of a part of a grey picture, uint64 [rows * rows / 64]."""
    size = (rows + 1, rows)
    pixels = np.asarray(grey.resize(size, Image.Resampling.BILINEAR, box=box))
    words: Hashes = np.packbits(pixels[:, 1:] > pixels[:, :-1]).view(np.uint64)
    return words
