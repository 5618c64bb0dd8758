"""McNemar's test: is one of two models better, given their predictions on the same images?"""

from __future__ import annotations

import math


def mcnemar_p(lost: int, gained: int) -> float:
    """Return the two-sided p-value of McNemar's exact test, in 0…1.

    `lost` images were right with the first model and are wrong with the second; `gained` images are
    the reverse. Images on which the two models agree do not enter. Source: Q. McNemar,
    Psychometrika 12 (1947), 153-157, with the exact binomial distribution in place of its
    approximation.

    >>> mcnemar_p(0, 0), round(mcnemar_p(6, 0), 4)
    (1.0, 0.0312)
    """
    total = lost + gained
    tail: int = sum(math.comb(total, k) for k in range(min(lost, gained) + 1))
    # Both tails hold the middle term of an even split, so that twice the tail can exceed 1.
    return min(1.0, float(2 * tail / 2**total))
