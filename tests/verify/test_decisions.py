"""Labels that differ count, except where the two best were a tie to begin with."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from toolchain.verify.decisions import Decisions, compare_decisions

Rows = list[list[float]]


def both(logits: Rows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    array = np.array(logits, dtype=np.float32)
    return np.exp(array) / np.exp(array).sum(1, keepdims=True), array


def decided(reference: Rows, candidate: Rows, *, bound: float = 0.01) -> Decisions:
    names = [f"{i}.jpg" for i in range(len(reference))]
    return compare_decisions(names, both(reference), both(candidate), bound=bound)


def test_same_labels_pass() -> None:
    found = decided([[1, 2, 0], [3, 0, 0]], [[1, 2.5, 0], [2, 0, 0]])
    assert found.passed
    assert (found.images, found.flips, found.flipped) == (2, 0, ())
    assert found.max_probability_difference > 0.01


def test_another_label_fails_and_is_named() -> None:
    found = decided([[1, 2, 0], [3, 0, 0]], [[1, 2, 0], [0, 3, 0]])
    assert not found.passed
    assert (found.flips, found.flips_outside_margin, found.flipped) == (1, 1, ("1.jpg",))


@pytest.mark.parametrize(("lead", "passes"), [(0.019, True), (0.021, False)])
def test_a_flip_within_twice_the_bound_is_a_tie(lead: float, passes: bool) -> None:
    found = decided([[0, lead, -5]], [[0.001, 0, -5]])
    assert found.passed == passes
    assert (found.flips, found.flips_outside_margin) == (1, 0 if passes else 1)


def test_a_tie_counts_between_the_two_best_only() -> None:
    # The second and third are tied; the first leads by far, and still lost.
    assert not decided([[5, 0, 0.001]], [[-5, 0, 0.001]]).passed


@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_an_answer_that_is_no_number_fails(side: str) -> None:
    good, bad = [[1.0, 2.0]], [[1.0, math.nan]]
    assert not decided(*((bad, good) if side == "reference" else (good, bad))).passed


def test_ten_names_are_given_of_many_flips() -> None:
    found = decided([[0, 1]] * 30, [[1, 0]] * 30)
    assert found.flips == 30
    assert found.flipped == tuple(f"{i}.jpg" for i in range(10))


def test_no_image_decides_nothing() -> None:
    nothing = np.zeros((0, 2), dtype=np.float32)
    assert not compare_decisions([], (nothing, nothing), (nothing, nothing), bound=0.01).passed
