"""Which photographs are different ones: copies and frames of one scene count once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolchain.runtime.model_inputs import Floats

ALIKE = 0.1
"""Share of the usual distance of a training image from the nearest other one, below which two
photographs are one."""
ROUNDING = 1e-4
"""Share of the size of features by which those of copies differ at most."""


def distinct(features: Floats, source: Floats) -> NDArray[np.int64]:
    """Return the indices, in order, of photographs that are like none before them.

    `features` [images, features] are theirs, `source` those of training images.
    """
    between = _squared_distances(source, source)
    np.fill_diagonal(between, np.inf)
    nearest = float(np.median(between.min(axis=1))) if len(source) > 1 else 0.0
    rounding = ROUNDING**2 * float((features.astype(np.float64) ** 2).sum(axis=1).mean())
    least = max(ALIKE**2 * nearest, rounding)
    alike = _squared_distances(features, features) <= least
    kept: list[int] = []
    for number in range(len(features)):
        if not alike[number, kept].any():
            kept.append(number)
    return np.array(kept, np.int64)


def _squared_distances(first: Floats, second: Floats) -> NDArray[np.float64]:
    a, b = first.astype(np.float64), second.astype(np.float64)
    squares: NDArray[np.float64] = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return squares.clip(0.0)
