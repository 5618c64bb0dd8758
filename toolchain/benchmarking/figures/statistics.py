"""Percentiles, mean and minimum of latencies, each with its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from toolchain.benchmarking.figures import bootstrap
from toolchain.benchmarking.figures.queries import NEEDED, PERCENTILES
from toolchain.metrics.intervals import binomial_probability

Interval = tuple[float | None, float | None]
"""Lower and upper bound; None where there are too few calls for one."""


@dataclass(frozen=True, eq=False)
class Latency:
    """Latencies of one case. No outlier is clipped or left out; intervals are at 95 %.

    A percentile that has too few calls (`queries.py`) has no upper bound.
    """

    calls: int
    p50_ms: float
    p50_interval_ms: Interval
    p90_ms: float
    p90_interval_ms: Interval
    p99_ms: float
    p99_interval_ms: Interval
    mean_ms: float
    mean_interval_ms: Interval
    min_ms: float
    min_interval_ms: Interval
    resampled_p50_ms: bootstrap.Array
    """The median of each resample."""
    rounds: int


def summarise(rounds: Sequence[Sequence[float]]) -> Latency:
    """Return percentiles, mean and minimum of latencies in ms, measured in several rounds."""
    ordered = sorted(value for values in rounds for value in values)
    calls, shares = len(ordered), tuple(PERCENTILES.values())
    resampled = bootstrap.resample(rounds, shares)
    values = [percentile(ordered, share) for share in shares]
    mean_ms, min_ms = math.fsum(ordered) / calls, ordered[0]
    p50, p90, p99 = (
        _bounds(value, figures, resampled.rounds, bounded=calls >= needed)
        for value, figures, needed in zip(
            values, resampled.percentiles, NEEDED.values(), strict=True
        )
    )
    return Latency(
        calls=calls,
        p50_ms=values[0],
        p50_interval_ms=p50,
        p90_ms=values[1],
        p90_interval_ms=p90,
        p99_ms=values[2],
        p99_interval_ms=p99,
        mean_ms=mean_ms,
        mean_interval_ms=_bounds(mean_ms, resampled.mean, resampled.rounds),
        min_ms=min_ms,
        min_interval_ms=_bounds(min_ms, resampled.minimum, resampled.rounds),
        resampled_p50_ms=resampled.percentiles[0],
        rounds=resampled.rounds,
    )


def paired_ratio_interval(first: Latency, other: Latency) -> Interval:
    """Return the 95 % interval of the ratio of two medians, first over other, from paired rounds.

    It bounds nothing where they do not have the same number of rounds.
    """
    if first.rounds != other.rounds:
        return None, None
    ratios = first.resampled_p50_ms / other.resampled_p50_ms
    return _bounds(first.p50_ms / other.p50_ms, ratios, first.rounds)


def _bounds(
    figure: float, resampled: bootstrap.Array, rounds: int, *, bounded: bool = True
) -> Interval:
    low, high = bootstrap.interval(figure, resampled, rounds)
    return (low or None), (high if bounded and math.isfinite(high) else None)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all values do not exceed.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def percentile_interval(
    ordered: Sequence[float], share: float, confidence: float = 0.95
) -> Interval:
    """Return a distribution-free interval of a percentile of independent values.

    For calls after pauses, which are few and do not follow each other. The number of values below
    the true percentile is binomial(n, share). Each bound is the innermost value whose rank leaves
    at most (1 - confidence) / 2 of that distribution outside (Conover, Practical Nonparametric
    Statistics, section 3.2). A bound is None where even the smallest or largest value leaves more.
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
