from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.evaluate.intervals import wilson_interval


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
