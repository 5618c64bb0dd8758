"""Intervals by resampling rounds hold the truth as often as they say, and are the same always."""

from __future__ import annotations

import math

import numpy as np
import pytest

from toolchain.benchmarking.figures.bootstrap import RESAMPLES, resample, student_t
from toolchain.benchmarking.figures.statistics import paired_ratio_interval, percentile, summarise


def drawn(
    generator: np.random.Generator, drift: float, follow: float = 0.0, factor: float = 1.0
) -> list[list[float]]:
    """Return five rounds of latencies that drift between rounds, calls depending on the last."""
    rounds = []
    for change in np.exp(drift * generator.standard_normal(5)):
        noise = generator.standard_normal(40)
        for i in range(1, 40):
            noise[i] = follow * noise[i - 1] + math.sqrt(1 - follow**2) * noise[i]
        rounds.append((factor * 10 * change * np.exp(0.05 * noise)).tolist())
    return rounds


@pytest.mark.parametrize(("drift", "follow"), [(0.0, 0.6), (0.02, 0.3), (0.05, 0.0)])
def test_the_interval_of_the_median_holds_the_truth_in_95_of_100_benchmarks(
    drift: float, follow: float
) -> None:
    generator, inside = np.random.default_rng(2), 0
    for _ in range(200):
        low_ms, high_ms = summarise(drawn(generator, drift, follow)).p50_interval_ms
        assert low_ms is not None
        assert high_ms is not None
        inside += low_ms <= 10 <= high_ms
    assert 0.91 <= inside / 200 <= 0.985


def test_resamples_are_those_of_whole_rounds() -> None:
    found = resample([[1.0, 2.0], [10.0], [5.0, 5.0, 5.0]], (0.5, 1.0))
    medians, largest = found.percentiles
    assert len(medians) == RESAMPLES
    assert set(medians) <= {1.0, 2.0, 5.0, 10.0}
    assert set(largest) <= {2.0, 5.0, 10.0}
    assert set(found.minimum) == {1.0, 5.0, 10.0}
    again = resample([[1.0, 2.0], [10.0], [5.0, 5.0, 5.0]], (0.5, 1.0))
    assert np.array_equal(found.mean, again.mean)


@pytest.mark.parametrize("calls", [100, 513, 5000])
def test_percentiles_of_resamples_are_those_of_the_calls(calls: int) -> None:
    rounds = [np.random.default_rng(n).exponential(size=calls).tolist() for n in range(5)]
    found = resample(rounds, (0.5, 0.9, 0.99))
    ordered = sorted(value for part in rounds for value in part)
    for share, figures in zip((0.5, 0.9, 0.99), found.percentiles, strict=True):
        assert float(np.median(figures)) == pytest.approx(percentile(ordered, share), rel=0.1)


def test_drift_that_two_targets_share_cancels_in_their_ratio() -> None:
    generator = np.random.default_rng(0)
    drift = (0.8, 0.9, 1.0, 1.1, 1.25)
    first, other = (
        summarise([(x * d * np.exp(0.01 * generator.standard_normal(40))).tolist() for d in drift])
        for x in (10, 20)
    )
    low, high = paired_ratio_interval(first, other)
    assert low is not None
    assert high is not None
    assert low <= 0.5 <= high
    assert high / low < 1.1
    low_ms, high_ms = first.p50_interval_ms
    assert low_ms is not None
    assert high_ms is not None
    assert high_ms / low_ms > 1.3  # the drift is in the figure of one target


def test_rounds_that_are_no_pairs_bound_no_ratio() -> None:
    first, other = summarise([[1.0, 2.0]] * 5), summarise([[1.0, 2.0]] * 10)
    assert paired_ratio_interval(first, other) == (None, None)


@pytest.mark.parametrize(("degrees", "value"), [(4, 2.776), (10, 2.228), (14, 2.145), (29, 2.045)])
def test_students_t(degrees: int, value: float) -> None:
    assert student_t(degrees) == pytest.approx(value, abs=0.003)
