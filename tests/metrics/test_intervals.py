from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.metrics.intervals import clopper_pearson_upper, wilson_interval


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


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_is_a_part_of_0_to_1_around_the_rate(counts: tuple[int, int]) -> None:
    correct, images = counts
    low, high = wilson_interval(correct, images)
    assert 0 <= low < high <= 1
    assert low - 1e-12 <= correct / images <= high + 1e-12


def test_counting_the_errors_instead_mirrors_the_interval() -> None:
    low, high = wilson_interval(7, 30)
    assert wilson_interval(23, 30) == pytest.approx((1 - high, 1 - low))


def test_more_images_narrow_the_interval() -> None:
    widths = [high - low for low, high in (wilson_interval(9 * n, 10 * n) for n in (1, 10, 100))]
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_no_image_has_no_interval() -> None:
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
    # An interval of 95 % leaves 2.5 % on either side; its lower end mirrors the upper one.
    assert clopper_pearson_upper(events, images, 0.975) == pytest.approx(high, abs=6e-5)
    mirrored = 1 - clopper_pearson_upper(images - events, images, 0.975)
    assert mirrored == pytest.approx(low, abs=6e-5)


@pytest.mark.parametrize("images", [1, 30, 153, 400, 10_000])
def test_without_an_event_the_bound_has_a_closed_form(images: int) -> None:
    assert clopper_pearson_upper(0, images) == pytest.approx(1 - 0.05 ** (1 / images), abs=1e-11)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_at_the_bound_so_few_events_have_a_chance_of_5_percent(counts: tuple[int, int]) -> None:
    events, images = counts
    rate = Fraction(clopper_pearson_upper(events, images))
    chance = sum(comb(images, k) * rate**k * (1 - rate) ** (images - k) for k in range(events + 1))
    assert float(chance) == pytest.approx(0.05, abs=1e-9)


def test_upper_bound_of_all_events_is_1_and_of_no_image_there_is_none() -> None:
    assert clopper_pearson_upper(7, 7) == 1.0
    with pytest.raises(ValueError, match="at least one image"):
        clopper_pearson_upper(0, 0)
