"""Intervals for rates that were measured on few images."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


def wilson_interval(correct: int, images: int, z: float = Z_95) -> tuple[float, float]:
    """Return the Wilson score interval of a rate, by default at 95 %.

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


def clopper_pearson_upper(events: int, images: int, confidence: float = 0.95) -> float:
    """Return the one-sided upper bound of a rate of which `events` were seen in `images`.

    The largest rate under which so few events still have a chance of 1 - confidence. Source: C. J.
    Clopper and E. S. Pearson, Biometrika 26 (1934), 404-413. Found by bisection to 1e-12, because
    the beta quantile would need SciPy on the device.

    >>> round(clopper_pearson_upper(0, 153), 4)
    0.0194
    """
    if images <= 0:
        raise ValueError("a bound needs at least one image")
    if events >= images:
        return 1.0
    low, high = events / images, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        if _at_most(events, images, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(events: int, images: int, rate: float) -> float:
    """Return the chance of at most `events` in `images`, each with chance `rate`."""
    if rate >= 1:
        return 0.0
    if rate <= 0:
        return 1.0
    chances = (
        math.lgamma(images + 1)
        - math.lgamma(k + 1)
        - math.lgamma(images - k + 1)
        + k * math.log(rate)
        + (images - k) * math.log1p(-rate)
        for k in range(events + 1)
    )
    return math.fsum(math.exp(chance) for chance in chances)
