"""Level "numbers": the rule, value by value, and the figures that are reported."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from tests.runtime.test_card import some_card
from toolchain.errors import ParityError
from toolchain.runtime.card import Precision
from toolchain.runtime.model_inputs import ModelOutputs
from toolchain.verification.levels.numbers import (
    TOLERANCES,
    compare_numbers,
    numbers_level,
    synthetic_pixels,
)

LIMIT = TOLERANCES["fp32"]
Floats = NDArray[np.float32]
outputs = arrays.arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32))


def row(*values: float) -> Floats:
    return np.array([values], dtype=np.float32)


def test_equal_outputs_pass_without_a_difference() -> None:
    found = compare_numbers(row(1, -2, 3), row(1, -2, 3))
    assert found.passed
    assert (found.max_abs, found.mean_abs, found.values, found.needed) == (0, 0, 3, 0)
    assert found.cosine == pytest.approx(1)


def test_differences_are_in_units_of_the_output() -> None:
    found = compare_numbers(row(0, 0, 0, 0), row(0.5, -1, 0, 0))
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
def test_each_value_has_its_own_bound(
    reference: tuple[float, float], change: float, passes: bool
) -> None:
    b: NDArray[Any] = np.array([reference], dtype=np.float64)
    for sign in (1, -1):
        a = b + np.array([[sign * change, 0]])
        assert compare_numbers(b, a).passed == passes


def test_an_image_with_large_outputs_does_not_excuse_another() -> None:
    b = np.concatenate([row(1000, 0), row(0, 0)])
    a = b + row(0, 0.01)
    assert compare_numbers(b[:1], a[:1]).passed
    assert not compare_numbers(b, a).passed


def test_a_large_candidate_does_not_widen_its_own_bound() -> None:
    assert compare_numbers(row(0, 0), row(1e9, 0)).bound == 2 * LIMIT


@settings(deadline=None)
@given(outputs, outputs)
def test_the_needed_tolerance_is_the_smallest_that_passes(b: Floats, a: Floats) -> None:
    needed = compare_numbers(b, a).needed
    assert compare_numbers(b, a, tolerance=needed).passed
    if needed > 0:
        assert not compare_numbers(b, a, tolerance=needed * (1 - 1e-9)).passed


@settings(deadline=None)
@given(outputs, outputs)
def test_the_verdict_is_the_rule_written_out(b: Floats, a: Floats) -> None:
    atol = LIMIT * np.maximum(1, np.abs(b.astype(float)).max(axis=1, keepdims=True))
    kept = np.abs(a.astype(float) - b) <= atol + LIMIT * np.abs(b.astype(float))
    assert compare_numbers(b, a).passed == kept.all()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_default_tolerance_is_that_of_the_precision(precision: Precision) -> None:
    change = TOLERANCES[precision]
    assert compare_numbers(row(0, 0), row(0.9 * change, 0), precision).passed
    assert not compare_numbers(row(0, 0), row(1.1 * change, 0), precision).passed


def test_the_cosine_is_that_of_the_least_similar_image() -> None:
    b = np.concatenate([row(1, 0), row(1, 0)])
    a = np.concatenate([row(2, 0), row(1, 1)])
    assert compare_numbers(b, a).cosine == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_never_pass(value: float) -> None:
    assert not compare_numbers(row(0, 1), row(0, value)).passed
    assert not compare_numbers(row(0, value), row(0, 1)).passed
    assert not compare_numbers(row(0, value), row(0, value), tolerance=math.inf).passed


def test_other_shapes_are_refused_with_both_sizes() -> None:
    with pytest.raises(ParityError, match=r"\(1, 3\), expected \(1, 2\)"):
        compare_numbers(row(1, 2), row(1, 2, 3))


def test_a_comparison_of_no_images_fails() -> None:
    nothing = np.zeros((0, 3), dtype=np.float32)
    assert not compare_numbers(nothing, nothing).passed


def test_synthetic_pixels_are_noise_both_extremes_and_two_chequers() -> None:
    noise, black, white, fine, coarse = synthetic_pixels(32)
    assert (noise.dtype, noise.shape) == (np.uint8, (32, 32, 3))
    assert len(np.unique(noise)) > 200
    assert (black == 0).all()
    assert (white == 255).all()
    for chequer, side in ((fine, 1), (coarse, 8)):
        assert set(np.unique(chequer)) == {0, 255}
        assert (chequer[:side, :side] == chequer[side : 2 * side, side : 2 * side]).all()
        assert (chequer[:side, :side] != chequer[:side, side : 2 * side]).all()
    assert np.array_equal(synthetic_pixels(32)[0], noise)


@pytest.mark.parametrize("wrong", ["probabilities", "logits"])
def test_the_level_counts_the_worse_of_probabilities_and_logits(wrong: str) -> None:
    reference = ModelOutputs(row(0.5, 0.5), row(1, 1))
    found = reference._replace(**{wrong: getattr(reference, wrong) + np.float32(0.25)})
    level = numbers_level("run", some_card(), [(reference, reference), (reference, found)])
    assert not level.passed
    assert level.figures["inputs"] == 2
    assert level.figures["max_difference"] == 0.25


def test_an_output_that_is_nan_is_the_worse_one() -> None:
    reference = ModelOutputs(row(0.5, 0.5), row(1, 1))
    found = ModelOutputs(row(0.5, math.nan), row(9, 9))
    level = numbers_level("run", some_card(), [(reference, found)])
    assert not level.passed
    assert math.isnan(float(str(level.figures["needed_tolerance"])))
