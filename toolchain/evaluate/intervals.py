"""Intervals for rates that were measured on few images."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


def wilson_interval(correct: int, images: int, z: float = Z_95) -> tuple[float, float]:
    """Give the Wilson score interval of a rate, by default at 95 %.

    Unlike the normal approximation it stays within 0…1, and it holds for small sets.
    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), 209-212.

    >>> tuple(round(bound, 3) for bound in wilson_interval(111, 120))
    (0.864, 0.96)
    """
    if images <= 0:
        raise ValueError("an interval needs at least one image")
    rate, square = correct / images, z * z / images
    centre = (rate + square / 2) / (1 + square)
    half = z * math.sqrt(rate * (1 - rate) / images + square / (4 * images)) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)
