"""Two models on the same images: is one of them better?"""

from __future__ import annotations

import math


def mcnemar_p(lost: int, gained: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    `lost` images were right before and are wrong now, `gained` the other way round; the images on
    which both agree say nothing. Source: Q. McNemar, Psychometrika 12 (1947), 153-157, with the
    binomial distribution in place of its approximation.

    >>> mcnemar_p(0, 0), round(mcnemar_p(6, 0), 4)
    (1.0, 0.0312)
    """
    total = lost + gained
    tail: int = sum(math.comb(total, k) for k in range(min(lost, gained) + 1))
    return min(1.0, float(2 * tail / 2**total))
