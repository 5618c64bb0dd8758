"""Where an axis of losses ends, so that a few losses far above all others don't flatten curves."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

GAP = 4.0
"""A loss this many times the next smaller one begins those that are left out of the picture."""
SMALL = 0.25
"""Losses below this count as alike: a curve that ends near 0 has no outliers above it."""


def usual_top(losses: Iterable[float]) -> float:
    """Return the largest loss without those beyond a gap in the upper half; 1 without any loss.

    A curve that falls, however far, has no such gap: its losses lie close to each other.

    >>> usual_top([0.5, 0.4, 0.3, 250.0]), usual_top([9.0, 120.0, 0.5, 0.4, 0.4, 0.3])
    (0.5, 0.5)
    >>> usual_top([2.3, 0.9, 0.4, 0.2])
    2.3
    """
    ordered = sorted(max(0.0, loss) for loss in losses if math.isfinite(loss))
    if not ordered:
        return 1.0
    upper = ordered[(len(ordered) - 1) // 2 :]
    for below, above in pairwise(upper):
        if above > GAP * max(below, SMALL):
            return below or 1.0
    return ordered[-1] or 1.0
