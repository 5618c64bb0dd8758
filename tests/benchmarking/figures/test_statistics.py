"""Percentiles and the intervals of independent values, compared with exact binomials."""

from __future__ import annotations

import math

import numpy as np
import pytest

from toolchain.benchmarking.figures.statistics import percentile, percentile_interval, summarise


def ranks(calls: int, share: float) -> tuple[float | None, float | None]:
    """Return the interval of a percentile as ranks, the smallest value having rank 1."""
    return percentile_interval([float(i) for i in range(1, calls + 1)], share)


def chance_of_fewer(calls: int, share: float, rank: float) -> float:
    """Return the chance that fewer than `rank` of the values lie below the true percentile."""
    terms = (math.comb(calls, k) * share**k * (1 - share) ** (calls - k) for k in range(int(rank)))
    return math.fsum(terms)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, 1), (0.01, 1), (0.5, 5), (0.51, 6), (0.9, 9), (0.99, 10), (1.0, 10)],
)
def test_percentile_is_a_value_by_nearest_rank(share: float, expected: float) -> None:
    assert percentile([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], share) == expected


def test_percentile_of_one_call_is_that_call() -> None:
    assert [percentile([7.0], share) for share in (0.5, 0.9, 0.99)] == [7.0, 7.0, 7.0]


@pytest.mark.parametrize(
    ("calls", "share", "expected"),
    [
        (100, 0.5, (40, 61)),  # the textbook's example
        (6, 0.5, (1, 6)),  # the fewest calls that bound a median
        (5, 0.5, (None, None)),
        (367, 0.99, (359, None)),  # the largest is below the true p99 too often
        (368, 0.99, (360, 368)),
    ],
)
def test_interval_lies_at_the_known_ranks(
    calls: int, share: float, expected: tuple[float | None, float | None]
) -> None:
    assert ranks(calls, share) == expected


@pytest.mark.parametrize("calls", [36, 100, 500])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_each_bound_is_the_innermost_that_misses_in_at_most_2_5_percent(
    calls: int, share: float
) -> None:
    low, high = ranks(calls, share)
    assert low is not None
    assert high is not None
    assert chance_of_fewer(calls, share, low) <= 0.025 < chance_of_fewer(calls, share, low + 1)
    assert 1 - chance_of_fewer(calls, share, high) <= 0.025
    assert 1 - chance_of_fewer(calls, share, high - 1) > 0.025


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_interval_holds_the_true_percentile_in_95_of_100_benchmarks(share: float) -> None:
    rng, truth = np.random.default_rng(1), -math.log(1 - share)
    inside = 0
    for _ in range(2000):
        low, high = percentile_interval(sorted(rng.exponential(size=60).tolist()), share)
        inside += (low is None or low <= truth) and (high is None or truth <= high)
    assert 0.94 < inside / 2000 < 0.995


def test_percentiles_with_too_few_calls_have_no_upper_bound() -> None:
    latency = summarise([[1.0, 1.1, 1.2], [2.0, 2.1, 2.2], [3.0, 3.1, 3.2]])
    assert (latency.calls, latency.p50_ms, latency.p99_ms) == (9, 2.1, 3.2)
    assert latency.p50_interval_ms[1] is not None
    assert latency.p90_interval_ms[1] is None
    assert latency.p99_interval_ms[1] is None


def test_one_round_bounds_nothing() -> None:
    latency = summarise([[1.0] * 500])
    assert latency.p50_interval_ms == latency.mean_interval_ms == (None, None)


def test_many_calls_are_summarised_in_time() -> None:
    low, high = percentile_interval([float(i) for i in range(200_000)], 0.5)
    assert low is not None
    assert high is not None
    assert 99_000 < low < 100_000 < high < 101_000


def test_an_outlier_is_neither_clipped_nor_left_out() -> None:
    latency = summarise([[1.0] * 49, [1.0] * 50, [901.0]])
    assert (latency.calls, latency.p50_ms, latency.p99_ms) == (100, 1.0, 1.0)
    assert latency.mean_ms == pytest.approx(10.0)
    assert summarise([[1.0] * 49, [1.0] * 49, [901.0] * 2]).p99_ms == 901.0
