"""Labels that differ count, except where there was a tie to begin with."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.runtime.test_card import some_card
from toolchain.runtime.card import Card
from toolchain.verify.decisions import Decisions, compare_decisions

Rows = list[list[float]]
ONE_LABEL = msgspec.structs.replace(some_card(), threshold=None)


def both(logits: Rows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    array = np.array(logits, dtype=np.float32)
    return np.exp(array) / np.exp(array).sum(1, keepdims=True), array


def decided(reference: Rows, candidate: Rows, *, bound: float = 0.01) -> Decisions:
    names = [f"{i}.jpg" for i in range(len(reference))]
    return compare_decisions(names, both(reference), both(candidate), card=ONE_LABEL, bound=bound)


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
    for card in (ONE_LABEL, any_labels()):
        sides = (nothing, nothing), (nothing, nothing)
        assert not compare_decisions([], *sides, card=card, bound=0.01).passed


def any_labels(threshold: float | None = None, temperature: float = 1.0) -> Card:
    return msgspec.structs.replace(
        some_card(), task="multi-label", threshold=threshold, temperature=temperature
    )


def decided_sets(card: Card, reference: Rows, candidate: Rows) -> Decisions:
    def sigmoid(logits: Rows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        array = np.array(logits, dtype=np.float32)
        return 1 / (1 + np.exp(-array / np.float32(card.temperature))), array

    names = [f"{i}.jpg" for i in range(len(reference))]
    return compare_decisions(names, sigmoid(reference), sigmoid(candidate), card=card, bound=0.01)


def test_same_sets_of_labels_pass_whichever_class_leads() -> None:
    found = decided_sets(any_labels(), [[1, 2, -1], [-3, -2, -1]], [[2, 1, -1], [-1, -2, -3]])
    assert found.passed
    assert (found.flips, found.flips_outside_margin) == (0, 0)


def test_one_class_more_or_less_is_another_set() -> None:
    found = decided_sets(any_labels(), [[1, 1], [1, -1], [1, 1]], [[1, 1], [1, 1], [1, -1]])
    assert not found.passed
    assert (found.flips, found.flips_outside_margin) == (2, 2)
    assert found.flipped == ("1.jpg", "2.jpg")


@pytest.mark.parametrize(("logit", "passes"), [(0.009, True), (0.011, False)])
def test_a_class_within_the_bound_of_the_threshold_is_a_tie(logit: float, passes: bool) -> None:
    found = decided_sets(any_labels(), [[logit, 5]], [[-0.001, 5]])
    assert found.passed == passes
    assert (found.flips, found.flips_outside_margin) == (1, 0 if passes else 1)


def test_a_tie_in_one_class_excuses_no_other() -> None:
    assert not decided_sets(any_labels(), [[0.001, 5]], [[-0.001, -5]]).passed


@pytest.mark.parametrize(("logit", "passes"), [(2.7805, True), (2.79, False)])
def test_ties_lie_at_the_threshold_and_temperature_of_the_card(logit: float, passes: bool) -> None:
    # A probability of 0.8 at temperature 2 is a logit of 2 · ln 4 = 2.7726.
    card = any_labels(threshold=0.8, temperature=2.0)
    assert decided_sets(card, [[logit, 9]], [[2.77, 9]]).passed == passes


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_the_ends_of_the_range_are_thresholds_too(threshold: float) -> None:
    assert decided_sets(any_labels(threshold), [[1, -1]], [[1, -1]]).passed


def test_a_class_that_is_no_number_fails() -> None:
    assert not decided_sets(any_labels(), [[1.0, 2.0]], [[1.0, math.nan]]).passed
