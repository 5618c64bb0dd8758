"""From logits to probabilities: a file's own two outputs show what lies between them."""

from __future__ import annotations

import math
import re

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.runtime.test_card import some_card
from toolchain.runtime.card import Card, Task
from toolchain.verification.levels.probabilities import expected, where_outputs_part

LOGITS = np.random.default_rng(0).normal(0, 5, (6, 4))


def card_of(task: Task, temperature: float = 1.7) -> Card:
    return msgspec.structs.replace(some_card(), task=task, temperature=temperature)


def where(card: Card, probabilities: NDArray[np.float64]) -> str | None:
    outputs = probabilities.astype(np.float32), LOGITS.astype(np.float32)
    return where_outputs_part(card, outputs)


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_probabilities_that_follow_from_the_logits_part_nowhere(task: Task) -> None:
    assert where(card_of(task), expected(LOGITS, 1.7, task)) is None


def test_expected_probabilities_are_softmax_and_sigmoid() -> None:
    logits = np.array([[math.log(3), 0.0]])
    np.testing.assert_allclose(expected(logits, 1.0, "single-label"), [[0.75, 0.25]])
    np.testing.assert_allclose(expected(logits, 1.0, "multi-label"), [[0.75, 0.5]])
    halved = expected(2 * logits, 2.0, "single-label")
    np.testing.assert_allclose(halved, [[0.75, 0.25]])
    assert np.isfinite(expected(np.array([[1e6, -1e6]]), 1.0, "multi-label")).all()


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
@pytest.mark.parametrize("used", [1.0, 3.4, 0.5])
def test_another_temperature_is_named_and_measured(task: Task, used: float) -> None:
    found = where(card_of(task), expected(LOGITS, used, task))
    assert found is not None
    assert re.match(rf"temperature \(Div\): {used:g} instead of 1\.7, .* off by 0\.\d+", found)


def test_softmax_that_is_applied_twice_is_called_that() -> None:
    once = expected(LOGITS, 1.7, "single-label")
    found = where(card_of("single-label"), expected(once, 1.0, "single-label"))
    assert found is not None
    assert found.startswith("softmax (Softmax): ")
    assert found.endswith(", it is applied twice")


def test_a_sigmoid_in_place_of_a_softmax_is_found_and_the_other_way_round() -> None:
    sigmoid, softmax = (expected(LOGITS, 1.7, t) for t in ("multi-label", "single-label"))
    assert str(where(card_of("single-label"), sigmoid)).startswith("softmax (Softmax): ")
    assert str(where(card_of("multi-label"), softmax)).startswith("sigmoid (Sigmoid): ")


def test_probabilities_that_are_no_numbers_part_at_the_softmax() -> None:
    found = where(card_of("single-label"), LOGITS * math.nan)
    assert str(found).startswith("softmax (Softmax): ")


def test_logits_that_are_no_numbers_are_the_fault_of_something_before() -> None:
    nothing = (LOGITS * math.nan).astype(np.float32)
    assert where_outputs_part(card_of("single-label"), (nothing, nothing)) is None
