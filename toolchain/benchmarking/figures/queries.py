"""How many calls a percentile needs, by the rules of MLPerf inference.

Reddi et al., MLPerf Inference Benchmark (ISCA 2020), and the early stopping of its LoadGen.
"""

from __future__ import annotations

import math
from statistics import NormalDist

CONFIDENCE = 0.99
"""MLPerf's."""
PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
"""The percentiles of a benchmark, and their shares."""


def calls_needed(share: float, over: int = 0, confidence: float = CONFIDENCE) -> int:
    """Return the fewest calls of which at most `over` may lie above a bound on the percentile.

    With fewer calls, a model whose share of calls under the bound is less than `share` would still
    pass by luck more often than 1 - confidence.

    >>> calls_needed(0.99), calls_needed(0.99, over=1), calls_needed(0.90)
    (459, 662, 44)
    """
    calls = over + 1
    while _at_most(over, calls, 1 - share) > 1 - confidence:
        calls += 1
    return calls


def calls_for_margin(
    share: float, margin: float | None = None, confidence: float = CONFIDENCE
) -> int:
    """Return the calls that place a percentile's share within `margin`, by the normal distribution.

    The margin is MLPerf's by default, a twentieth of the share above the percentile.

    >>> calls_for_margin(0.90), calls_for_margin(0.99)
    (23886, 262742)
    """
    margin = (1 - share) / 20 if margin is None else margin
    z = NormalDist().inv_cdf(1 - (1 - confidence) / 2)
    return round(z * z * share * (1 - share) / margin**2)


def lacking_calls(calls: int) -> list[str]:
    """Return which percentiles have too few calls, in words.

    >>> lacking_calls(200)
    ['p99 needs 459 calls, has 200']
    """
    return [f"{name} needs {n} calls, has {calls}" for name, n in NEEDED.items() if calls < n]


def _at_most(over: int, calls: int, rate: float) -> float:
    """Return the chance that at most `over` of `calls` lie above, if each does at this rate."""
    terms = (math.comb(calls, k) * rate**k * (1 - rate) ** (calls - k) for k in range(over + 1))
    return math.fsum(terms)


NEEDED = {name: calls_needed(share) for name, share in PERCENTILES.items()}
"""Calls that each percentile needs, with none over it."""
