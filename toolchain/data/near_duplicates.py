"""Images that look the same, though their bytes differ: encoded anew, resized or cropped a little.

Hashes propose pairs, of all with all; each proposal is then compared as a small grey picture. There
the small structures have to agree, in the best position of one picture over the other: large areas
of light and shade are alike in many photographs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toolchain.data.image_hashes import (
    COLOUR_CELLS,
    FULL_64,
    FULL_256,
    INNER_64,
    INNER_256,
    INSIDE,
    Hashes,
    Look,
    count_bits,
    distances,
)
from toolchain.data.picture_likeness import ALIKE, best_likeness, likeness

BITS_OF_64, BITS_OF_256 = 12, 64
"""Pairs differ in at most so many bits. Measured: copies cropped by 3 % in at most 11 and 53."""
LIKELY = 0.4
"""Correlation of the small structures that a pair needs to be looked at more closely."""
SAME_COLOURS = 5.0
"""Largest mean difference of the colours at the same exposure, in levels of 255. Of 3,000 copies
(in JPEG quality 30, half as large, cropped by 3 %, 20 % darker) two differ more, or in light and
shade; of drawn parts of one shape on other ground 24 of 26 pairs do."""
SAME_LIGHT = 0.92
"""Least correlation of the brightness of large areas."""
LARGEST_GAIN = 1.43
"""How much brighter, or richer in contrast, one picture may be than the other."""
EVEN = 2.0
"""Mean difference in brightness, in levels, below which areas show no light and shade."""
FLAT = 2.0
"""Standard deviation in levels below which a picture shows nothing to compare."""
TILE_ROWS, TILE_COLUMNS = 128, 4096
CHUNK = 2048
"""Pairs that are compared at a time."""
CLOSELY = 256
"""Pairs that are looked at more closely at a time."""

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


class Looks:
    """The looks of many images, in arrays."""

    def __init__(self, looks: Sequence[Look]) -> None:
        self.hashes: Hashes = np.array([look.hashes for look in looks])
        self.greys = np.array([look.grey for look in looks])
        colours = np.array([look.colours for look in looks], np.float32)
        self.colours: Floats = colours.reshape(len(looks), -1) - 128
        self.light = np.array([_light(grey) for grey in self.greys])


def _light(grey: NDArray[np.uint8]) -> Floats:
    """Return the brightness of areas of a small grey picture, and of its inside; [2, areas]."""
    picture, size = Image.fromarray(grey), (COLOUR_CELLS, COLOUR_CELLS)
    areas = [picture.resize(size, Image.Resampling.BOX, box=box) for box in (None, INSIDE)]
    return np.array([np.asarray(area).ravel() for area in areas], np.float32)


class Groups:
    """Which images are alike, as a forest: the root of an image names its group."""

    def __init__(self, count: int) -> None:
        self.roots = np.arange(count)

    def join(self, a: int, b: int) -> None:
        """Make one group of those of two images."""
        first, second = sorted((self.roots[a], self.roots[b]))
        self.roots[self.roots == second] = first

    def join_all(self, pairs: Indices) -> None:
        """Make one group of those of each pair."""
        for a, b in pairs.tolist():
            if self.roots[a] != self.roots[b]:
                self.join(a, b)

    def apart(self, pairs: Indices) -> Indices:
        """Return those of the pairs whose images are in different groups."""
        found: Indices = pairs[self.roots[pairs[:, 0]] != self.roots[pairs[:, 1]]]
        return found

    def found(self) -> list[list[int]]:
        """Return the groups of two images or more, each in order."""
        order = np.argsort(self.roots, kind="stable")
        starts = np.flatnonzero(np.diff(self.roots[order])) + 1
        return [part.tolist() for part in np.split(order, starts) if len(part) > 1]


def near_duplicates(looks: Looks, blocks: Sequence[tuple[Indices, Indices]]) -> list[list[int]]:
    """Return groups of images that look the same, as indices.

    A block is two sets of indices, increasing: those of the first are compared with those of the
    second. Images that are joined through others are one group and are not compared again.
    """
    groups = Groups(len(looks.greys))
    shows = _contrast(looks.greys) >= FLAT
    for rows, columns in blocks:
        proposed = _proposed(looks.hashes, rows[shows[rows]], columns[shows[columns]])
        close = (pairs[_close_in_detail(looks, pairs)] for pairs in proposed)
        for pairs in _gathered(close):
            _join_alike(looks.greys, pairs, groups)
    return groups.found()


def _contrast(greys: NDArray[np.uint8]) -> Floats:
    """Return the standard deviation of each picture, in levels; of a few at a time."""
    parts = (greys[i : i + CHUNK].astype(np.float32) for i in range(0, len(greys), CHUNK))
    return np.concatenate([part.std(axis=(1, 2)) for part in parts])


def _proposed(hashes: Hashes, rows: Indices, columns: Indices) -> Iterator[Indices]:
    """Yield pairs [n, 2] of different images whose 64-bit hashes are close; memory is bounded."""
    for top in range(0, len(rows), TILE_ROWS):
        some = rows[top : top + TILE_ROWS]
        full, inner = (hashes[some, word][:, None] for word in (FULL_64, INNER_64))
        # Where both sets are the same, each pair is proposed once.
        rest = columns[np.searchsorted(columns, some[0]) :] if rows is columns else columns
        for left in range(0, len(rest), TILE_COLUMNS):
            others = rest[left : left + TILE_COLUMNS]
            bits = count_bits(full ^ hashes[others, FULL_64])
            np.minimum(bits, count_bits(full ^ hashes[others, INNER_64]), out=bits)
            np.minimum(bits, count_bits(inner ^ hashes[others, FULL_64]), out=bits)
            a, b = np.nonzero(bits <= BITS_OF_64)
            pairs = np.stack([some[a], others[b]], axis=1)
            yield pairs[pairs[:, 0] < pairs[:, 1]] if rows is columns else pairs


def _gathered(parts: Iterable[Indices]) -> Iterator[Indices]:
    """Yield pairs in parts of about CHUNK: what is done in arrays costs the most for a few."""
    waiting: list[Indices] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= CHUNK:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _join_alike(greys: NDArray[np.uint8], pairs: Indices, groups: Groups) -> None:
    """Join those of the pairs that look the same."""
    for start in range(0, len(pairs), CHUNK):
        some = groups.apart(pairs[start : start + CHUNK])
        found = likeness(greys, some)
        groups.join_all(some[found >= ALIKE])
        likely = some[(found >= LIKELY) & (found < ALIKE)]
        for first in range(0, len(likely), CLOSELY):
            closely = groups.apart(likely[first : first + CLOSELY])
            groups.join_all(closely[best_likeness(greys, closely) >= ALIKE])


def _close_in_detail(looks: Looks, pairs: Indices) -> NDArray[np.bool_]:
    """Return which pairs are close by the 256-bit hashes and the colours too."""
    close = np.zeros(len(pairs), np.bool_)
    for start in range(0, len(pairs), 64 * CHUNK):
        part = slice(start, start + 64 * CHUNK)
        first, second = pairs[part, 0], pairs[part, 1]
        a, b = looks.hashes[first], looks.hashes[second]
        bits = np.minimum(
            distances(a[:, FULL_256], b[:, FULL_256]), distances(a[:, FULL_256], b[:, INNER_256])
        )
        close[part] = np.minimum(bits, distances(a[:, INNER_256], b[:, FULL_256])) <= BITS_OF_256
        close[part] &= _same_light(looks, first, second)
    return close


def _same_light(looks: Looks, first: Indices, second: Indices) -> NDArray[np.bool_]:
    """Return which pairs have the same colours, light and shade in the large, but for exposure."""
    a, b = looks.light[first], looks.light[second]
    means = a[:, 0].mean(axis=1) + 1, b[:, 0].mean(axis=1) + 1
    exposure = np.sqrt(means[1] / means[0])[:, None]
    colours = np.abs(looks.colours[first] * exposure - looks.colours[second] / exposure)
    same = _near_one(means[1] / means[0]) & (colours.mean(axis=1) <= SAME_COLOURS)
    whole, inside = 0, 1
    shaded = [_same_shade(a[:, whole], b[:, part]) for part in (whole, inside)]
    shaded.append(_same_shade(a[:, inside], b[:, whole]))
    alike: NDArray[np.bool_] = same & np.any(shaded, axis=0)
    return alike


def _same_shade(a: Floats, b: Floats) -> NDArray[np.bool_]:
    """Return which rows [pairs, areas] are light and dark in the same places, but for contrast."""
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    products, squares = (a * b).sum(axis=1), ((a * a).sum(axis=1), (b * b).sum(axis=1))
    correlation = products / np.sqrt(squares[0] * squares[1] + 1e-6)
    same: NDArray[np.bool_] = (correlation >= SAME_LIGHT) & _near_one(
        products / (squares[0] + 1e-6)
    )
    even: NDArray[np.bool_] = np.abs(a - b).mean(axis=1) <= EVEN
    return same | even


def _near_one(ratios: Floats) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = (ratios <= LARGEST_GAIN) & (ratios >= 1 / LARGEST_GAIN)
    return near
