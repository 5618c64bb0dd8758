"""The same pixels give the same numbers: the rule, value by value, and what is reported of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from toolchain.errors import ParityError
from toolchain.runtime.card import Precision
from toolchain.verification.levels.numbers import TOLERANCES, compare, made_pixels

LIMIT = TOLERANCES["fp32"]
Floats = NDArray[np.float32]
outputs = arrays.arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32))


def row(*values: float) -> Floats:
    return np.array([values], dtype=np.float32)


def test_equal_outputs_pass_without_a_difference() -> None:
    found = compare(row(1, -2, 3), row(1, -2, 3))
    assert found.passed
    assert (found.max_abs, found.mean_abs, found.values, found.needed) == (0, 0, 3, 0)
    assert found.cosine == pytest.approx(1)


def test_differences_are_in_units_of_the_output() -> None:
    found = compare(row(0, 0, 0, 0), row(0.5, -1, 0, 0))
    assert (found.max_abs, found.mean_abs, found.p50_abs) == (1, 0.375, 0.25)
    assert 0.9 < found.p99_abs < 1


@pytest.mark.parametrize(
    ("reference", "change", "passes"),
    [
        # A value of 0 beside one of at most 1 has atol alone, the tolerance itself.
        ((0, 0), 0.99 * LIMIT, True),
        ((0, 0), 1.01 * LIMIT, False),
        ((0, 0.001), 1.01 * LIMIT, False),  # small outputs get no smaller bound, and no larger one
        # Beside one of 50, atol is 50 times as large.
        ((0, 50), 49.5 * LIMIT, True),
        ((0, -50), 50.5 * LIMIT, False),
        # The value of 50 itself has rtol too.
        ((50, 0), 99 * LIMIT, True),
        ((-50, 0), 101 * LIMIT, False),
    ],
)
def test_each_value_is_held_to_its_own_bound(
    reference: tuple[float, float], change: float, passes: bool
) -> None:
    b: NDArray[Any] = np.array([reference], dtype=np.float64)
    for sign in (1, -1):
        a = b + np.array([[sign * change, 0]])
        assert compare(b, a).passed == passes


def test_an_image_with_large_outputs_does_not_excuse_another() -> None:
    b = np.concatenate([row(1000, 0), row(0, 0)])
    a = b + row(0, 0.01)
    assert compare(b[:1], a[:1]).passed
    assert not compare(b, a).passed


def test_a_large_candidate_does_not_widen_its_own_bound() -> None:
    assert compare(row(0, 0), row(1e9, 0)).bound == 2 * LIMIT


@given(outputs, outputs)
def test_the_tolerance_that_is_needed_is_the_smallest_that_passes(b: Floats, a: Floats) -> None:
    needed = compare(b, a).needed
    assert compare(b, a, tolerance=needed).passed
    if needed > 0:
        assert not compare(b, a, tolerance=needed * (1 - 1e-9)).passed


@given(outputs, outputs)
def test_the_verdict_is_the_rule_written_out(b: Floats, a: Floats) -> None:
    atol = LIMIT * np.maximum(1, np.abs(b.astype(float)).max(axis=1, keepdims=True))
    kept = np.abs(a.astype(float) - b) <= atol + LIMIT * np.abs(b.astype(float))
    assert compare(b, a).passed == kept.all()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_tolerance_is_the_precisions(precision: Precision) -> None:
    change = TOLERANCES[precision]
    assert compare(row(0, 0), row(0.9 * change, 0), precision).passed
    assert not compare(row(0, 0), row(1.1 * change, 0), precision).passed


def test_the_cosine_is_that_of_the_image_that_points_elsewhere() -> None:
    b = np.concatenate([row(1, 0), row(1, 0)])
    a = np.concatenate([row(2, 0), row(1, 1)])
    assert compare(b, a).cosine == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_never_passes(value: float) -> None:
    assert not compare(row(0, 1), row(0, value)).passed
    assert not compare(row(0, value), row(0, 1)).passed
    assert not compare(row(0, value), row(0, value), tolerance=math.inf).passed


def test_other_shapes_are_refused_by_their_sizes() -> None:
    with pytest.raises(ParityError, match=r"\(1, 3\), expected \(1, 2\)"):
        compare(row(1, 2), row(1, 2, 3))


def test_nothing_compared_is_nothing_proved() -> None:
    nothing = np.zeros((0, 3), dtype=np.float32)
    assert not compare(nothing, nothing).passed


def test_made_pixels_are_noise_both_ends_and_two_chequers() -> None:
    noise, black, white, fine, coarse = made_pixels(32)
    assert (noise.dtype, noise.shape) == (np.uint8, (32, 32, 3))
    assert len(np.unique(noise)) > 200
    assert (black == 0).all()
    assert (white == 255).all()
    for chequer, side in ((fine, 1), (coarse, 8)):
        assert set(np.unique(chequer)) == {0, 255}
        assert (chequer[:side, :side] == chequer[side : 2 * side, side : 2 * side]).all()
        assert (chequer[:side, :side] != chequer[:side, side : 2 * side]).all()
    assert np.array_equal(made_pixels(32)[0], noise)
