from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from toolchain.errors import ParityError
from toolchain.verify.numbers import Difference, compare, worst


def row(*values: float) -> NDArray[np.float32]:
    return np.array([values], dtype=np.float32)


def test_equal_outputs_pass_without_a_difference() -> None:
    found = compare(row(1, -2, 3), row(1, -2, 3))
    assert found.passed
    assert (found.max_abs, found.mean_abs, found.values) == (0, 0, 3)


def test_largest_and_mean_difference_are_in_units_of_the_output() -> None:
    found = compare(row(0, 0, 0, 0), row(0.5, -1, 0, 0))
    assert (found.max_abs, found.mean_abs) == (1, 0.375)


@pytest.mark.parametrize(
    ("scale", "change", "passes"),
    [
        (1.0, 0.9e-4, True),
        (1.0, 1.1e-4, False),
        (0.001, 0.9e-4, True),  # small logits get no smaller bound than 1e-4
        (50.0, 4.5e-3, True),  # large ones a larger bound
        (50.0, 5.5e-3, False),
    ],
)
def test_bound_grows_with_the_largest_reference_value(
    scale: float, change: float, passes: bool
) -> None:
    assert compare(row(scale, 0), row(scale, change)).passed == passes
    assert compare(row(-scale, 0), row(-scale, change)).passed == passes


def test_a_large_candidate_does_not_widen_its_own_bound() -> None:
    assert compare(row(0, 0), row(1e9, 0)).bound == 1e-4


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_never_passes(value: float) -> None:
    assert not compare(row(0, 1), row(0, value)).passed
    assert not compare(row(0, value), row(0, 1)).passed


def test_other_shapes_are_refused_by_their_sizes() -> None:
    with pytest.raises(ParityError, match=r"\(1, 3\), expected \(1, 2\)"):
        compare(row(1, 2), row(1, 2, 3))


def test_nothing_compared_is_nothing_proved() -> None:
    nothing = np.zeros((0, 3), dtype=np.float32)
    assert not compare(nothing, nothing).passed


def test_worst_is_the_one_largest_against_its_bound() -> None:
    small_bound, large_bound = Difference(0.5, 0.1, 1.0, 9), Difference(2.0, 0.1, 100.0, 9)
    no_number = Difference(math.nan, math.nan, 1.0, 9)
    assert worst([large_bound, small_bound]) is small_bound
    assert worst([large_bound, no_number, small_bound]) is no_number
