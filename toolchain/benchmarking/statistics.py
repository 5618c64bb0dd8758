"""Percentiles of latencies with confidence intervals, and whether the rounds agree."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from toolchain.metrics.intervals import binomial_probability

STABLE_WITHIN = 0.10
"""Medians of the last rounds within 10 % of each other are called stable."""
LAST_ROUNDS = 3

Interval = tuple[float | None, float | None]
"""Lower and upper bound in ms; None where there are too few calls for one."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies of one case. No outlier is clipped or left out; intervals are at 95 %."""

    calls: int
    p50_ms: float
    p50_interval_ms: Interval
    p90_ms: float
    p90_interval_ms: Interval
    p99_ms: float
    p99_interval_ms: Interval
    mean_ms: float
    verdict: str
    """`stable`, or `noisy` when the medians of the last three rounds differ by more than 10 %."""


def summarise(rounds: Sequence[Sequence[float]]) -> Latency:
    """Return percentiles, mean and verdict of latencies in ms, measured in several rounds."""
    ordered = sorted(value for values in rounds for value in values)
    return Latency(
        calls=len(ordered),
        p50_ms=percentile(ordered, 0.50),
        p50_interval_ms=percentile_interval(ordered, 0.50),
        p90_ms=percentile(ordered, 0.90),
        p90_interval_ms=percentile_interval(ordered, 0.90),
        p99_ms=percentile(ordered, 0.99),
        p99_interval_ms=percentile_interval(ordered, 0.99),
        mean_ms=math.fsum(ordered) / len(ordered),
        verdict=_verdict(rounds),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all values do not exceed.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def percentile_interval(
    ordered: Sequence[float], share: float, confidence: float = 0.95
) -> Interval:
    """Return a distribution-free confidence interval of a percentile, from the order statistics.

    The number of values below the true percentile is binomial(n, share). Each bound is the
    innermost value whose rank leaves at most (1 - confidence) / 2 of that distribution outside
    (Conover, Practical Nonparametric Statistics, section 3.2). A bound is None where even the
    smallest or largest value leaves more.
    """
    tail = (1 - confidence) / 2
    cumulative, low, high = 0.0, None, None
    for below in range(len(ordered)):
        cumulative += binomial_probability(below, len(ordered), share)
        if cumulative <= tail:
            low = ordered[below]
        if high is None and cumulative >= 1 - tail:
            high = ordered[below]
    return low, high


def _verdict(rounds: Sequence[Sequence[float]]) -> str:
    medians = [percentile(sorted(values), 0.5) for values in rounds if values][-LAST_ROUNDS:]
    if len(medians) < LAST_ROUNDS:
        return "noisy"
    return "stable" if max(medians) <= min(medians) * (1 + STABLE_WITHIN) else "noisy"
