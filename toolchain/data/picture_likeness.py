"""How alike two small grey pictures are in their small structures, in the best position.

Large areas of light and shade are alike in many photographs, so they are taken off first. A copy
may have been cropped a little: one picture is compared with the other without some of its edges,
from a few usual crops on in smaller and smaller steps. All pairs are compared at once, in arrays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolchain.data.image_hashes import CROP, SIDE

PROMISING, ALIKE = 0.55, 0.76
"""Correlation that a pair needs to be fitted finely, and to count as alike.
Measured on four sets: copies at least 0.84, other images at most 0.68."""
WIDEST = 0.06
"""The most that the comparison takes off an edge, as a share of the side."""
BLUR = 2
"""Radius in pixels of the box that takes the large areas."""

_STARTS = np.array(
    [
        (0, 0, 0, 0), (CROP, CROP, CROP, CROP), (CROP, CROP, 0, 0), (0, 0, CROP, CROP),
        (0, CROP, CROP, 0), (CROP, 0, 0, CROP),
    ],
    np.float64,
)  # fmt: skip
"""What is first taken off left, top, right and bottom: nothing, all around, and at two edges."""
_STEPS = (0.015, 0.009, 0.005)

Greys = NDArray[np.uint8]
Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
Edges = NDArray[np.float64]
"""[pictures, 4]: what is taken off left, top, right and bottom, as shares of the side."""


def likeness(greys: Greys, pairs: Indices) -> Floats:
    """Return the highest correlation of whole and whole, whole and inside of each pair.

    `greys` are uint8 [images, SIDE, SIDE], `pairs` indices [n, 2]; the result is [n], in -1…1.
    """
    images, places = np.unique(pairs, return_inverse=True)
    first, second = places.reshape(pairs.shape).T
    whole, inside = (
        structures(greys[images], np.repeat(start[None], len(images), axis=0))
        for start in _STARTS[:2]
    )
    sums = [
        _correlation(a[first], b[second])
        for a, b in ((whole, whole), (whole, inside), (inside, whole))
    ]
    highest: Floats = np.max(sums, axis=0, initial=-1.0)
    return highest


def best_likeness(greys: Greys, pairs: Indices) -> Floats:
    """Return the highest correlation of each pair, one picture cropped over the other; [n].

    The search for a pair ends where it is ALIKE: how much higher it could be is not looked for.
    """
    cropped = np.concatenate([pairs[:, 0], pairs[:, 1]])
    others = np.concatenate([pairs[:, 1], pairs[:, 0]])
    none = np.zeros((len(others), 4))
    search = _Search(greys[cropped], structures(greys[others], none))
    for start in _STARTS:
        search.try_edges(np.flatnonzero(search.best < ALIKE), start)
    for step in _STEPS:
        for edge in range(4):
            some = np.flatnonzero((search.best >= PROMISING) & (search.best < ALIKE))
            before = search.edges[some]
            for moved in (-step, step):
                edges = before.copy()
                edges[:, edge] = np.clip(edges[:, edge] + moved, 0.0, WIDEST)
                search.try_edges(some, edges)
    highest: Floats = search.best.reshape(2, len(pairs)).max(axis=0, initial=-1.0)
    return highest


class _Search:
    """The best crop that was found so far for each of some pictures over another one."""

    def __init__(self, pictures: Greys, wanted: Floats) -> None:
        self.pictures, self.wanted = pictures, wanted
        self.edges: Edges = np.zeros((len(pictures), 4))
        self.best: Floats = np.full(len(pictures), -1.0, np.float32)

    def try_edges(self, some: Indices, edges: Edges) -> None:
        """Crop some of the pictures so, and keep what is better than before."""
        edges = np.broadcast_to(edges, (len(some), 4))
        found = _correlation(structures(self.pictures[some], edges), self.wanted[some])
        better = found > self.best[some]
        self.best[some[better]] = found[better]
        self.edges[some[better]] = edges[better]


def structures(pictures: Greys, edges: Edges) -> Floats:
    """Return pictures without edges and without large areas of light and shade, with length 1.

    `pictures` are uint8 [n, SIDE, SIDE], the result is [n, SIDE * SIDE]. What stands out most is
    clipped: two pictures of one bright line each are not the same.
    """
    shown = cropped(pictures, edges)
    rest = (shown - box_blurred(shown)).reshape(len(shown), SIDE * SIDE)
    rest -= rest.mean(axis=1, keepdims=True)
    typical = np.median(np.abs(rest), axis=1, keepdims=True)
    most = np.maximum(3 * typical, rest.std(axis=1, keepdims=True) / 4)
    np.clip(rest, -most, most, out=rest)
    rest -= rest.mean(axis=1, keepdims=True)
    rest /= np.linalg.norm(rest, axis=1, keepdims=True) + 1e-6
    return rest


def cropped(pictures: Greys, edges: Edges) -> Floats:
    """Return pictures without edges, enlarged to their old size: whole levels, as float32.

    Bilinear and rounded after each axis, as Pillow's `resize` with a box.
    """
    left, top, right, bottom = edges.T
    values = _enlarged(pictures.astype(np.float32), left, right)
    return _enlarged(values.swapaxes(1, 2), top, bottom).swapaxes(1, 2)


def _enlarged(pictures: Floats, before: Edges, after: Edges) -> Floats:
    """Enlarge what lies between two edges along the last axis."""
    scale = 1 - before - after
    centres = before[:, None] * SIDE + (np.arange(SIDE) + 0.5) * scale[:, None] - 0.5
    lower = np.floor(centres).astype(np.int64)
    share = (centres - lower).astype(np.float32)[:, None, :]
    low, high = (np.clip(index, 0, SIDE - 1)[:, None, :] for index in (lower, lower + 1))
    values: Floats = np.take_along_axis(pictures, low, axis=2) * (1 - share)
    values += np.take_along_axis(pictures, high, axis=2) * share
    rounded: Floats = np.floor(values + np.float32(0.5))
    return rounded


def box_blurred(pictures: Floats) -> Floats:
    """Return the mean around each pixel, rounded after each axis, as Pillow's `BoxBlur`.

    Pixels at the border count again where the box reaches beyond it.
    """
    return _blurred_across(_blurred_across(pictures).swapaxes(1, 2)).swapaxes(1, 2)


def _blurred_across(pictures: Floats) -> Floats:
    padded = np.pad(pictures, ((0, 0), (0, 0), (BLUR, BLUR)), mode="edge")
    total = padded[..., : -2 * BLUR].copy()
    for shift in range(1, 2 * BLUR + 1):
        total += padded[..., shift : shift + pictures.shape[2]]
    blurred: Floats = np.floor(total / (2 * BLUR + 1) + np.float32(0.5))
    return blurred


def _correlation(a: Floats, b: Floats) -> Floats:
    sums: Floats = np.einsum("nk,nk->n", a, b)
    return sums
