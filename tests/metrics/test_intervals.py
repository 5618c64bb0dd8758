"""Intervals of rates, against published values and exact arithmetic."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolchain.metrics.intervals import (
    binomial_probability,
    clopper_pearson_upper,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("correct", "images", "expected"),
    [  # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0000, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
        # by hand: z² / (1 + z²) and its mirror image
        (0, 1, (0.0, 0.7935)),
        (1, 1, (0.2065, 1.0)),
        (10, 10, (0.7225, 1.0)),
    ],
)
def test_interval_agrees_with_published_values(
    correct: int, images: int, expected: tuple[float, float]
) -> None:
    assert wilson_interval(correct, images) == pytest.approx(expected, abs=6e-5)


@settings(deadline=None)
@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_lies_within_0_to_1_around_the_rate(counts: tuple[int, int]) -> None:
    correct, images = counts
    low, high = wilson_interval(correct, images)
    assert 0 <= low < high <= 1
    assert low - 1e-12 <= correct / images <= high + 1e-12


def test_the_interval_of_the_errors_is_one_minus_that_of_the_successes() -> None:
    low, high = wilson_interval(7, 30)
    assert wilson_interval(23, 30) == pytest.approx((1 - high, 1 - low))


def test_more_images_narrow_the_interval() -> None:
    widths = [high - low for low, high in (wilson_interval(9 * n, 10 * n) for n in (1, 10, 100))]
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_an_interval_without_an_image_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        wilson_interval(0, 0)


@pytest.mark.parametrize(
    ("events", "images", "low", "high"),
    [  # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 5; two-sided, 95 %
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0000, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_upper_bound_agrees_with_published_values(
    events: int, images: int, low: float, high: float
) -> None:
    # A two-sided 95 % interval leaves 2.5 % on either side; its lower end mirrors the upper one.
    assert clopper_pearson_upper(events, images, 0.975) == pytest.approx(high, abs=6e-5)
    mirrored = 1 - clopper_pearson_upper(images - events, images, 0.975)
    assert mirrored == pytest.approx(low, abs=6e-5)


@pytest.mark.parametrize("images", [1, 30, 153, 400, 10_000])
def test_the_bound_without_an_event_agrees_with_its_closed_form(images: int) -> None:
    assert clopper_pearson_upper(0, images) == pytest.approx(1 - 0.05 ** (1 / images), abs=1e-11)


@settings(deadline=None)
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_at_the_bound_so_few_events_have_a_probability_of_5_percent(
    counts: tuple[int, int],
) -> None:
    events, images = counts
    rate = Fraction(clopper_pearson_upper(events, images))
    probability = sum(
        comb(images, k) * rate**k * (1 - rate) ** (images - k) for k in range(events + 1)
    )
    assert float(probability) == pytest.approx(0.05, abs=1e-9)


def test_upper_bound_of_all_events_is_1_and_without_an_image_an_error() -> None:
    assert clopper_pearson_upper(7, 7) == 1.0
    with pytest.raises(ValueError, match="at least one image"):
        clopper_pearson_upper(0, 0)


@settings(deadline=None)
@given(
    st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.floats(0.0, 1.0),
)
def test_binomial_probability_agrees_with_exact_fractions(
    counts: tuple[int, int], rate: float
) -> None:
    events, trials = counts
    exact = Fraction(rate)
    expected = comb(trials, events) * exact**events * (1 - exact) ** (trials - events)
    assert binomial_probability(events, trials, rate) == pytest.approx(
        float(expected), rel=1e-9, abs=1e-300
    )


def test_binomial_probabilities_of_large_counts_add_up_to_1() -> None:
    assert sum(binomial_probability(k, 20_000, 0.9) for k in range(20_001)) == pytest.approx(1)


def test_intervals_load_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, toolchain.metrics.intervals as _\n"
        "print([m for m in ('torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
