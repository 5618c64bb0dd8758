"""Confidence intervals of rates that were measured on few images.

Only the standard library: `rtl verify` runs this on a device.
"""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


def wilson_interval(correct: int, images: int, z: float = Z_95) -> tuple[float, float]:
    """Return the Wilson score interval of the rate correct / images, by default at 95 %.

    Unlike the normal approximation it stays within 0…1, and it is accurate for small sets. `z` is
    the quantile of the normal distribution. Raises ValueError without an image. Source:
    E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), 209-212.

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
    """Return the one-sided upper confidence bound of a rate, from `events` in `images`.

    It is the largest rate at which `events` or fewer still have a probability of 1 - confidence.
    Source: C. J. Clopper and E. S. Pearson, Biometrika 26 (1934), 404-413. Found by bisection to
    1e-12, because the quantile of the beta distribution would need SciPy on the device.

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
        at_most = math.fsum(binomial_probability(k, images, middle) for k in range(events + 1))
        if at_most > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def binomial_probability(events: int, trials: int, rate: float) -> float:
    """Return the probability of exactly `events` in `trials`, each with probability `rate`.

    By logarithms of the gamma function, so that large counts neither overflow nor take long.

    >>> round(binomial_probability(1, 2, 0.5), 12)
    0.5
    """
    if rate <= 0 or rate >= 1:
        return float(events == (trials if rate >= 1 else 0))
    log = math.lgamma(trials + 1) - math.lgamma(events + 1) - math.lgamma(trials - events + 1)
    return math.exp(log + events * math.log(rate) + (trials - events) * math.log1p(-rate))
